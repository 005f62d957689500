package kvserver

import (
	"context"
	"errors"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/txn"
	"raftkv/kvserver/watch"
)

// Caller is the maker of a request; see access.Caller.
type Caller = access.Caller

// Gate returns what finds callers and decides about them.
func (s *Server) Gate() *access.Gate { return s.gate }

// Allow decides whether a caller may use a right on a range, now. Reads and writes of
// keys are decided by the methods that serve them, on what they execute; doors ask this
// for everything else, and before they read a body.
func (s *Server) Allow(who *Caller, right auth.Right, r auth.Range) error {
	return s.gate.Allow(who, right, r)
}

// allowCommand decides about a command that a client asks for, and puts the caller's
// name into it, for the decision in the log.
func (s *Server) allowCommand(who *Caller, c *kv.Command) error {
	c.Caller = who.Author()
	if s.gate.State() == auth.Off {
		return nil // nothing is made of the command that nobody looks at
	}
	var err error
	asked := c.EachNeed(func(right auth.Right, r auth.Range) bool {
		err = s.gate.Allow(who, right, r)
		return err == nil
	})
	if !asked {
		return failure.Of(failure.BadRequest, nil, "no client may ask for the operation %s", c.Op)
	}
	return err
}

// AllowTxn decides about all that a transaction would do, whichever branches it takes.
// Writes are decided about once more when they are proposed.
func (s *Server) AllowTxn(who *Caller, t *txn.Txn) (err error) {
	if s.gate.State() == auth.Off {
		return nil
	}
	kv.NeedsOfTxn(t, func(right auth.Right, r auth.Range) bool {
		err = s.gate.Allow(who, right, r)
		return err == nil
	})
	return err
}

// MayOpenSession refuses a session to a caller whose identity has as many as it may.
func (s *Server) MayOpenSession(who *Caller) error {
	return s.gate.MayOpenSession(who, s.machine.SessionsOf(who.Author().Identity))
}

// AwaitStale refuses a stale read where this node's table of identities may be too old: for
// longer than Config.StaleLimit, nobody has confirmed that its store shows all that was
// acknowledged, and a token may have been revoked since. That a node hears its leader is not
// enough: it may wait for a snapshot, or be slow to apply what it has. A node for which nobody
// has confirmed that yet, since it began or since identities are enforced, asks, and waits for
// the answer for a moment: how long it was down it does not know. The error is of the kind
// failure.Behind.
func (s *Server) AwaitStale(ctx context.Context) error {
	limit := s.config.StaleLimit
	if limit < 0 || s.gate.State() != auth.Enforcing {
		return nil
	}
	asked := time.Now()
	if shown := s.shownAt.Load(); shown != 0 {
		if quiet := time.Duration(asked.UnixNano() - shown); quiet > limit {
			return failure.Of(failure.Behind, nil, "for %v this node has not shown all that the leader knows (limit %v, --stale-limit), so it may not know who may read; ask another node", quiet.Round(time.Millisecond), limit)
		}
		return nil
	}
	if s.showsAll(ctx, min(limit, s.config.LeaderWait)) {
		s.shownAt.Store(asked.UnixNano())
		return nil
	}
	return failure.Of(failure.Behind, nil, "this node has not shown yet, since its start, all that the leader knows, so it may not know who may read; ask another node, or retry")
}

const (
	// staleLooks is how often within Config.StaleLimit a node confirms that its store is
	// fresh, and staleRetries how often it tries where it could not.
	staleLooks   = 4
	staleRetries = 20
)

// watchFreshness keeps shownAt for AwaitStale until the server ends, by a question that a
// linearizable read would ask. While identities are not enforced, nobody is asked, and what
// is known of the time before does not count when they are.
func (s *Server) watchFreshness() {
	limit := s.config.StaleLimit
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-s.machine.Lifetime().Done():
			return
		}
		asked := time.Now()
		pause := limit / staleRetries
		switch {
		case s.gate.State() != auth.Enforcing:
			s.shownAt.Store(0)
			pause = limit / staleLooks
		case s.showsAll(s.machine.Lifetime(), limit):
			s.shownAt.Store(asked.UnixNano())
			pause = limit / staleLooks
		}
		look.Reset(pause)
	}
}

