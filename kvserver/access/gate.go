package access

import (
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
)

// Config is what a Gate is made of. Table must be set; for the rest zero means what the
// comments name.
type Config struct {
	// Table returns the table of identities as far as this node has applied the log. It
	// must not block.
	Table func() *auth.Table
	// BreakGlass are the identities of this node's own file.
	BreakGlass []auth.BreakGlass
	// Limits bound identities whose records say nothing. Zeros: no bounds.
	Limits auth.Limits
	// Strangers is how many requests without a known identity may be served at one
	// time while identities are enforced. 0: no bound.
	Strangers int64
	// StrangersWatches is the same for watches. 0: no bound.
	StrangersWatches int64
	Audit            *Audit // nil: nothing is kept
	Observer         Observer
	Logger           *slog.Logger
}

// Observer is told of decisions, for measuring. Its methods must not block.
type Observer interface {
	// Authenticated says how the question for an identity ended: Found, Nobody or Wrong.
	Authenticated(result Result)
	// WouldDeny says that a request of a right is served only because the state is
	// observe.
	WouldDeny(right auth.Right)
	// Limited says that an identity has used what it may.
	Limited(identity string)
}

// Result is how the question for an identity ended.
type Result int

// The results.
const (
	Found  Result = iota // the caller is an identity
	Nobody               // there was no token
	Wrong                // the token opens nothing
	resultCount
)

// Results are the names of the results.
var Results = [resultCount]string{Found: "known", Nobody: "anonymous", Wrong: "rejected"}

// unobserved measures nothing.
type unobserved struct{}

func (unobserved) Authenticated(Result) {}
func (unobserved) WouldDeny(auth.Right) {}
func (unobserved) Limited(string)       {}

// Gate decides for one node. All methods are safe for concurrent use.
type Gate struct {
	config    Config
	strangers meter
	slow      slowdown
	used      uses

	metersMu sync.RWMutex
	meters   map[uint64]*meter // by numbers of identities; a meter stays once it is there

	mu     sync.Mutex
	logged map[string]time.Time // identity and right → when a refusal was last logged
}

// New returns a gate.
func New(c Config) *Gate {
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Gate{config: c, meters: map[uint64]*meter{}, logged: map[string]time.Time{}, slow: slowdown{seen: map[string]refusals{}}, used: newUses()}
}

// Caller is the maker of a request. The zero value is nobody, which is a caller without a
// token.
type Caller struct {
	// Remote is the address that the request came from.
	Remote string
	// Person: the request came from this machine itself. It counts while identities are
	// off.
	Person bool

	name     string
	author   auth.Author
	identity *auth.Identity
	token    *auth.Token // nil: an identity of this node's file, or nobody
	table    *auth.Table // by which the identity was found
	secret   auth.Secret
	meter    *meter        // of the identity; nil: the caller is nobody
	used     *atomic.Int64 // where uses of the token are noted; nil if token is
}

// Name returns the name of the caller's identity, "" for nobody.
func (c *Caller) Name() string { return c.name }

// Author names the caller in a command. Nobody is the zero value.
func (c *Caller) Author() auth.Author { return c.author }

// Token returns the caller's token, for passing its request on to another node.
func (c *Caller) Token() auth.Secret { return c.secret }

// Known reports whether the caller is an identity.
func (c *Caller) Known() bool { return c.identity != nil }

// Expires returns when the caller's token ends, in Unix seconds; 0: never.
func (c *Caller) Expires() uint64 {
	if c.token == nil {
		return 0
	}
	return c.token.Expires
}

// Identity returns the caller's identity, nil for nobody. It must not be changed.
func (c *Caller) Identity() *auth.Identity { return c.identity }

// unauthenticated is the one answer to every token that opens nothing, so that it does
// not tell which of the reasons it was. The cause, which may be nil, is for the audit.
func unauthenticated(cause error) error {
	return failure.Of(failure.Unauthenticated, cause, "this needs the token of an identity: send Authorization: Bearer with one that is known, in time and not revoked")
}

