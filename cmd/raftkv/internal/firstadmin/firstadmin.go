// Package firstadmin gives a cluster of raftkv dev its first admin, and enforces identities,
// so that a person with nothing but a terminal has a token to begin with.
//
// The mental model is the caretaker of a new house: he has a key that opens only the cabinet
// of the keys, cuts the first one for the owner, and turns the lock. His own key is drawn at
// each start, is in no file, and reaches no data: it is an identity of the nodes' own, as one
// of --auth-file is, with the right auth.
package firstadmin

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/target"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
)

const (
	// Name is the identity of the admin.
	Name = "admin"
	// comment marks the tokens that are made here, so that older ones can be revoked.
	comment = "raftkv dev"
	// patience bounds the time for all of it, and pause is between two attempts.
	patience = 20 * time.Second
	pause    = 50 * time.Millisecond
	// maxTokenFile bounds the file of the token, in bytes.
	maxTokenFile = 4 << 10
)

// Files are where the admin's token is kept, for this user alone.
type Files struct {
	Token  string // the token and the end of a line, for --token-file
	Header string // the line of the header, for curl -H @file
}

// Caretaker makes the first admin. It belongs to one process, which asks nobody else.
type Caretaker struct {
	own   auth.Secret
	glass []auth.BreakGlass
	uses  auth.Secret // what the questions bring
}

// New draws a caretaker's key.
func New() (*Caretaker, error) {
	var random [auth.SecretBytes + 8]byte
	rand.Read(random[:])
	id := auth.TokenIDOf([8]byte(random[:8]))
	own := auth.MakeToken(id, [auth.SecretBytes]byte(random[8:]))
	hash := auth.HashOf(own.Reveal())
	glass, err := auth.NewBreakGlass([]auth.FileEntry{{Name: "raftkv-dev", Rights: []string{auth.Auth.String()}, TokenID: id.String(), TokenHash: hex.EncodeToString(hash[:])}})
	if err != nil {
		return nil, err
	}
	return &Caretaker{own: own, glass: glass}, nil
}

// Identities are those that every node of the cluster must have of its own.
func (c *Caretaker) Identities() []auth.BreakGlass { return c.glass }

// Settle sees to it that there is an admin whose token is in the files, and that identities
// are enforced. It asks the nodes at the endpoints, the next one where one cannot, until ctx
// ends. made is the token, if it was made now: a token of an earlier run stays as long as it
// is good.
func (c *Caretaker) Settle(ctx context.Context, endpoints []string, files Files) (made auth.Secret, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ask.Authorize(func() (auth.Secret, error) { return c.uses, nil })
	for {
		made, err = c.settle(ctx, endpoints, files, made)
		if err == nil || !passes(err) {
			return made, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return made, fmt.Errorf("identities could not be enforced: %w", err)
		}
	}
}

// passes reports whether another attempt may succeed: no leader may be known, the level may
// not have risen yet, or the node may not have read the log so far.
func passes(err error) bool {
	var failed *exit.Failure
	if refused := (*ask.RefusedError)(nil); errors.As(err, &refused) {
		return refused.IsUnavailable() || refused.Code == api.CodeNotActive || refused.Code == api.CodeUnauthenticated
	}
	return !errors.As(err, &failed)
}

// settle is one attempt.
func (c *Caretaker) settle(ctx context.Context, endpoints []string, files Files, made auth.Secret) (auth.Secret, error) {
	token := made
	if token.IsZero() {
		var err error
		if token, err = readToken(files.Token); err != nil {
			return made, exit.Fail(err)
		}
	}
	if !token.IsZero() && made.IsZero() {
		is, err := c.isAdmin(ctx, endpoints, token)
		if err != nil {
			return made, err
		}
		if !is {
			token = auth.Secret{}
		}
	}
	if token.IsZero() {
		var err error
		if token, err = c.make(ctx, endpoints); err != nil {
			return made, err
		}
		made = token
	}
	if err := files.write(token); err != nil {
		return made, exit.Fail(err)
	}
	c.uses = token
	var state api.AuthState
	if err := c.ask(ctx, endpoints, http.MethodGet, "/v1/auth/state", nil, &state); err != nil {
		return made, err
	}
	if state.State == auth.Enforcing.String() {
		return made, nil
	}
	return made, c.ask(ctx, endpoints, http.MethodPut, "/v1/auth/state", api.AuthState{State: auth.Enforcing.String()}, nil)
}

