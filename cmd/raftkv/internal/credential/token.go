package credential

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"raftkv/kvserver/auth"
)

// The environment variables that say where a command's token is. FileVariable is that of
// the flag --token-file, and wins where both are set: others on the machine see a file's
// name, and not a token, and a file can get a newer one.
const (
	FileVariable = "RAFTKV_TOKEN_FILE" // names a file with a token
	Variable     = "RAFTKV_AUTH_TOKEN" // holds a token
)

// Source says where a command's token is. The zero value is the file that FileVariable
// names, else the token in Variable, else the profile.
type Source struct {
	File string // of --token-file; "": not given
}

// LockVariable holds the number of a lock, for the command that raftkv lock runs.
const LockVariable = "RAFTKV_TOKEN"

// tokenPrefix begins every token.
const tokenPrefix = "rkt1_"

// Misnamed says to a user without a token that there is one in LockVariable, where nobody
// looks for it; "" if there is none.
func Misnamed() string {
	if !strings.HasPrefix(os.Getenv(LockVariable), tokenPrefix) || os.Getenv(Variable) != "" {
		return ""
	}
	return fmt.Sprintf("; what %s holds looks like one, and that variable is for the number of a lock: a token goes into %s", LockVariable, Variable)
}

// From says where the token comes from, for people; "" if there is none. It reads no file but
// the profile.
func (s Source) From() string {
	switch file := os.Getenv(FileVariable); {
	case s.File != "":
		return s.File + " (--token-file)"
	case file != "":
		return file + " ($" + FileVariable + ")"
	case os.Getenv(Variable) != "":
		return "$" + Variable
	}
	if token, err := s.Token(); err != nil || token.IsZero() {
		return ""
	}
	return "the profile " + Profile()
}

// Warning is a sentence about a file with the token that others can read; "" if there is
// nothing to say. A profile of that kind is refused. A file is not, because it may be that of a
// secret which an orchestrator mounts.
func (s Source) Warning() string {
	path := s.File
	if path == "" {
		path = os.Getenv(FileVariable)
	}
	if path == "" && os.Getenv(Variable) == "" {
		if p, err := readProfile(); err == nil && p.TokenFile != "" {
			path = p.file(p.TokenFile)
		}
	}
	info, err := os.Stat(path)
	if path == "" || err != nil || !info.Mode().IsRegular() {
		return "" // a pipe, as the shell makes one, is nobody else's
	}
	if err := checkPrivate(path, info); err != nil {
		return fmt.Sprintf("the file with the token %v", err)
	}
	return ""
}

// Token returns the token to send, and the zero value if there is none. It is read anew
// each time, so that a file with a newer one is found.
func (s Source) Token() (auth.Secret, error) {
	if s.File != "" {
		return fromFile(s.File)
	}
	if path := os.Getenv(FileVariable); path != "" {
		token, err := fromFile(path)
		if err != nil {
			err = fmt.Errorf("$%s: %w", FileVariable, err)
		}
		return token, err
	}
	if text := os.Getenv(Variable); text != "" {
		return parse(text, "$"+Variable)
	}
	p, err := readProfile()
	if err != nil {
		return auth.Secret{}, err
	}
	return p.token()
}

// fromFile reads a file that holds a token and the end of a line.
func fromFile(path string) (auth.Secret, error) {
	text, err := readSmall(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return auth.Secret{}, fmt.Errorf("the token's file %s does not exist; correct the path, or make a token with raftkv auth token create --token-to", path)
	case err != nil:
		return auth.Secret{}, fmt.Errorf("the token's file cannot be read: %w", err)
	}
	return parse(string(text), path)
}

// parse makes sure that a text is a token. The text does not show in the error.
func parse(text, from string) (auth.Secret, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return auth.Secret{}, fmt.Errorf("%s is empty and holds no token: if a command was to write one there with >, the shell emptied the file first; --token-to makes a new one", from)
	}
	if _, err := auth.ParseToken(text); err != nil {
		return auth.Secret{}, fmt.Errorf("%s holds no token: one begins with rkt1_ and has %d characters; a character may be wrong or missing", from, auth.TokenBytes)
	}
	return auth.NewSecret(text), nil
}

// readSmall reads a file that cannot be large.
func readSmall(path string) ([]byte, error) {
	const limit = 1 << 20
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes; the limit is %d", path, info.Size(), limit)
	}
	return os.ReadFile(path)
}

// private refuses a file that others than its owner can read or write.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return checkPrivate(path, info)
}

// checkPrivate is private for a file that was looked at.
func checkPrivate(path string, info os.FileInfo) error {
	owner := -1
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(stat.Uid)
	}
	if mode := info.Mode().Perm(); !secret(mode, owner, os.Getuid()) {
		return fmt.Errorf("%s can be used by others (mode %04o): chmod 600 %s", path, mode, path)
	}
	return nil
}

// secret reports whether the mode of a file keeps it from others. A group may read what root
// owns, if this user is another one: so orchestrators give a secret to a user.
func secret(mode os.FileMode, owner, user int) bool {
	if owner == 0 && user != 0 {
		mode &^= 0o040
	}
	return mode&0o077 == 0
}
