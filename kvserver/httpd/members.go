package httpd

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/membership"
	"raftkv/kvserver/port"
	"raftkv/raft/members"
)

// joinPath is where a server asks to join with a token of its own kind.
const joinPath = "/v1/join"

// maxMembersBytes bounds the body of a request about members.
const maxMembersBytes = 16 << 10

// A request waits for the end of a change for this long if it does not say for how long, and
// never for longer than maxChangeWait.
const (
	changeWait    = 30 * time.Second
	maxChangeWait = 10 * time.Minute
)

// serveMembers lists the members: as the leader knows it, or with
// ?consistency=stale as this node does.
func (d *Door) serveMembers(x *exchange) error {
	switch consistency, given := x.query["consistency"]; {
	case !given, consistency == api.ConsistencyLinearizable:
	case consistency == api.ConsistencyStale:
		ctx, cancel := x.context()
		defer cancel()
		driver, err := d.server.StaleMembers(ctx)
		if err != nil {
			return err
		}
		return x.answerMembers(driver)
	default:
		return failure.Of(failure.BadRequest, nil, "the consistency is %.40q; choose linearizable or stale", consistency)
	}
	return x.atLeader(nil, func(_ context.Context, driver *membership.Driver) error { return x.answerMembers(driver) })
}

func (x *exchange) answerMembers(driver *membership.Driver) error {
	x.stampConfiguration()
	m := driver.Describe()
	x.stampVersion(m.Version)
	return x.answerJSON(http.StatusOK, m)
}

// stampVersion gives the answer the version of the configuration as its ETag.
func (x *exchange) stampVersion(version uint64) {
	x.w.Header().Set("Etag", `"`+strconv.FormatUint(version, 10)+`"`)
}

// serveChange makes a change of the members that the body describes.
func (d *Door) serveChange(x *exchange) error {
	var b api.MembersChange
	body, err := x.decodeBody(&b)
	if err != nil {
		return err
	}
	ask := membership.Ask{Promote: ids(b.Promote), Demote: ids(b.Demote), Remove: ids(b.Remove), EvenIfAlive: b.EvenIfAlive}
	for old, taker := range b.Replace {
		ask.Replace = append(ask.Replace, membership.Replacement{Old: members.ID(old), New: members.ID(taker)})
	}
	if b.Wanted != 0 {
		ask.Settings = func(s *members.Settings) { s.Wanted = b.Wanted }
	}
	return x.changeMembers(body, ask, b.Add)
}

// serveRemove removes the member in the path.
func (d *Door) serveRemove(x *exchange) error {
	id, err := x.memberID()
	if err != nil {
		return err
	}
	return x.changeMembers(nil, membership.Ask{Remove: []members.ID{id}}, nil)
}

// serveMember promotes or demotes the member in the path.
func (d *Door) serveMember(x *exchange) error {
	id, err := x.memberID()
	if err != nil {
		return err
	}
	if x.hasBody() {
		x.w.Header().Set("Connection", "close") // what comes is not waited for
		return failure.Of(failure.BadRequest, nil, "the request takes no body; what is to be done stands in ?op")
	}
	switch x.query["op"] {
	case "promote":
		return x.changeMembers(nil, membership.Ask{Promote: []members.ID{id}}, nil)
	case "demote":
		return x.changeMembers(nil, membership.Ask{Demote: []members.ID{id}}, nil)
	}
	return failure.Of(failure.BadRequest, nil, "the parameter op is %.40q; choose promote or demote", x.query["op"])
}

// memberID returns the id in the path.
func (x *exchange) memberID() (members.ID, error) {
	id, err := url.PathUnescape(x.rawKey)
	if err != nil || len(id) == 0 || len(id) > members.MaxChangeIDBytes {
		return "", failure.Of(failure.BadRequest, err, "the id in the path has %d bytes or is not percent-encoded properly; it has 1 to %d", len(id), members.MaxChangeIDBytes)
	}
	return members.ID(id), nil
}

func ids(texts []string) (all []members.ID) {
	for _, text := range texts {
		all = append(all, members.ID(text))
	}
	return all
}

// decodeBody reads a body of JSON that holds one object and no field that is unknown.
func (x *exchange) decodeBody(to any) ([]byte, error) { return x.decodeObject(to, true) }

// decodeObject is decodeBody for a person's body, where a field that is unknown was spelt wrong,
// and for that of another program, which may be newer and say more.
func (x *exchange) decodeObject(to any, person bool) ([]byte, error) {
	body, err := x.jsonBody(maxMembersBytes, `{"promote":["n4"]} of /v1/members`)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if person {
		decoder.DisallowUnknownFields()
	}
	err = decoder.Decode(to)
	if err == nil {
		if _, trailing := decoder.Token(); trailing != io.EOF {
			return nil, failure.Of(failure.BadRequest, nil, "something stands behind the object in the body")
		}
	}
	if err != nil {
		return nil, failure.Of(failure.BadRequest, err, "the body is not understood: %v", err)
	}
	return body, nil
}

