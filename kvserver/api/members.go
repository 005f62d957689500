package api

import (
	"strconv"
	"strings"
)

// Members is the answer to GET /v1/members: the members of the cluster.
type Members struct {
	// Version is the index of the log entry that holds this configuration, which is the
	// answer's ETag; 0 while the cluster has no record and its list stands in --cluster.
	Version       uint64   `json:"version"`
	UID           string   `json:"uid"`
	ClusterNumber uint64   `json:"cluster_number,omitzero"` // for clients that need a number for the cluster
	Generation    uint64   `json:"generation"`
	Level         Level    `json:"level"`
	Joint         bool     `json:"joint"`            // a change to other voters has not ended
	Change        string   `json:"change,omitempty"` // id of the newest change
	Wanted        int      `json:"wanted"`           // voters that automation keeps to
	Healthy       int      `json:"voters_healthy"`   // -1 where this node does not lead
	Tolerance     int      `json:"tolerance"`        // healthy voters that may fail; -1 likewise, or if there is no majority
	Waits         string   `json:"waits,omitempty"`  // for what the promotion of a learner waits
	Members       []Member `json:"members"`
}

// Member is one member of the cluster.
type Member struct {
	ID          string `json:"id"`
	Number      uint64 `json:"number,omitzero"` // for clients that need a number for it
	Role        string `json:"role"`            // voter, learner, replica, leaving
	WasVoter    bool   `json:"was_voter,omitempty"`
	Leader      bool   `json:"leader,omitempty"`
	Added       uint64 `json:"added,omitzero"` // index of the entry that added it
	Incarnation string `json:"incarnation,omitempty"`
	Peer        string `json:"peer,omitempty"`
	HTTP        string `json:"http,omitempty"`
	Promote     bool   `json:"promote,omitempty"`
	Replaces    string `json:"replaces,omitempty"`
	// Health is healthy, unhealthy with its reason in Why, or "" where this node does not
	// lead and so does not know.
	Health string `json:"health,omitempty"`
	Why    string `json:"why,omitempty"`
	// Behind says what a learner lacks before it may vote.
	Behind   string `json:"behind,omitempty"`
	Build    string `json:"build,omitempty"`
	LevelMin uint32 `json:"level_min,omitzero"` // as it has shown in its newest boot; 0: not heard
	LevelMax uint32 `json:"level_max,omitzero"`
	Match    uint64 `json:"match,omitzero"`
	Lag      uint64 `json:"lag,omitzero"`
	Round    uint64 `json:"round,omitzero"` // of catching up
}

// Level is the level at which the cluster works.
type Level struct {
	Level    uint32      `json:"level"`
	BuildMin uint32      `json:"build_min"` // of the node that answers
	BuildMax uint32      `json:"build_max"`
	Hold     bool        `json:"hold"`                // the leader does not raise it
	HeldBack []LevelHeld `json:"held_back,omitempty"` // the members that hold BuildMax back, on the leader
}

// LevelHeld is a member that holds a level back, and why.
type LevelHeld struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// LevelChange is the body of POST /v1/level: one of its fields.
type LevelChange struct {
	Hold  *bool  `json:"hold,omitempty"`
	Raise uint32 `json:"raise,omitempty"`
}

// MembersChange is the body of POST /v1/members.
type MembersChange struct {
	Add         []MemberToAdd     `json:"add,omitempty"`
	Promote     []string          `json:"promote,omitempty"`
	Demote      []string          `json:"demote,omitempty"`
	Remove      []string          `json:"remove,omitempty"`
	Replace     map[string]string `json:"replace,omitempty"` // the voter, and the member that takes its place
	Wanted      int               `json:"wanted,omitempty"`
	EvenIfAlive bool              `json:"even_if_alive,omitempty"`
}

// MemberToAdd is a server that listens on its peer port and is to become a member.
type MemberToAdd struct {
	ID       string `json:"id"`
	Role     string `json:"role,omitempty"` // learner, the default, or replica
	Peer     string `json:"peer"`
	Promote  *bool  `json:"promote,omitempty"` // true unless it is said
	Replaces string `json:"replaces,omitempty"`
}

// MembersPlan is the answer to a change of the membership, made or only planned.
type MembersPlan struct {
	Change  string      `json:"change"`
	State   string      `json:"state"` // planned, asked, joint, final, done
	Version uint64      `json:"version"`
	Index   uint64      `json:"index,omitzero"` // of the change's first entry
	Joint   bool        `json:"joint"`
	Before  MembersHalf `json:"before,omitzero"`
	After   MembersHalf `json:"after,omitzero"`
	// Tolerance is how many healthy voters may fail before, while and after the change is
	// made.
	Tolerance [3]int   `json:"tolerance"`
	Leader    string   `json:"leader_after,omitempty"` // to which leadership goes first
	Warnings  []string `json:"warnings,omitempty"`
}

// MembersHalf is one half of a change.
type MembersHalf struct {
	Voters   []string `json:"voters"`
	Healthy  []string `json:"healthy"`
	Majority int      `json:"majority"`
}

// MembersChanged is the answer to GET /v1/members/changes/{id}.
type MembersChanged struct {
	Change string `json:"change"`
	State  string `json:"state"` // asked, joint, final, done
	Index  uint64 `json:"index,omitzero"`
}

