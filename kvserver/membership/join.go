package membership

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// dialTimeout bounds the time in which a server that wants to join must answer the leader
// at its peer port.
const dialTimeout = 3 * time.Second

// Meet asks an address which server is there, before it is added: it must be the one
// that is meant, on that data directory (zero: on any), and be able to work here.
func (d *Driver) Meet(ctx context.Context, id members.ID, address string, incarnation members.Incarnation) (Greeting, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	g, err := d.config.Dial(ctx, address)
	switch {
	case err != nil:
		return g, failure.Of(failure.NotReachable, err, "%s does not answer at its peer address %.255q, which this leader must reach before it adds the server: %v", id, address, err)
	case g.ID != id:
		return g, failure.Of(failure.NotReachable, nil, "%s answers at the peer address %.255q of %s", g.ID, address, id)
	case incarnation != (members.Incarnation{}) && g.Incarnation != incarnation:
		return g, failure.Of(failure.NotReachable, nil, "%s answers at %.255q from another data directory (%v) than the one that wants to join (%v)", id, address, g.Incarnation, incarnation)
	}
	return g, nil
}

// Join adds the server that a body describes as a learner or a replica, where this node
// leads. The same token, id and directory again get the same answer.
func (d *Driver) Join(ctx context.Context, body api.Join) (api.Joined, error) {
	return d.join(ctx, body, false)
}

// PeerJoin answers a server that asks to join by the peer port of this node, where it has
// shown the certificate of a peer in the name from. The body and the answer are JSON:
// api.Join without a token, and api.PeerJoined. outcome says whether it was let in, as far as
// this node knows, and code why not: api.CodeNoLeader if the answer names another node.
func (d *Driver) PeerJoin(ctx context.Context, from members.ID, body []byte) (text []byte, outcome api.Outcome, code api.Code) {
	answer := api.PeerJoined{}
	var b api.Join
	err := json.Unmarshal(body, &b)
	switch {
	case err != nil:
		err = failure.Of(failure.BadRequest, err, "the wish to join is not understood: %v", err)
	case b.ID != string(from):
		err = failure.Of(failure.JoinRefused, nil, "%s asks to join under the name %.80q: a certificate lets in its own name alone", from, b.ID)
	default:
		s := d.config.Consensus.Status()
		if record := d.Configurations().Newest.Record; record != nil && !leads(s) {
			if leader := record.Member(s.Leader); leader != nil {
				answer.Leader, outcome, code = leader.Peer, api.OutcomeNotApplied, api.CodeNoLeader
				break
			}
		}
		var joined api.Joined
		b.Token = ""
		if joined, err = d.join(ctx, b, true); err == nil {
			answer.Joined, outcome = &joined, api.OutcomeApplied
		}
	}
	if err != nil { // what was under way when its time ended may have happened
		outcome, code = failure.KindOf(err).Outcome, failure.KindOf(err).Code
		answer.Refused, answer.Code = failure.Detail(err), code
	}
	text, err = json.Marshal(answer)
	if err != nil {
		return nil, outcome, code // strings and numbers can be encoded
	}
	return text, outcome, code
}

// join is Join; certified says that the server has shown a certificate of its name.
func (d *Driver) join(ctx context.Context, body api.Join, certified bool) (api.Joined, error) {
	if err := d.mustLead(); err != nil {
		return api.Joined{}, err
	}
	add, err := ParseJoin(body)
	if err != nil {
		return api.Joined{}, err
	}
	record := d.Configurations().Newest.Record
	if record == nil {
		return api.Joined{}, failure.Of(failure.NotActive, nil, "the cluster has no record of its members: it works at level 2, and servers join from level 3 on; upgrade all nodes")
	}
	change := changeOf(body)
	if m := record.Member(add.ID); m != nil && m.Incarnation == add.Incarnation && (body.Token != "" || certified || d.vouches()) {
		_, taken := record.ChangeOf(change)
		switch {
		case taken: // await its end: what is not committed may yet be lost
			return d.added(ctx, Ask{ID: change})
		case m.Role != members.Voter: // it joined so long ago that the change is forgotten
			return d.joined()
		}
	}
	if certified && d.config.Transport.SharesCertificate && add.Replaces != add.ID {
		return api.Joined{}, failure.Of(failure.JoinRefused, nil, "the nodes of this cluster share one certificate (--peer-identity cluster), which does not say that it is %s's: give %s a token", add.ID, add.ID)
	}
	if err := admit(record, &add, body.Token, change, certified); err != nil {
		return api.Joined{}, err
	}
	if add.Token != "" && !d.mayUse(add.Token) {
		return api.Joined{}, refuseToken(add.ID)
	}
	stranger := body.Token == "" && !certified // nothing vouches for it yet
	if stranger {
		if err := d.mayReturn(record, &add); err != nil {
			return api.Joined{}, err
		}
	}
	if err := d.meetJoiner(ctx, &add, stranger); err != nil {
		return api.Joined{}, err
	}
	if err := d.makeRoom(ctx, &add, change); err != nil {
		return api.Joined{}, err
	}
	return d.added(ctx, Ask{ID: change, Add: []Addition{add}})
}