// isAdmin reports whether a token is that of the admin, by what any node says: one of them may
// not have read the log so far. The error says that none can say.
func (c *Caretaker) isAdmin(ctx context.Context, endpoints []string, token auth.Secret) (is bool, err error) {
	c.uses = token
	var silent error // why some of them did not say
	said := false
	for _, endpoint := range endpoints {
		var me api.Identity
		switch err := c.ask(ctx, []string{endpoint}, http.MethodGet, "/v1/auth/me", nil, &me); {
		case err == nil:
			return me.Name == Name, nil
		case isUnknown(err) || !passes(err):
			said = true
		default:
			silent = err
		}
	}
	if said {
		return false, nil
	}
	return false, silent
}

// isUnknown reports whether a node has answered that a token opens nothing.
func isUnknown(err error) bool {
	refused := (*ask.RefusedError)(nil)
	return errors.As(err, &refused) && refused.Code == api.CodeUnauthenticated
}

// make makes a token of the admin, and the admin if there is none, and revokes the tokens
// that were made here before.
func (c *Caretaker) make(ctx context.Context, endpoints []string) (auth.Secret, error) {
	c.uses = c.own
	var is api.Identity
	err := c.ask(ctx, endpoints, http.MethodGet, "/v1/auth/identities/"+Name, nil, &is)
	if refused := (*ask.RefusedError)(nil); errors.As(err, &refused) && refused.Code == api.CodeNotFound {
		admin := api.Identity{Rules: json.RawMessage(`[{"rights":["admin"]}]`)}
		err = c.ask(ctx, endpoints, http.MethodPut, "/v1/auth/identities/"+Name, admin, nil)
	}
	if err != nil {
		return auth.Secret{}, err
	}
	var made api.AuthToken
	if err := c.ask(ctx, endpoints, http.MethodPost, "/v1/auth/tokens", api.NewToken{Identity: Name, Comment: comment}, &made); err != nil {
		return auth.Secret{}, err
	}
	for _, older := range is.Tokens {
		if older.Comment == comment {
			if err := c.ask(ctx, endpoints, http.MethodDelete, "/v1/auth/tokens/"+older.ID, nil, nil); err != nil {
				return auth.Secret{}, err
			}
		}
	}
	return auth.NewSecret(made.Token), nil
}

// ask asks the first node that can answer.
func (c *Caretaker) ask(ctx context.Context, endpoints []string, method, path string, body, to any) (err error) {
	var text []byte
	headers := []string{}
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return exit.Fail(err)
		}
		headers = append(headers, "Content-Type", api.MediaJSON)
	}
	for _, endpoint := range endpoints {
		var response *http.Response
		response, err = ask.Node(ctx, endpoint, method, path, bytes.NewReader(text), headers...)
		if err == nil {
			defer response.Body.Close()
			if to == nil {
				return nil
			}
			return json.NewDecoder(io.LimitReader(response.Body, ask.MaxStatusBytes)).Decode(to)
		}
		if refused := (*ask.RefusedError)(nil); errors.As(err, &refused) && !refused.IsUnavailable() {
			return err
		}
	}
	return err
}

// readToken returns the token of an earlier run, the zero value if there is none.
func readToken(path string) (auth.Secret, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return auth.Secret{}, nil
	}
	if err != nil {
		return auth.Secret{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return auth.Secret{}, err
	}
	token := strings.TrimSpace(string(text))
	if _, err := auth.ParseToken(token); err != nil {
		return auth.Secret{}, nil // half of one, which opens nothing
	}
	return auth.NewSecret(token), nil
}

// write writes the files, each whole or not at all, with mode 0600.
func (f Files) write(token auth.Secret) error {
	for _, of := range []struct{ path, text string }{{f.Header, "Authorization: Bearer " + token.Reveal()}, {f.Token, token.Reveal()}} {
		err := target.File{Path: of.path, Force: true}.Write(func(to io.Writer) error {
			_, err := fmt.Fprintln(to, of.text)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
