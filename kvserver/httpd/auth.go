package httpd

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/port"
)

// maxAuthBytes bounds the body of a request about identities.
const maxAuthBytes = 128 << 10

// authBody reads a body into v, and refuses what it does not know.
func (x *exchange) authBody(v any, example string) (body []byte, err error) {
	if body, err = x.jsonBody(maxAuthBytes, example); err != nil {
		return nil, err
	}
	return body, strictJSON(body, v, example)
}

// strictJSON reads one object, whose fields are known by their exact names and stand
// there once.
func strictJSON(body []byte, v any, example string) error {
	names, err := fieldsOf(body)
	if err != nil {
		return failure.Of(failure.BadRequest, err, "the body must be an object such as %s: %.200s", example, err.Error())
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err = d.Decode(v)
	if err == nil {
		err = exactNames(names, v)
	}
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			return failure.Of(failure.BadRequest, nil, "something follows the body's object")
		}
		return nil
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" && wrong.Type.Kind() == reflect.Uint64 {
		return failure.Of(failure.BadRequest, err, "%s is the %.40s; it must be a whole number from 0 on", wrong.Field, wrong.Value)
	}
	return failure.Of(failure.BadRequest, err, "the body cannot be read as %s: %.200s", example, strings.TrimPrefix(err.Error(), "json: "))
}

// fieldsOf returns the names of an object's fields, none of which stands there twice.
func fieldsOf(body []byte) (names []string, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("it is no object")
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("the field %.40q is given twice", name)
		}
		names = append(names, name)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		if string(value) == "null" {
			return nil, fmt.Errorf("the field %.40q is null; leave it out", name)
		}
	}
	return names, nil
}

// exactNames refuses names that differ from those of a struct's fields in their case
// only, which the decoder would take.
func exactNames(names []string, v any) error {
	known := map[string]bool{}
	of := reflect.TypeOf(v).Elem()
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		known[name] = true
	}
	for _, name := range names {
		if !known[name] {
			return fmt.Errorf("the field %.40q is not known", name)
		}
	}
	return nil
}

// name returns the name in the path.
func (x *exchange) name() (string, error) {
	name, err := url.PathUnescape(x.rawKey)
	if err != nil {
		return "", failure.Of(failure.BadRequest, err, "the name is not percent-encoded properly")
	}
	return name, nil
}

// match returns the condition on the table's revision, as a change takes it.
func (x *exchange) match() (uint64, error) {
	lines := x.r.Header["If-Match"]
	if len(lines) == 0 {
		return 0, nil
	}
	text := strings.TrimSuffix(strings.TrimPrefix(lines[0], `"`), `"`)
	n, ok := port.ParseNumber(text)
	if !ok || n == 0 || n >= 1<<63 || len(lines) > 1 || len(text)+2 != len(lines[0]) {
		return 0, failure.Of(failure.BadRequest, nil, `If-Match must be the revision of the table, as an ETag gives it, such as "7"`)
	}
	return n + 1, nil
}

// change makes a change of the table wherever the leader is. elsewhere says that the
// answer was sent.
func (x *exchange) change(c *auth.Change, body []byte) (created, replayed, elsewhere bool, err error) {
	mayForward, err := x.mayForward()
	if err != nil {
		return false, false, false, err
	}
	x.who.Person = isPerson(x.r)
	ctx, cancel := x.context()
	defer cancel()
	result, elsewhere, err := x.door.server.ChangeAuth(ctx, &x.who, c, x.remote(mayForward, body))
	switch {
	case err != nil:
		return false, false, false, err
	case elsewhere:
		x.relay()
		return false, false, true, nil
	}
	x.stampETag(result.Version)
	return result.Created, result.Replayed, false, nil
}

// authTable returns the table for a read of it.
func (x *exchange) authTable() (*auth.Table, error) {
	ctx, cancel := x.context()
	defer cancel()
	t, err := x.door.server.AuthTable(ctx, &x.who, x.route.Right)
	if err == nil {
		x.stampETag(t.Revision())
	}
	return t, err
}

const identityExample = `{"rules":[{"prefix":"orders/","rights":["read","list"]}]}`