// vouches reports whether a server that comes back without a token is vouched for: by its
// certificate when this leader connects to it, or because everybody may do everything here.
func (d *Driver) vouches() bool {
	return d.config.Transport.DialsTLS || d.config.Enforces == nil || !d.config.Enforces()
}

// mayReturn says whether a server that shows nothing may come back under the name of a
// member, before anything is asked of its address: the member must be lost.
func (d *Driver) mayReturn(record *members.Record, add *Addition) error {
	if !d.vouches() {
		return failure.Of(failure.JoinRefused, nil, "nothing vouches for %s: this cluster enforces identities, and its nodes connect to each other without TLS; make a token (raftkv member token create) and give it to %s with --join-token-file, or move the nodes to --peer-tls require", add.ID, add.ID)
	}
	switch v := d.View(); {
	case !v.Leads:
		return d.noLeader()
	case record.Member(add.ID) != nil && !v.lost(add.ID, 0):
		return v.alive(add.ID)
	}
	return nil
}

// maxStrangers is how many servers without a token are connected to at one time.
const maxStrangers = 2

// meetJoiner is Meet for a server that wants to join. What is found at the address is not
// told to a stranger where identities are enforced: he would look through this leader's eyes.
func (d *Driver) meetJoiner(ctx context.Context, add *Addition, stranger bool) error {
	if stranger {
		if d.strangers.Add(1) > maxStrangers {
			d.strangers.Add(-1)
			return failure.RetryAfter(failure.Overloaded, time.Second, "%d servers without a token are being looked for already; ask again", maxStrangers)
		}
		defer d.strangers.Add(-1)
	}
	_, err := d.Meet(ctx, add.ID, add.Peer, add.Incarnation)
	if err == nil || !stranger || d.config.Enforces == nil || !d.config.Enforces() {
		return err
	}
	d.config.Logger.Info("a server that wants to come back was not found where it says", "member", string(add.ID), "error", err)
	return failure.Of(failure.NotReachable, nil, "this leader does not find %s, with its certificate and on that data directory, at the peer address %.255q; the leader's log says why", add.ID, add.Peer)
}

// added makes the change that adds a server, and says what the server needs to begin.
func (d *Driver) added(ctx context.Context, ask Ask) (api.Joined, error) {
	r, err := d.Change(ctx, ask)
	if err != nil {
		return api.Joined{}, err
	}
	if r.State != api.ChangeDone {
		return api.Joined{}, failure.Of(failure.Timeout, nil, "the change was under way when the time of the request ended; ask again")
	}
	return d.joined()
}

// changeOf returns the id of the change by which a server joins. It says which join this
// is: the server repeats it until it is answered.
func changeOf(body api.Join) string {
	sum := sha256.Sum256([]byte(body.Token + "\x00" + body.ID + "\x00" + body.Incarnation))
	return "join-" + hex.EncodeToString(sum[:12])
}

// admit lets a server in by its token, or without one a member that comes back under its
// own name on a new directory: it is a member already, and what vouches for it is its
// certificate, where peers have some, as for --rejoin at level 2.
//
// A certificate lets in whoever has one, where the cluster's settings say so.
func admit(record *members.Record, add *Addition, text, change string, certified bool) error {
	if text == "" && add.Replaces == add.ID {
		old := record.Member(add.ID)
		left, _ := hasLeft(record, change)
		switch {
		case old == nil && !left:
			return failure.Of(failure.JoinRefused, nil, "%s is no member of the cluster, so it cannot come back without a token: give it --join and --join-token-file", add.ID)
		case old != nil && old.Role == members.Replica:
			add.Role, add.Promote = members.Replica, false
		case old != nil && old.Role == members.Learner:
			add.Promote = old.Promote
		}
		return nil
	}
	if certified {
		if record.Settings.JoinBy != members.JoinByCertificate {
			return failure.Of(failure.JoinRefused, nil, "this cluster lets servers join by a token only: give %s one, or set join to certificate in /v1/cluster/settings", add.ID)
		}
		return nil
	}
	token, err := CheckToken(record, text, add.ID, uint64(time.Now().UnixMilli()))
	if err != nil {
		return err
	}
	add.Token = token.ID
	if token.Role == members.Replica {
		add.Role, add.Promote = members.Replica, false
	}
	return nil
}