// scheme begins the header Authorization.
const scheme = "bearer "

// Authenticate finds the caller by the lines of a request's header Authorization. While
// identities are enforced, an error says that the caller has no business here: it
// has no token and nothing is granted to those, or its token opens nothing.
func (g *Gate) Authenticate(lines []string) (Caller, error) {
	t := g.config.Table()
	if len(lines) == 0 {
		return g.nobody(t)
	}
	if t.State() == auth.Off && t.Revision() == 0 && len(g.config.BreakGlass) == 0 {
		// There is no identity yet. What others put into the header is not ours.
		return Caller{}, nil
	}
	if len(lines) == 1 && len(lines[0]) > len(scheme) && strings.EqualFold(lines[0][:len(scheme)], scheme) {
		return g.AuthenticateToken(lines[0][len(scheme):])
	}
	return g.wrong(t)
}

// AuthenticateToken is Authenticate for a token by itself; "" is none.
func (g *Gate) AuthenticateToken(text string) (Caller, error) {
	t := g.config.Table()
	if text == "" {
		return g.nobody(t)
	}
	id, err := auth.ParseToken(text)
	if err != nil {
		return g.wrong(t)
	}
	hash := auth.HashOf(text)
	for i := range g.config.BreakGlass {
		if b := &g.config.BreakGlass[i]; b.Is(id, &hash) {
			g.config.Observer.Authenticated(Found)
			author := auth.Author{Identity: auth.Vouched, Token: id}
			return Caller{name: b.Identity.Name, author: author, identity: &b.Identity, table: t, secret: auth.NewSecret(text), meter: g.meterOf(author.Identity)}, nil
		}
	}
	i, k := t.Find(id, &hash, now())
	if i == nil {
		return g.wrong(t)
	}
	g.config.Observer.Authenticated(Found)
	author := auth.Author{Identity: i.Number, Token: id}
	c := Caller{name: i.Name, author: author, identity: i, token: k, table: t, secret: auth.NewSecret(text), meter: g.meterOf(i.Number), used: g.used.of(id, g.config.Table)}
	note(c.used)
	return c, nil
}

// now returns the time by which tokens expire, in Unix seconds.
func now() uint64 { return uint64(max(time.Now().Unix(), 0)) }

// nobody is a caller without a token. Where nothing is granted to those, it is told so
// before anything of its request is looked at.
func (g *Gate) nobody(t *auth.Table) (Caller, error) {
	g.config.Observer.Authenticated(Nobody)
	if t.State() != auth.Enforcing {
		return Caller{}, nil
	}
	if i := t.Named(auth.Anonymous); i == nil || i.Disabled || len(i.Rules) == 0 {
		return Caller{}, unknownBy(t, nil)
	}
	return Caller{}, nil
}

// unknownBy returns the error for a caller that is nobody by a table. A node that has no
// table yet cannot tell a wrong token from a right one, and says that it lags.
func unknownBy(t *auth.Table, cause error) error {
	if t.IsShut() {
		return failure.Of(failure.Behind, nil, "this node has begun and does not know yet who may do what: it has not applied the log as far as the cluster has come; ask another node, or retry")
	}
	return unauthenticated(cause)
}

// wrong is a caller whose token opens nothing. It is never taken for one without a
// token while that makes a difference.
func (g *Gate) wrong(t *auth.Table) (Caller, error) {
	g.config.Observer.Authenticated(Wrong)
	if t.State() != auth.Enforcing {
		return Caller{}, nil
	}
	return Caller{}, unknownBy(t, nil)
}

// Table returns the table by which this node decides now.
func (g *Gate) Table() *auth.Table { return g.config.Table() }

// State returns how far identities count on this node now.
func (g *Gate) State() auth.State { return g.config.Table().State() }

// Audit returns where acts are noted; nil: nowhere.
func (g *Gate) Audit() *Audit { return g.config.Audit }