// showsAll reports whether the store came to show, within a time, all that was acknowledged
// before the call.
func (s *Server) showsAll(ctx context.Context, within time.Duration) bool {
	if leader, _ := s.leader(); leader == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	index, err := s.askReadIndex(ctx)
	return err == nil && s.machine.AwaitApplied(ctx, index) == nil
}

// Spans are the ranges of keys and the locks that selectors of a watch follow.
func Spans(s *watch.Selectors) (spans []auth.Range) {
	for _, key := range s.Keys {
		spans = append(spans, auth.OneKey(key))
	}
	for _, prefix := range s.Prefixes {
		spans = append(spans, auth.KeysWith(prefix, ""))
	}
	for _, r := range s.Ranges {
		spans = append(spans, auth.KeysBetween(r.From, r.To))
	}
	for _, name := range s.Locks {
		spans = append(spans, auth.OneLock(name))
	}
	return spans
}

// NeedsOf are what a transaction asks for, whichever branches it takes, for the audit.
func NeedsOf(t *txn.Txn) access.Needs {
	return func(fn func(auth.Right, auth.Range) bool) { kv.NeedsOfTxn(t, fn) }
}

// RangesOf are the ranges of keys that a transaction reads, whichever branches it takes.
func RangesOf(t *txn.Txn) (ranges []auth.Range) {
	kv.NeedsOfTxn(t, func(right auth.Right, r auth.Range) bool {
		if right == auth.Read || right == auth.List {
			ranges = append(ranges, r)
		}
		return true
	})
	return ranges
}

// LevelAuth is the level of the cluster from which on there are identities.
const LevelAuth = 3

// ChangeAuth makes a change of the table of identities, wherever the leader is; see
// Write. The log decides whether the caller may, and on every node alike. A person on the
// leader's own machine may do everything while identities are off, for somebody must make
// the first identity; see personMay.
func (s *Server) ChangeAuth(ctx context.Context, who *Caller, change *auth.Change, remote Remote) (result kv.Result, elsewhere bool, err error) {
	if err := s.awaitLevel(ctx, LevelAuth, "identities"); err != nil {
		return kv.Result{}, false, err
	}
	author := who.Author()
	switch {
	case author.Identity == auth.Vouched && !s.gate.Holds(who, auth.Auth):
		return kv.Result{}, false, s.gate.Refuse(who, auth.Auth)
	case who.Known():
		result, elsewhere, err = s.propose(ctx, kv.AuthCommand(author, change), nil, remote)
	default:
		result, elsewhere, err = s.changeAsPerson(ctx, who, change, remote)
	}
	if err == nil && !elsewhere && result.Status != kv.StatusOK {
		err = s.refusedChange(result, change)
	}
	return result, elsewhere, err
}

// personMay reports whether a person on the machine may change a table without a token:
// while identities are off, and while they are observed if there is no admin that could
// make the change, because else nobody could end the observation. A caller that is let in
// then can make itself admin, and stays one when identities are enforced.
func personMay(t *auth.Table) bool {
	return t.State() == auth.Off || t.State() == auth.Observing && !t.HasAdmin()
}