// changeID gives the change the id that the client gave it, or one of its own, which
// travels with the request: the leader may change while it is made.
func (x *exchange) changeID() (string, error) {
	id, err := x.idempotencyKey()
	if err == nil && id == "" {
		id = strings.ToLower(rand.Text()[:16])
		x.r.Header.Set(api.HeaderIdempotencyKey, id)
	}
	if err == nil && membership.IsOwnID(id) {
		return "", failure.Of(failure.BadRequest, nil, "the id %.80q of the change, in the header %s, is like those that nodes give to their own changes (upkeep-…, token-…, join-…); choose another one", id, api.HeaderIdempotencyKey)
	}
	if err == nil && len(id) > members.MaxChangeIDBytes {
		return "", failure.Of(failure.BadRequest, nil, "the header %s names the change, and has %d bytes; give it 1 to %d", api.HeaderIdempotencyKey, len(id), members.MaxChangeIDBytes)
	}
	return id, err
}

// membersVersion returns the version that the configuration must have, nil if any will do.
func (x *exchange) membersVersion() (*uint64, error) {
	values := x.r.Header["If-Match"]
	if len(values) == 0 {
		return nil, nil
	}
	bare := strings.Trim(values[0], `"`)
	version, ok := port.ParseNumber(bare)
	if !ok || version == 0 || len(values) > 1 || values[0] != `"`+bare+`"` {
		return nil, failure.Of(failure.BadRequest, nil, `the header If-Match is %.80q; it must be the ETag of /v1/members, as in "17"`, values[0])
	}
	return &version, nil
}

// changeMembers makes a change, or with ?dry_run says what it would be like, where the leader is.
func (x *exchange) changeMembers(body []byte, ask membership.Ask, add []api.MemberToAdd) (err error) {
	if ask.ID, err = x.changeID(); err != nil {
		return err
	}
	if ask.IfMatch, err = x.membersVersion(); err != nil {
		return err
	}
	dry, err := x.flag("dry_run")
	if err != nil {
		return err
	}
	wait, err := x.waitTime()
	if err != nil {
		return err
	}
	whole, end := x.waitContext(wait)
	defer end()
	return x.atLeaderIn(whole, body, func(ctx context.Context, driver *membership.Driver) error {
		ask := ask
		if driver.IndexOf(ask.ID) != 0 {
			add = nil // it was made: nobody need be reached for it any more
		}
		for _, one := range add {
			addition, err := meet(ctx, driver, one)
			if err != nil {
				return err
			}
			ask.Add = append(ask.Add, addition)
		}
		if dry {
			r, err := driver.Plan(ask)
			if err != nil {
				return err
			}
			return x.answerChange(driver, r)
		}
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		r, err := driver.Change(ctx, ask)
		if err != nil {
			return err
		}
		if r.State == api.ChangeDone && !x.door.server.HasApplied(ctx, driver.Configurations().Committed.Index) {
			r.State = api.ChangeFinal
		}
		return x.answerChange(driver, r)
	})
}

// waitTime returns how long to wait for the end of a change: ?wait, maxChangeWait at most.
func (x *exchange) waitTime() (time.Duration, error) {
	text, given := x.query["wait"]
	if !given {
		return changeWait, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, failure.Of(failure.BadRequest, err, "the parameter wait is %.40q; give a time such as 5s", text)
	}
	return min(wait, maxChangeWait), nil
}

// waitContext is context for a request that waits this long in addition to its time.
func (x *exchange) waitContext(wait time.Duration) (context.Context, context.CancelFunc) {
	x.conn.LeaveGate()
	x.unhurried()
	return x.door.server.WaitContext(x.r.Context(), wait)
}

// meet asks a server that is to be added for its identity.
func meet(ctx context.Context, driver *membership.Driver, one api.MemberToAdd) (membership.Addition, error) {
	add := membership.Addition{
		ID: members.ID(one.ID), Role: members.Learner, Peer: one.Peer, Replaces: members.ID(one.Replaces), Promote: one.Promote == nil || *one.Promote,
	}
	switch one.Role {
	case "", members.Learner.String():
	case members.Replica.String():
		add.Role = members.Replica
	default:
		return add, failure.Of(failure.BadRequest, nil, "the role of %.80q is %.40q; choose learner or replica", one.ID, one.Role)
	}
	g, err := driver.Meet(ctx, add.ID, add.Peer, members.Incarnation{})
	add.Incarnation, add.Levels, add.HTTP = g.Incarnation, g.Levels, g.HTTP
	return add, err
}