// Suffixes of the id of the change that removes the old directory of a member that comes
// back, without a vote or with one; what stands before is the id of the change that adds the
// new directory. So the record says, to a later attempt as well, what the member was.
const (
	leaveSuffix = "-leave"
	voterSuffix = "-voter-leaves"
)

// hasLeft reports whether the old directory was removed by an earlier attempt of a change, and
// whether it had a vote.
func hasLeft(r *members.Record, change string) (left, voted bool) {
	_, voted = r.ChangeOf(change + voterSuffix)
	_, left = r.ChangeOf(change + leaveSuffix)
	return left || voted, voted
}

// makeRoom removes a member whose own name a new directory takes over: the old directory
// goes with a change of its own, since a change does one thing with a node. Before, it decides
// whether the new one would be added then, so that no vote goes for nothing.
func (d *Driver) makeRoom(ctx context.Context, add *Addition, change string) error {
	if add.Replaces != add.ID {
		return nil
	}
	d.settle(ctx)
	v := d.View()
	if !v.Leads { // any more: it would not know who is silent
		return d.noLeader()
	}
	add.Replaces = members.None
	old := v.Newest.Record.Member(add.ID)
	if old == nil { // an earlier attempt has removed it
		_, add.Returns = hasLeft(v.Newest.Record, change)
		return nil
	}
	if old.Incarnation == add.Incarnation {
		return nil // it is a member already: nothing of it is removed
	}
	if !v.lost(add.ID, 0) {
		return v.alive(add.ID)
	}
	suffix := leaveSuffix
	if old.Role == members.Voter || old.Replaces == old.ID {
		suffix, add.Returns = voterSuffix, true
	}
	if _, err := Decide(v.after(add.ID), Ask{ID: change, Add: []Addition{*add}}); err != nil {
		return err
	}
	_, err := d.Change(ctx, Ask{ID: change + suffix, Remove: []members.ID{add.ID}, Successor: add.Incarnation})
	return err
}

// after returns the view as it is when a member has been removed.
func (v View) after(removed members.ID) View {
	p := Plan{Wanted: v.Newest.Record.Clone()}
	p.delete(removed)
	v.Newest.Record = &p.Wanted
	return v
}

// joined says what a server needs to begin.
func (d *Driver) joined() (api.Joined, error) {
	v := d.Configurations().Committed
	if v.Record == nil {
		return api.Joined{}, failure.Of(failure.NoLeader, nil, "the record of the members is not committed yet")
	}
	j := api.Joined{UID: v.Record.UID.String(), Generation: v.Record.Generation, Level: v.Record.Level, Version: v.Index, Members: map[string]string{}}
	for i := range v.Record.Members {
		j.Members[string(v.Record.Members[i].ID)] = v.Record.Members[i].Peer
	}
	return j, nil
}

// ParseJoin reads the body of a request to join.
func ParseJoin(b api.Join) (Addition, error) {
	add := Addition{
		ID: members.ID(b.ID), Role: members.Learner, Peer: b.Peer, HTTP: b.HTTP, Promote: true,
		Levels: levels.Range{Min: b.LevelMin, Max: b.LevelMax}, Replaces: members.ID(b.Replaces),
	}
	if b.Role == members.Replica.String() {
		add.Role, add.Promote = members.Replica, false
	}
	raw, err := hex.DecodeString(b.Incarnation)
	switch {
	case b.Role != "" && b.Role != members.Learner.String() && b.Role != members.Replica.String():
		return add, failure.Of(failure.BadRequest, nil, "the role is %.40q: choose learner or replica", b.Role)
	case len(b.ID) == 0 || len(b.ID) > members.MaxIDBytes || len(b.Replaces) > members.MaxIDBytes:
		return add, failure.Of(failure.BadRequest, nil, "an id of a server has 1 to %d bytes, not %d", members.MaxIDBytes, max(len(b.ID), len(b.Replaces)))
	case err != nil || len(raw) != len(add.Incarnation) || [16]byte(raw) == [16]byte{}:
		return add, failure.Of(failure.BadRequest, err, "the incarnation %.80q is not that of a data directory: it has 32 hexadecimal digits", b.Incarnation)
	case b.Peer == "" || len(b.Peer) > members.MaxAddressBytes || len(b.HTTP) > members.MaxAddressBytes:
		return add, failure.Of(failure.BadRequest, nil, "an address has 1 to %d bytes, and the server's have %d and %d", members.MaxAddressBytes, len(b.Peer), len(b.HTTP))
	case !add.Levels.Valid():
		return add, failure.Of(failure.BadRequest, nil, "%v are no levels of a program", add.Levels)
	}
	copy(add.Incarnation[:], raw)
	return add, nil
}