func (d *Door) servePutIdentity(x *exchange) error {
	name, err := x.name()
	if err != nil {
		return err
	}
	match, err := x.match()
	if err != nil {
		return err
	}
	var asked struct {
		Rules    []auth.Rule `json:"rules"`
		Limits   auth.Limits `json:"limits"`
		Disabled bool        `json:"disabled"`
	}
	body, err := x.authBody(&asked, identityExample)
	if err != nil {
		return err
	}
	i := auth.Identity{Name: name, Rules: asked.Rules, Limits: asked.Limits, Disabled: asked.Disabled}
	if err := i.Check(); err != nil {
		return failure.Of(failure.BadRequest, err, "%s", err.Error())
	}
	if auth.Conceal(name) != name {
		return failure.Of(failure.BadRequest, nil, "the name of the identity begins as a token does, and everybody who may see identities would see it; choose another one")
	}
	created, _, elsewhere, err := x.change(&auth.Change{Action: auth.PutIdentity, Match: match, Identity: &i}, body)
	if err != nil || elsewhere {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return x.answerJSON(status, describeIdentity(nil, &i))
}

func (d *Door) serveDeleteIdentity(x *exchange) error {
	name, err := x.name()
	if err == nil {
		err = auth.CheckName(name)
	}
	if err != nil {
		return failure.Of(failure.BadRequest, err, "%s", err.Error())
	}
	return x.remove(&auth.Change{Action: auth.DeleteIdentity, Name: name})
}

func (d *Door) serveDeleteToken(x *exchange) error {
	id, ok := auth.ParseTokenID(x.rawKey)
	if !ok {
		return failure.Of(failure.NoSuchPath, nil, "there is no token %.20q; its id has 8 letters and digits", x.rawKey)
	}
	return x.remove(&auth.Change{Action: auth.RevokeToken, Token: &auth.Token{ID: id}})
}

// remove makes a change that removes something.
func (x *exchange) remove(c *auth.Change) (err error) {
	if c.Match, err = x.match(); err != nil {
		return err
	}
	_, _, elsewhere, err := x.change(c, nil)
	if err == nil && !elsewhere {
		x.answer(http.StatusNoContent, nil)
	}
	return err
}

func (d *Door) serveIdentities(x *exchange) error {
	t, err := x.authTable()
	if err != nil {
		return err
	}
	all := api.Identities{Identities: []api.Identity{}, Revision: t.Revision()}
	for _, i := range t.Identities() {
		all.Identities = append(all.Identities, describeIdentity(t, i))
	}
	return x.answerJSON(http.StatusOK, all)
}

func (d *Door) serveIdentity(x *exchange) error {
	name, err := x.name()
	if err != nil {
		return err
	}
	t, err := x.authTable()
	if err != nil {
		return err
	}
	i := t.Named(name)
	if i == nil {
		return failure.Of(failure.NoSuchPath, nil, "there is no identity %.64q", name)
	}
	return x.answerJSON(http.StatusOK, describeIdentity(t, i))
}

// describeIdentity shows an identity, with its tokens if there is a table.
func describeIdentity(t *auth.Table, i *auth.Identity) api.Identity {
	shown := api.Identity{Name: i.Name, Disabled: i.Disabled, Rules: mustJSON(append([]auth.Rule{}, i.Rules...))}
	if i.Limits != (auth.Limits{}) {
		shown.Limits = mustJSON(i.Limits)
	}
	for _, k := range t.Tokens() {
		if k.Identity == i.Number {
			shown.Tokens = append(shown.Tokens, describeToken(i.Name, k))
		}
	}
	return shown
}

func describeToken(identity string, k *auth.Token) api.AuthToken {
	shown := api.AuthToken{ID: k.ID.String(), Identity: identity, Created: time.Unix(int64(k.Created), 0).UTC(), Comment: k.Comment}
	if k.Expires != 0 {
		at := time.Unix(int64(k.Expires), 0).UTC()
		shown.Expires = &at
	}
	return shown
}

func mustJSON(v any) json.RawMessage { return bytes.TrimSuffix(encodeJSON(v, ""), []byte("\n")) }

// serveTokens lists the tokens that the caller may manage.
func (d *Door) serveTokens(x *exchange) error {
	t, err := x.authTable()
	if err != nil {
		return err
	}
	gate := d.server.Gate()
	every := gate.State() != auth.Enforcing || gate.Holds(&x.who, auth.Auth)
	all := api.AuthTokens{Tokens: []api.AuthToken{}, Revision: t.Revision(), Node: d.nodeID, UsedSince: gate.Since()}
	for _, k := range t.Tokens() {
		if i := t.Numbered(k.Identity); every || i.Number == x.who.Author().Identity {
			shown := describeToken(i.Name, k)
			if at, used := gate.LastUse(k.ID); used {
				shown.LastUsed = &at
			}
			all.Tokens = append(all.Tokens, shown)
		}
	}
	return x.answerJSON(http.StatusOK, all)
}

const tokenExample = `{"identity":"svc-orders","ttl":"720h","comment":"blue"}`

// serveNewToken makes a token, at the leader: the secret is drawn there, and is in this
// answer and nowhere else.
func (d *Door) serveNewToken(x *exchange) error {
	var asked api.NewToken
	body, err := x.authBody(&asked, tokenExample)
	if err != nil {
		return err
	}
	key, err := x.idempotencyKey()
	if err != nil {
		return err
	}
	now := time.Now()
	token := auth.Token{ID: drawTokenID(asked.Identity, key), Created: uint64(now.Unix()), Comment: asked.Comment}
	if asked.TTL != "" {
		ttl, err := time.ParseDuration(asked.TTL)
		if err != nil || ttl < time.Second {
			return failure.Of(failure.BadRequest, err, "the ttl is %.40q; it must be a time such as 720h, at least 1s, or left out for a token that does not expire", asked.TTL)
		}
		token.Expires = uint64(now.Add(ttl).Unix())
	}
	if err := auth.CheckName(asked.Identity); err != nil || len(asked.Comment) > auth.MaxCommentBytes {
		return failure.Of(failure.BadRequest, err, "the body must name an identity, and its comment may have %d bytes", auth.MaxCommentBytes)
	}
	var random [auth.SecretBytes]byte
	rand.Read(random[:])
	secret := auth.MakeToken(token.ID, random)
	token.Hash = auth.HashOf(secret.Reveal())
	x.about = asked.Identity
	_, replayed, elsewhere, err := x.change(&auth.Change{Action: auth.CreateToken, Name: asked.Identity, Token: &token}, body)
	if err != nil || elsewhere {
		return err
	}
	x.about += " " + token.ID.String()
	made := describeToken(asked.Identity, &token)
	if replayed {
		x.w.Header().Set(api.HeaderIdempotencyReplayed, "true")
		return x.answerJSON(http.StatusOK, made)
	}
	made.Token = secret.Reveal()
	return x.answerJSON(http.StatusCreated, made)
}

// drawTokenID draws an id. Under an idempotency key it is always the same one, so that
// a request that is sent again makes no second token.
func drawTokenID(identity, key string) auth.TokenID {
	var random [8]byte
	if key == "" {
		rand.Read(random[:])
	} else {
		sum := sha256.Sum256([]byte("token\x00" + identity + "\x00" + key))
		copy(random[:], sum[:])
	}
	return auth.TokenIDOf(random)
}

func (d *Door) serveAuthState(x *exchange) error {
	t, err := x.authTable()
	if err != nil {
		return err
	}
	return x.answerJSON(http.StatusOK, api.AuthState{State: t.State().String(), Revision: t.Revision(), WouldDeny: d.server.Gate().WouldDeny()})
}

func (d *Door) servePutAuthState(x *exchange) error {
	match, err := x.match()
	if err != nil {
		return err
	}
	var asked api.AuthState
	body, err := x.authBody(&asked, `{"state":"observe"}`)
	if err != nil {
		return err
	}
	state, known := auth.ParseState(asked.State)
	if !known || asked.Revision != 0 || asked.WouldDeny != nil {
		return failure.Of(failure.BadRequest, nil, "the body must be an object with the state off, observe or enforce; it is %.20q", asked.State)
	}
	x.about = asked.State
	_, _, elsewhere, err := x.change(&auth.Change{Action: auth.SetState, Match: match, State: state}, body)
	if err != nil || elsewhere {
		return err
	}
	return x.answerJSON(http.StatusOK, api.AuthState{State: state.String(), WouldDeny: d.server.Gate().WouldDeny()})
}

// serveAuthCheck says whether an identity may do something, and by which rule.
func (d *Door) serveAuthCheck(x *exchange) error {
	const example = `{"identity":"svc-orders","right":"read","key":"orders/1"}`
	var asked api.AuthCheck
	if _, err := x.authBody(&asked, example); err != nil {
		return err
	}
	right, err := auth.ParseRight(asked.Right)
	if err != nil {
		return failure.Of(failure.BadRequest, err, "%s", err.Error())
	}
	var r auth.Range
	given := 0
	for _, text := range []struct {
		text *string
		to   func(string) auth.Range
	}{
		{asked.Key, auth.OneKey}, {asked.Lock, auth.OneLock}, {asked.Prefix, func(p string) auth.Range { return auth.KeysWith(p, "") }},
	} {
		if text.text != nil {
			given++
			r = text.to(*text.text)
		}
	}
	if given > 1 {
		return failure.Of(failure.BadRequest, nil, "the body names several of key, prefix and lock; give one, or none for a right on the system")
	}
	if err := auth.CheckAbout(right, r); err != nil {
		return failure.Of(failure.BadRequest, err, "%s", err.Error())
	}
	t, err := x.authTable()
	if err != nil {
		return err
	}
	i := t.Named(asked.Identity)
	if i == nil {
		return failure.Of(failure.NoSuchPath, nil, "there is no identity %.64q", asked.Identity)
	}
	return x.answerJSON(http.StatusOK, decisionOf(i, right, r))
}

func decisionOf(i *auth.Identity, right auth.Right, r auth.Range) api.AuthChecked {
	rule := auth.Granting(i.Rules, right, r)
	switch {
	case i.Disabled:
		return api.AuthChecked{Why: "the identity is disabled"}
	case rule == nil:
		return api.AuthChecked{Why: "no rule of the identity grants " + right.String() + " on all of: " + r.String()}
	}
	return api.AuthChecked{Allowed: true, Rule: mustJSON(*rule), Why: "this rule grants it"}
}

// serveMe tells callers their identity.
func (d *Door) serveMe(x *exchange) error {
	i := x.who.Identity()
	if i == nil {
		return failure.Of(failure.NoSuchPath, nil, "the request names no identity that is known here")
	}
	me := describeIdentity(nil, i)
	if until := x.who.Expires(); until != 0 {
		at := time.Unix(int64(until), 0).UTC()
		me.Tokens = []api.AuthToken{{ID: x.who.Author().Token.String(), Identity: i.Name, Expires: &at}}
	}
	return x.answerJSON(http.StatusOK, me)
}
