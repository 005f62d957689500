package credential

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"raftkv/kvserver/auth"
)

// Profile returns where a user's own settings are: config.toml in raftkv's directory
// among the user's settings. "" if there is no such place.
func Profile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "raftkv", "config.toml")
}

// profile is a user's own file. The zero value is that of a user without one.
type profile struct {
	Endpoints string `toml:"endpoints"`
	CA        string `toml:"tls-ca"`
	Cert      string `toml:"tls-cert"`
	Key       string `toml:"tls-key"`
	Token     string `toml:"token"`
	TokenFile string `toml:"token-file"`

	path string
}

// Settings are what a profile says in addition to the token, under the names of the flags. An empty
// one is not given; names of files are absolute.
type Settings struct {
	Endpoints     string
	CA, Cert, Key string
}

// ProfileSettings reads the profile; without one, nothing is given.
func ProfileSettings() (Settings, error) {
	p, err := readProfile()
	return Settings{p.Endpoints, p.file(p.CA), p.file(p.Cert), p.file(p.Key)}, err
}

// readProfile reads the user's own file, if there is one. Nobody else may be able to
// read it.
func readProfile() (profile, error) {
	p := profile{path: Profile()}
	if p.path == "" {
		return profile{}, nil
	}
	text, err := readSmall(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return profile{}, nil
	}
	if err != nil {
		return profile{}, fmt.Errorf("the profile cannot be read: %w", err)
	}
	if err := private(p.path); err != nil {
		return profile{}, err
	}
	meta, err := toml.Decode(string(text), &p)
	if err != nil {
		err = fmt.Errorf("it is no TOML of lines like endpoints = \"127.0.0.1:8701\": %w", err)
	} else if len(meta.Undecoded()) > 0 {
		err = fmt.Errorf("%q is not known; there are endpoints, tls-ca, tls-cert, tls-key, token and token-file", meta.Undecoded()[0])
	}
	if err != nil {
		return profile{}, fmt.Errorf("%s: %w", p.path, err)
	}
	return p, nil
}

// token returns the token that the profile has or names.
func (p *profile) token() (auth.Secret, error) {
	switch {
	case p.Token != "" && p.TokenFile != "":
		return auth.Secret{}, fmt.Errorf("%s has token and token-file; leave one out", p.path)
	case p.TokenFile != "":
		token, err := fromFile(p.file(p.TokenFile))
		if err != nil {
			err = fmt.Errorf("token-file in the profile %s: %w", p.path, err)
		}
		return token, err
	case p.Token != "":
		return parse(p.Token, p.path)
	}
	return auth.Secret{}, nil
}

// file returns the file that the profile names, as its user means it: ~/ is the user's own
// directory, and what is not absolute is beside the profile, wherever the command runs.
func (p *profile) file(name string) string {
	if below, own := strings.CutPrefix(name, "~/"); own {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, below)
		}
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(p.path), name)
}