// Bounds of a token, and what it has unless something else is said.
const (
	defaultTokenTTL = time.Hour
	maxTokenTTL     = 7 * 24 * time.Hour
	maxTokenUses    = 32
)

// CreateToken makes a token by which servers may join, for the process itself.
func (d *Driver) CreateToken(ctx context.Context, b api.JoinTokenWanted) (api.JoinToken, error) {
	return d.CreateTokenBy(ctx, b, ThisProcess)
}

// CreateTokenBy makes a token by which servers may join, for somebody.
func (d *Driver) CreateTokenBy(ctx context.Context, b api.JoinTokenWanted, by Maker) (api.JoinToken, error) {
	t := members.JoinToken{ID: by.tokenID(), Role: members.Learner, For: members.ID(b.For), Uses: max(b.Uses, 1)}
	if b.Role == members.Replica.String() {
		t.Role = members.Replica
	}
	ttl := time.Duration(b.TTLSeconds) * time.Second
	if ttl == 0 {
		ttl = defaultTokenTTL
	}
	switch {
	case b.Role != "" && b.Role != t.Role.String():
		return api.JoinToken{}, failure.Of(failure.BadRequest, nil, "the role is %.40q: choose learner or replica", b.Role)
	case ttl > maxTokenTTL || b.Uses > maxTokenUses || len(b.For) > members.MaxIDBytes:
		return api.JoinToken{}, failure.Of(failure.BadRequest, nil, "the token is to last %v and for %d uses: choose at most %v and %d", ttl, b.Uses, maxTokenTTL, maxTokenUses)
	}
	now := time.Now()
	t.Expiry = uint64(now.Add(ttl).UnixMilli())
	text, t := NewToken(t, rand.Text())
	ask := Ask{ID: fmt.Sprintf("token-%s", t.ID), Tokens: func(all []members.JoinToken) []members.JoinToken {
		good := slices.DeleteFunc(slices.Clone(all), func(old members.JoinToken) bool { return !d.mayUse(old.ID) })
		return putToken(good, t, uint64(now.UnixMilli()))
	}}
	if r, err := d.Change(ctx, ask); err != nil {
		return api.JoinToken{}, err
	} else if r.State != api.ChangeDone {
		return api.JoinToken{}, failure.Of(failure.Timeout, nil, "the token %s was under way when the time of the request ended, and its text is lost: drop it (raftkv member token drop %s) and ask for another one", t.ID, t.ID)
	}
	shown := describeToken(t)
	shown.Token = text
	return shown, nil
}

// Tokens returns the tokens that open something, without their secrets.
func (d *Driver) Tokens() api.JoinTokens {
	all := api.JoinTokens{Tokens: []api.JoinToken{}}
	if r := d.Configurations().Newest.Record; r != nil {
		for _, t := range r.Tokens {
			if d.mayUse(t.ID) {
				all.Tokens = append(all.Tokens, describeToken(t))
			}
		}
	}
	return all
}

// DropToken makes a token worthless.
func (d *Driver) DropToken(ctx context.Context, id string) error {
	r := d.Configurations().Newest.Record
	if r == nil || !slices.ContainsFunc(r.Tokens, func(t members.JoinToken) bool { return t.ID == id }) {
		return failure.Of(failure.NoSuchMember, nil, "there is no token %.80q; it may have expired or been used up", id)
	}
	made, err := d.Change(ctx, Ask{ID: "token-" + id + "-drop", Tokens: func(all []members.JoinToken) []members.JoinToken {
		var left []members.JoinToken
		for _, t := range all {
			if t.ID != id {
				left = append(left, t)
			}
		}
		return left
	}})
	if err == nil && made.State != api.ChangeDone {
		return failure.Of(failure.Timeout, nil, "the end of the token %s was under way when the time of the request ended; ask again", id)
	}
	return err
}

func describeToken(t members.JoinToken) api.JoinToken {
	return api.JoinToken{ID: t.ID, Role: t.Role.String(), For: string(t.For), Uses: t.Uses, ExpiresUnixMs: t.Expiry}
}
