package credential

import (
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"

	"raftkv/kvserver/auth"
)

// authFile is a node's own file: identities that are good on that node alone.
type authFile struct {
	Identity []auth.FileEntry `toml:"identity"`
}

// ReadAuthFile reads the identities of a node's own file. Nobody else than its owner may
// be able to read it.
func ReadAuthFile(path string) ([]auth.BreakGlass, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("--auth-file: %w", err)
	}
	if err := private(path); err != nil {
		return nil, fmt.Errorf("--auth-file: %w", err)
	}
	all, err := parseAuthFile(string(text))
	if err != nil {
		return nil, fmt.Errorf("--auth-file: %s: %w", path, err)
	}
	return all, nil
}

// parseAuthFile reads the text of such a file.
func parseAuthFile(text string) ([]auth.BreakGlass, error) {
	var f authFile
	meta, err := toml.Decode(text, &f)
	if err != nil {
		return nil, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%q is not known; an [[identity]] has name, rights, token_id and token_sha256", unknown[0])
	}
	if len(f.Identity) == 0 {
		return nil, fmt.Errorf("it names no [[identity]]")
	}
	return auth.NewBreakGlass(f.Identity)
}

// Entry writes an identity as a node's file holds it.
func Entry(name string, rights []string, token auth.Secret) (string, error) {
	id, err := auth.ParseToken(token.Reveal())
	if err != nil {
		return "", err
	}
	hash := auth.HashOf(token.Reveal())
	var b strings.Builder
	fmt.Fprintf(&b, "[[identity]]\nname = %q\nrights = [", name)
	for i, right := range rights {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", right)
	}
	fmt.Fprintf(&b, "]\ntoken_id = %q\ntoken_sha256 = \"%x\"\n", id, hash[:])
	text := b.String()
	if _, err := parseAuthFile(text); err != nil {
		return "", err
	}
	return text, nil
}