// answerChange says how far a change has come: 200 if it has ended or was only planned,
// else 202 with the place where to ask for it.
func (x *exchange) answerChange(driver *membership.Driver, r membership.Result) error {
	version := driver.Configurations().Newest.Index
	x.stampVersion(version)
	status := http.StatusOK
	if r.State != api.ChangeDone && r.State != api.ChangePlanned {
		status = http.StatusAccepted
		x.w.Header().Set("Location", "/v1/members/changes/"+url.PathEscape(r.Plan.Ask.ID))
	}
	return x.answerJSON(status, r.Body(version))
}

// serveChangeState says how far a change has come.
func (d *Door) serveChangeState(x *exchange) error {
	id, err := x.memberID()
	if err != nil {
		return err
	}
	ended, end := context.WithCancel(context.Background()) // nothing is waited for
	end()
	return x.atLeader(nil, func(_ context.Context, driver *membership.Driver) error {
		state, found := driver.State(string(id))
		if state == api.ChangeDone && !x.door.server.HasApplied(ended, driver.Configurations().Committed.Index) {
			state = api.ChangeFinal
		}
		if !found {
			return failure.Of(failure.NoSuchMember, nil, "no change %.80q is known: it was not made, or the last %d changes are newer", id, members.MaxChanges)
		}
		return x.answerJSON(http.StatusOK, api.MembersChanged{Change: string(id), State: state, Index: driver.IndexOf(string(id))})
	})
}

// serveLevel holds the level, lets it go, or raises it.
func (d *Door) serveLevel(x *exchange) error {
	var b api.LevelChange
	body, err := x.decodeBody(&b)
	if err != nil {
		return err
	}
	var ask membership.Ask
	here, err := x.flag("here")
	if err != nil {
		return err
	}
	switch {
	case b.Hold != nil && b.Raise == 0:
		ask.Settings = func(s *members.Settings) { s.Hold = *b.Hold }
	case b.Hold == nil && b.Raise != 0 && !here:
		ask.Level = b.Raise
	default:
		return failure.Of(failure.BadRequest, nil, `the body says what to do with the level: {"hold":true}, {"hold":false} or {"raise":3}`)
	}
	if ask.ID, err = x.changeID(); err != nil {
		return err
	}
	if b.Hold != nil {
		if ended, err := x.holdLevel(*b.Hold, here); ended || err != nil {
			return err
		}
	}
	return x.atLeader(body, func(ctx context.Context, driver *membership.Driver) error {
		if _, err := driver.Change(ctx, ask); err != nil {
			return err
		}
		return x.answerJSON(http.StatusOK, driver.Level())
	})
}

// holdLevel holds the level of a cluster that has no record of its members, or lets it go:
// at all nodes, or at this one alone. Any node does that, since the leader's program may be
// older. ended says that this was the answer.
func (x *exchange) holdLevel(hold, here bool) (ended bool, err error) {
	driver, err := x.door.server.Members()
	if err != nil {
		return true, err
	}
	ctx, cancel := x.context()
	defer cancel()
	if err := x.door.server.ConfirmHere(ctx, &x.who, x.route.Right); err != nil {
		return true, err
	}
	var recorded bool
	if here {
		recorded, err = driver.HoldHere(hold)
	} else {
		recorded, err = driver.Hold(ctx, hold)
	}
	if err != nil || recorded && !here {
		return false, err
	}
	return true, x.answerJSON(http.StatusOK, driver.Level())
}

// serveSettings says the cluster's settings, and changes them.
func (d *Door) serveSettings(x *exchange) error {
	var b api.ClusterSettings
	var body []byte
	var ask membership.Ask
	changes := x.r.Method == http.MethodPut
	if changes {
		var err error
		if body, err = x.decodeBody(&b); err != nil {
			return err
		}
		if ask.ID, err = x.changeID(); err != nil {
			return err
		}
		if ask.IfMatch, err = x.membersVersion(); err != nil {
			return err
		}
		if ask.Settings, err = membership.ChangeSettings(b); err != nil {
			return err
		}
	}
	return x.atLeader(body, func(ctx context.Context, driver *membership.Driver) error {
		if changes {
			if _, err := driver.Change(ctx, ask); err != nil {
				return err
			}
		}
		s, version, known := driver.Settings()
		if !known {
			return failure.Of(failure.NotActive, nil, "the cluster has no record of its members: it works at level 2, and has settings from level 3 on; upgrade all nodes")
		}
		x.stampVersion(version)
		return x.answerJSON(http.StatusOK, membership.DescribeSettings(s))
	})
}

// serveEndpoints says where clients are served, as this node knows it.
func (d *Door) serveEndpoints(x *exchange) error {
	driver, err := d.server.Members()
	if err != nil {
		return err
	}
	return x.answerJSON(http.StatusOK, driver.Endpoints())
}

