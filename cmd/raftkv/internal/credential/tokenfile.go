package credential

import (
	"errors"
	"fmt"
	"os"
)

// TokenFile is a new file for a token that is about to be made, which nobody but its owner can
// use. It is there before the token is: a token that could not be kept would be good all the
// same, and nobody would have it.
type TokenFile struct{ f *os.File }

// NewTokenFile makes the file. It takes the place of no other.
func NewTokenFile(path string) (*TokenFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("--token-to: %s is there already, and may hold a token; name another file: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("--token-to: %w", err)
	}
	return &TokenFile{f}, nil
}

// Keep writes the token and closes the file. When it returns nil, the token is on the disk.
func (t *TokenFile) Keep(token string) error {
	_, err := fmt.Fprintln(t.f, token)
	if err = errors.Join(err, t.f.Sync(), t.f.Close()); err != nil {
		return fmt.Errorf("writing the token to %s: %w", t.f.Name(), err)
	}
	return nil
}

// Abandon removes the file, because no token was made.
func (t *TokenFile) Abandon() {
	t.f.Close()
	os.Remove(t.f.Name())
}