// changeAsPerson is ChangeAuth for a caller without an identity. The log takes what a
// person changes in every state of the table. So the change is tied to the table by which
// it was decided that the person may, and is decided anew if that is not the newest one
// when the log brings the change. A condition of the caller's own must hold for that table:
// one that holds for a later one would tie the change to a table that nobody has judged.
func (s *Server) changeAsPerson(ctx context.Context, who *Caller, change *auth.Change, remote Remote) (result kv.Result, elsewhere bool, err error) {
	for current := false; ; {
		t := s.authTable()
		if !who.Person || !personMay(t) {
			return kv.Result{}, false, failure.Of(failure.Unauthenticated, nil, "only an identity may change identities, and while they are off a person on the leader's own machine: run raftkv auth init there")
		}
		tied := *change
		tied.Match = t.Revision() + 1
		switch {
		case change.Match > tied.Match && !current: // this node may lag
			if err := s.awaitLinearizable(ctx); err != nil {
				return kv.Result{}, false, err
			}
			current = true
			continue
		case change.Match != 0 && change.Match != tied.Match:
			return kv.Result{Status: kv.StatusConditionFailed, Version: t.Revision()}, false, nil
		}
		result, elsewhere, err = s.propose(ctx, kv.AuthCommand(auth.Author{Identity: auth.Vouched}, &tied), nil, remote)
		moved := err == nil && !elsewhere && result.Status == kv.StatusConditionFailed
		if !moved || change.Match != 0 {
			return result, elsewhere, err
		}
	}
}

// refusedChange translates the result of a change that was refused.
func (s *Server) refusedChange(r kv.Result, change *auth.Change) error {
	switch {
	case r.Status == kv.StatusConditionFailed:
		return failure.Of(failure.Precondition, nil, "the table of identities has the revision %d", r.Version)
	case r.Status == kv.StatusNotFound && change.Token != nil && change.Action != auth.CreateToken:
		return failure.Of(failure.NoSuchPath, nil, "there is no token %s", change.Token.ID)
	case r.Status == kv.StatusNotFound:
		return failure.Of(failure.NoSuchPath, nil, "there is no identity %.64q", change.Name)
	case r.Status == kv.StatusQuota:
		return failure.Of(failure.Quota, nil, "there is no room for another one: a cluster has at most %d identities, and each of them %d tokens; remove some", auth.MaxIdentities, auth.MaxTokens)
	case r.Status == kv.StatusForbidden && r.Length == kv.ForbiddenLastAdmin:
		return failure.Of(failure.LastAdmin, nil, "the cluster would have no admin with a token left, and nobody could manage it; make another admin first")
	case r.Status == kv.StatusForbidden:
		return failure.Of(failure.Denied, nil, "the caller does not hold all that this would give or take: nobody grants a right or a range that he does not hold, and the state is set by an admin")
	}
	return s.RefusedByStore(r)
}

// AuthTable returns the table of identities as it is when the call begins, or later, to a
// caller that has a right on the system by that very table.
func (s *Server) AuthTable(ctx context.Context, who *Caller, right auth.Right) (*auth.Table, error) {
	if err := s.awaitLevel(ctx, LevelAuth, "identities"); err != nil {
		return nil, err
	}
	if err := s.AwaitFresh(ctx, true); err != nil {
		return nil, err
	}
	if err := s.Allow(who, right, auth.Range{}); err != nil {
		return nil, err // it may have been revoked meanwhile
	}
	return s.machine.Auth(), nil
}

// expireTokens takes tokens out of the table whose time is over, where this node
// leads. Apply knows no clock, so only this makes them vanish from the table; they open
// nothing before.
func (s *Server) expireTokens(ctx context.Context) {
	t := s.machine.Auth()
	now := uint64(max(time.Now().Unix(), 0))
	for _, k := range t.Tokens() {
		if leader, _ := s.leader(); leader != s.config.NodeID || ctx.Err() != nil {
			return
		}
		if !t.Expired(k, now) {
			continue
		}
		change := auth.Change{Action: auth.ExpireToken, Token: &auth.Token{ID: k.ID}}
		_, _, err := s.propose(ctx, kv.AuthCommand(auth.Author{}, &change), nil, nil)
		if err != nil && !errors.Is(err, failure.NoLeader) {
			s.config.Logger.Warn("an expired token could not be removed", "token_id", k.ID.String(), "error", err)
		}
	}
}