// serveJoin lets a server join that shows a token.
func (d *Door) serveJoin(x *exchange) error {
	var b api.Join
	body, err := x.decodeObject(&b, false)
	if err != nil {
		return err
	}
	return x.atLeader(body, func(ctx context.Context, driver *membership.Driver) error {
		if b.Token != "" { // which identities that are enforced may have ended
			if err := d.server.AwaitFresh(ctx, true); err != nil {
				return err
			}
		}
		joined, err := driver.Join(ctx, b)
		if err != nil {
			return err
		}
		return x.answerJSON(http.StatusOK, joined)
	})
}

// serveCreateToken makes a token by which servers may join.
func (d *Door) serveCreateToken(x *exchange) error {
	var b api.JoinTokenWanted
	body, err := x.decodeBody(&b)
	if err != nil {
		return err
	}
	return x.atLeader(body, func(ctx context.Context, driver *membership.Driver) error {
		maker := membership.Nobody
		if d.server.Gate().Holds(&x.who, x.route.Right) {
			maker = membership.Maker(x.who.Author().Identity)
		}
		token, err := driver.CreateTokenBy(ctx, b, maker)
		if err != nil {
			return err
		}
		return x.answerJSON(http.StatusCreated, token)
	})
}

// serveJoinTokens lists the tokens, without their secrets.
func (d *Door) serveJoinTokens(x *exchange) error {
	return x.atLeader(nil, func(_ context.Context, driver *membership.Driver) error {
		return x.answerJSON(http.StatusOK, driver.Tokens())
	})
}

// serveDropToken makes the token in the path worthless.
func (d *Door) serveDropToken(x *exchange) error {
	id, err := x.memberID()
	if err != nil {
		return err
	}
	return x.atLeader(nil, func(ctx context.Context, driver *membership.Driver) error {
		if err := driver.DropToken(ctx, string(id)); err != nil {
			return err
		}
		x.answer(http.StatusNoContent, nil)
		return nil
	})
}

// memberRoutes are the routes about members.
func memberRoutes() []route {
	onChange, changes := []string{"If-Match", api.HeaderIdempotencyKey}, []string{"dry_run", "wait"}
	atLeader := []int{200, 400, 500, 501, 503, 504}
	afterChange := []int{200, 202, 400, 409, 412, 500, 501, 503, 504}
	afterBody := []int{200, 400, 409, 412, 413, 500, 501, 503, 504}
	json := []string{"Content-Type"}
	return []route{
		{Route{"GET", "/v1/members", kvserver.Free, auth.Members, []string{"consistency"}, nil, atLeader}, ofSystem, (*Door).serveMembers},
		{Route{"POST", "/v1/members", kvserver.Free, auth.Members, changes, append(json, onChange...), append([]int{413}, afterChange...)}, ofSystem, (*Door).serveChange},
		{Route{"DELETE", "/v1/members/{id}", kvserver.Free, auth.Members, changes, onChange, afterChange}, ofSystem, (*Door).serveRemove},
		{Route{"POST", "/v1/members/{id}", kvserver.Free, auth.Members, append([]string{"op"}, changes...), onChange, afterChange}, ofSystem, (*Door).serveMember},
		{Route{"GET", "/v1/members/changes/{id}", kvserver.Free, auth.Members, nil, nil, atLeader}, ofSystem, (*Door).serveChangeState},
		{Route{"POST", "/v1/level", kvserver.Free, auth.Members, []string{"here"}, append(json, api.HeaderIdempotencyKey), afterBody}, ofSystem, (*Door).serveLevel},
		{Route{"GET", "/v1/cluster/settings", kvserver.Free, auth.Members, nil, nil, atLeader}, ofSystem, (*Door).serveSettings},
		{Route{"PUT", "/v1/cluster/settings", kvserver.Free, auth.Members, nil, append(json, onChange...), afterBody}, ofSystem, (*Door).serveSettings},
		{Route{"GET", "/v1/endpoints", kvserver.Free, auth.Known, nil, nil, []int{200, 400, 500, 501}}, ofSystem, (*Door).serveEndpoints},
		{Route{"POST", joinPath, kvserver.Free, auth.Open, nil, json, afterBody}, ofSystem, (*Door).serveJoin},
		{Route{"POST", "/v1/join-tokens", kvserver.Free, auth.JoinTokens, nil, json, []int{201, 400, 409, 413, 500, 501, 503, 504}}, ofSystem, (*Door).serveCreateToken},
		{Route{"GET", "/v1/join-tokens", kvserver.Free, auth.JoinTokens, nil, nil, atLeader}, ofSystem, (*Door).serveJoinTokens},
		{Route{"DELETE", "/v1/join-tokens/{id}", kvserver.Free, auth.JoinTokens, nil, nil, []int{204, 400, 409, 500, 501, 503, 504}}, ofSystem, (*Door).serveDropToken},
	}
}
