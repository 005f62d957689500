// Package compat holds bytes that earlier releases wrote, and checks that this one
// reads them for what they are. Writer and reader of a format may change together,
// and every other test passes, while an upgraded node cannot read its own
// directory: these files do not change.
//
// testdata has a directory for each release that changed a format, with a file, or a
// directory of files, for each format that it wrote. What is in them is said by the
// table of formats in compat_test.go, a row each. Formats that only their own
// package can write, such as the frames of protocols, have their rows in the
// compat_test.go of that package. A new format, or a new version of one, is a new
// row; a row is never changed once its release is out, and neither are its files:
//
//	go test ./tests/compat -args -compat.write
//
// and the same in the other packages, writes the files of rows that have none yet,
// and refuses to touch one that is there. Until its release, a file is written anew
// by removing it first.
package compat
