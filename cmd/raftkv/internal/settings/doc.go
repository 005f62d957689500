// Package settings reads what a user may set. A setting has one name in all places: a
// flag, an environment variable and a key of a TOML file. A flag wins over a variable,
// and a variable wins over the file.
//
// The package also finds environment variables that look like settings and are none.
package settings
