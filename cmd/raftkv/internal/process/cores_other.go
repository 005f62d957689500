//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package process

// ForbidCores does nothing where there is no limit of core dumps.
func ForbidCores() error { return nil }