// expireEvery is how often expired tokens are looked for.
const expireEvery = time.Minute

// watchTokens calls expireTokens until the server ends.
func (s *Server) watchTokens() {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			ctx, cancel := s.OwnContext()
			s.expireTokens(ctx)
			cancel()
		case <-s.machine.Lifetime().Done():
			return
		}
	}
}

// Shut says how a node decides before it knows whether its cluster enforces identities.
// While it is shut, it serves probes, what nodes ask of each other, and the identities of its
// own file; everybody else is told that it lags.
type Shut int

// The ways to be shut.
const (
	// NotShut is for nodes of which nothing says that their cluster enforces identities.
	NotShut Shut = iota
	// ShutUntilCurrent: until the table enforces, or this node has applied all that was
	// acknowledged when it asked. It is for a node that knows from an earlier start that
	// identities are enforced, and for one that joins: before that its table may be older
	// than what it holds.
	ShutUntilCurrent
	// ShutUntilSet: until the log says something of identities. It is for the nodes of a
	// cluster that begins with identities in their own files. The leader lets the log say
	// that they are enforced.
	ShutUntilSet
)

// authTable returns the table of identities by which this node decides now.
func (s *Server) authTable() *auth.Table {
	shut := s.shut.Load() // first: when it ends, the table that ended it is there
	t := s.machine.Auth()
	if shut && t.State() != auth.Enforcing {
		return auth.ShutTable()
	}
	return t
}

// Enforces reports whether the cluster enforces identities, as far as this node has applied
// the log. known is false while it is shut.
func (s *Server) Enforces() (enforces, known bool) {
	known = !s.shut.Load() // first, as in authTable
	return s.machine.Auth().State() == auth.Enforcing, known
}

// unshutEvery is how often a node that is shut looks whether it knows better.
const unshutEvery = 100 * time.Millisecond

// unshut ends the time in which the server is shut.
func (s *Server) unshut() {
	ticker := time.NewTicker(unshutEvery)
	defer ticker.Stop()
	for {
		ctx, cancel := s.OwnContext()
		knows := s.knowsIdentities(ctx)
		cancel()
		if knows {
			s.shut.Store(false)
			return
		}
		select {
		case <-ticker.C:
		case <-s.machine.Lifetime().Done():
			return
		}
	}
}

// caughtUp notes that this node has applied all that was acknowledged a moment ago. The error
// says that it serves nobody all the same.
func (s *Server) caughtUp() error {
	if s.shut.Load() && s.config.Shut == ShutUntilCurrent {
		s.shut.Store(false)
	}
	if s.authTable().IsShut() {
		return failure.Of(failure.Behind, nil, "the log does not say yet who may do what")
	}
	return nil
}

// knowsIdentities reports whether the server need not be shut any more.
func (s *Server) knowsIdentities(ctx context.Context) bool {
	t := s.machine.Auth()
	switch {
	case t.State() == auth.Enforcing:
		return true
	case s.config.Shut == ShutUntilCurrent:
		return s.awaitLinearizable(ctx) == nil
	case t.Revision() > 0:
		return true
	}
	leader, _ := s.leader()
	own := s.config.Access.BreakGlass
	if leader != s.config.NodeID || len(own) == 0 || s.machine.Level() < LevelAuth {
		return false
	}
	change := auth.Change{Action: auth.SetState, State: auth.Enforcing, Match: 1} // of a table that nobody has set
	author := auth.Author{Identity: auth.Vouched, Token: own[0].ID}
	_, _, err := s.propose(ctx, kv.AuthCommand(author, &change), nil, nil)
	if err != nil && !errors.Is(err, failure.NoLeader) {
		s.config.Logger.Warn("that identities are enforced could not be written to the log yet", "error", err)
	}
	return false // the table says it
}