// ClusterSettings is the answer to GET /v1/cluster/settings and the body of PUT. A field
// that is left out of a body stays as it is.
type ClusterSettings struct {
	Wanted         *int    `json:"wanted,omitempty"`
	Promotion      *bool   `json:"promotion,omitempty"`
	PromoteAfterMs *uint32 `json:"promote_after_ms,omitempty"`
	Autopilot      *bool   `json:"autopilot,omitempty"`
	ReplaceAfterMs *uint32 `json:"replace_after_ms,omitempty"`
	DeadAfterMs    *uint32 `json:"dead_after_ms,omitempty"`
	// Join says what a server shows that wants to join: JoinByToken or JoinByCertificate.
	Join *string `json:"join,omitempty"`
	// PeerTLS says that every member must speak TLS to its peers, and to nobody without it:
	// a node that is started with less is refused.
	PeerTLS *bool `json:"peer_tls_required,omitempty"`
}

// Values of ClusterSettings.Join.
const (
	JoinByToken       = "token"
	JoinByCertificate = "certificate" // by the peer port; a token lets it in as well
)

// Autopilot is what a leader does by itself about members that are dead.
type Autopilot struct {
	On    bool   `json:"on"`              // by the cluster's settings
	Waits string `json:"waits,omitempty"` // why nothing is done about a silent member, on the leader
	// SilentSeconds says for how long the leader has seen each silent member to be silent.
	SilentSeconds map[string]int64 `json:"silent_seconds,omitempty"`
	// Last is what this node's autopilot did last, and Actions how often it did what: both
	// since the process began.
	Last           string            `json:"last,omitempty"`
	LastSecondsAgo int64             `json:"last_seconds_ago,omitzero"`
	Actions        map[string]uint64 `json:"actions,omitempty"`
}

// Endpoints is the answer to GET /v1/endpoints: where clients are served, by the newest
// committed configuration that the node knows.
type Endpoints struct {
	Generation uint64   `json:"generation"`
	Version    uint64   `json:"version"`
	UID        string   `json:"uid"`
	Addresses  []string `json:"addresses"` // of voters and replicas
}

// Number returns the number of the configuration that the addresses are of.
func (e *Endpoints) Number() ConfigurationNumber {
	return ConfigurationNumber{Generation: e.Generation, Version: e.Version}
}

// ConfigurationNumber orders the committed configurations of one cluster. The version is the
// index of a log entry; a recovery from the loss of a majority may let the log go on from an
// earlier index, and raises the generation. The zero number is that of a cluster without a
// record of its members.
type ConfigurationNumber struct{ Generation, Version uint64 }

// String writes a number as in HeaderConfiguration: "1.57", and "" for zero.
func (n ConfigurationNumber) String() string {
	if n == (ConfigurationNumber{}) {
		return ""
	}
	return strconv.FormatUint(n.Generation, 10) + "." + strconv.FormatUint(n.Version, 10)
}

// ParseConfigurationNumber reads what String wrote. Anything else is zero: a client need not
// know the number.
func ParseConfigurationNumber(s string) ConfigurationNumber {
	generation, version, _ := strings.Cut(s, ".")
	g, err1 := strconv.ParseUint(generation, 10, 64)
	v, err2 := strconv.ParseUint(version, 10, 64)
	if err1 != nil || err2 != nil {
		return ConfigurationNumber{}
	}
	return ConfigurationNumber{g, v}
}

// Before reports whether m is of a newer configuration.
func (n ConfigurationNumber) Before(m ConfigurationNumber) bool {
	return n.Generation < m.Generation || n.Generation == m.Generation && n.Version < m.Version
}

// Join is the body of POST /v1/join.
type Join struct {
	Token       string `json:"token"`
	ID          string `json:"id"`
	Incarnation string `json:"incarnation"` // 32 hexadecimal digits
	Peer        string `json:"peer"`
	HTTP        string `json:"http"`
	LevelMin    uint32 `json:"level_min"`
	LevelMax    uint32 `json:"level_max"`
	Role        string `json:"role,omitempty"`
	Replaces    string `json:"replaces,omitempty"`
}

// Joined is the answer to POST /v1/join.
type Joined struct {
	UID        string            `json:"uid"`
	Generation uint64            `json:"generation"`
	Level      uint32            `json:"level"`
	Version    uint64            `json:"version"`
	Members    map[string]string `json:"members"` // their peer addresses
}

// PeerJoined is the answer to a server that asks to join by the peer port, with its
// certificate. Exactly one of its fields is set.
type PeerJoined struct {
	Joined *Joined `json:"joined,omitempty"`
	// Leader is the address of the leader's peer port, which is to be asked instead.
	Leader string `json:"leader,omitempty"`
	// Refused says why the server may not join; Code is the problem's.
	Refused string `json:"refused,omitempty"`
	Code    Code   `json:"code,omitempty"`
}

// JoinToken is a token by which a server may join. The answer to POST /v1/join-tokens,
// and it alone, holds Token, the text to give to the server.
type JoinToken struct {
	ID            string `json:"id"`
	Token         string `json:"token,omitempty"`
	Role          string `json:"role"`
	For           string `json:"for,omitempty"`
	Uses          uint32 `json:"uses"`
	ExpiresUnixMs uint64 `json:"expires_unix_ms"`
}

// JoinTokenWanted is the body of POST /v1/join-tokens.
type JoinTokenWanted struct {
	Role       string `json:"role,omitempty"`
	For        string `json:"for,omitempty"`
	Uses       uint32 `json:"uses,omitempty"`
	TTLSeconds uint32 `json:"ttl_seconds,omitempty"`
}

// JoinTokens is the answer to GET /v1/join-tokens.
type JoinTokens struct {
	Tokens []JoinToken `json:"tokens"`
}

// States of a change of the membership.
const (
	ChangePlanned = "planned" // nothing was made of it
	ChangeAsked   = "asked"   // it is not in the log yet, as far as is known
	ChangeJoint   = "joint"   // both halves count
	ChangeFinal   = "final"   // its last entry is in the log and not committed
	ChangeDone    = "done"
)
