package access

import (
	"encoding/json"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
)

// Line is one act in the audit. It holds no value and no token.
type Line struct {
	Time      time.Time `json:"time"`
	Node      string    `json:"node"`
	RequestID string    `json:"request_id"`
	Identity  string    `json:"identity"` // "" for nobody
	TokenID   string    `json:"token_id,omitempty"`
	Remote    string    `json:"remote"`
	Action    string    `json:"action"` // as "put", or "PUT /v1/auth/state"
	// Key is the one key, lock or name that the act is about, or the beginning of the first
	// range. If it is "", Put takes it from Needs. One that is not valid UTF-8 is written as
	// KeyBase64.
	Key       string `json:"key,omitempty"`
	KeyBase64 string `json:"key_base64,omitempty"`
	// Keys are what an act on several keys or a range is about, and KeysLeftOut how many
	// others there are. Put makes them of Needs.
	Keys        []Span  `json:"keys,omitempty"`
	KeysLeftOut int     `json:"keys_left_out,omitempty"`
	Outcome     string  `json:"outcome"`
	Code        string  `json:"code,omitempty"`
	Revision    uint64  `json:"revision,omitempty"`
	TookMs      float64 `json:"took_ms"`

	Needs Needs `json:"-"` // of an act on several keys or a range; nil: it is about Key
	Lack  *Lack `json:"-"` // why it was refused; nil: it was not, or that is not known
}

// AuditKeys says how keys appear in the audit.
type AuditKeys string

// The ways in which keys appear.
const (
	FullKeys AuditKeys = "full"
	HashKeys AuditKeys = "hash" // the beginning of the SHA-256 of each key and end of a range
	NoKeys   AuditKeys = "none"
)

// AuditConfig is what an Audit is made of. To must be set.
type AuditConfig struct {
	To   io.Writer
	Keys AuditKeys // "": FullKeys
	// Reads: reads of ranges with keys that begin with it are noted, too, if ReadsToo is
	// set: of one key, lists, watches, and transactions that write nothing.
	Reads    string
	ReadsToo bool
	// Required: acts whose line cannot be kept are refused before they begin.
	Required bool
	Logger   *slog.Logger
}

// Audit keeps lines. A goroutine of its own writes them, so that a file that takes
// nothing holds up no request. All methods are safe for concurrent use, and of a nil
// Audit they do nothing.
type Audit struct {
	config AuditConfig
	queue  chan []byte
	// reserved counts the lines that are in the queue or will come: with Required it
	// never exceeds the queue's room.
	reserved atomic.Int64
	failing  atomic.Bool
	lost     atomic.Uint64
	torn     bool // the file may end within a line that was given up; run's
	stop     chan struct{}
	ended    chan struct{}
}

const (
	// auditQueue is how many lines may wait to be written.
	auditQueue = 16 << 10
	// auditPause is the time between two attempts to write where one has failed.
	auditPause = 100 * time.Millisecond
)

// NewAudit returns an audit that writes until Close.
func NewAudit(c AuditConfig) *Audit {
	if c.Keys == "" {
		c.Keys = FullKeys
	}
	a := &Audit{config: c, queue: make(chan []byte, auditQueue), stop: make(chan struct{}), ended: make(chan struct{})}
	go a.run()
	return a
}

// Close writes what is in the queue, if that is possible, and ends the goroutine.
func (a *Audit) Close() {
	if a == nil {
		return
	}
	close(a.stop)
	<-a.ended
}

// Lost returns how many lines could not be kept.
func (a *Audit) Lost() uint64 {
	if a == nil {
		return 0
	}
	return a.lost.Load()
}

// ReadsToo reports whether some reads are noted.
func (a *Audit) ReadsToo() bool { return a != nil && a.config.ReadsToo }

// Reads reports whether reads of one of the ranges, which are those that are executed, are
// noted: a key with the prefix may be in it.
func (a *Audit) Reads(ranges ...auth.Range) bool {
	if !a.ReadsToo() {
		return false
	}
	for i := range ranges {
		if ranges[i].Meets(a.config.Reads) {
			return true
		}
	}
	return false
}

// Reserve promises room for a line before its act begins; Put or Cancel must follow.
// An error says that the act must not begin, because its line could not be kept.
func (a *Audit) Reserve() error {
	if a == nil {
		return nil
	}
	if n := a.reserved.Add(1); a.config.Required && (n > auditQueue || a.failing.Load()) {
		a.reserved.Add(-1)
		return failure.Of(failure.AuditUnavailable, nil, "the audit of this node cannot take another line (--audit-required); look after the file of --audit-file, or ask another node")
	}
	return nil
}

// ReserveAfter promises room, as Reserve does, for the line of what has happened already and
// cannot be refused any more: a refusal, or new certificates. If there is no room, the line
// counts as lost, and Put must not follow.
func (a *Audit) ReserveAfter() bool {
	if a == nil {
		return false
	}
	if a.Reserve() != nil {
		a.lost.Add(1)
		return false
	}
	return true
}

// Cancel gives back what Reserve promised, for an act that needs no line.
func (a *Audit) Cancel() {
	if a != nil {
		a.reserved.Add(-1)
	}
}

// Put keeps a line for which Reserve has promised room.
func (a *Audit) Put(l Line) {
	if a == nil {
		return
	}
	a.describe(&l)
	text, err := json.Marshal(l)
	if err != nil {
		panic("access: a line of the audit cannot be written as JSON: " + err.Error())
	}
	select {
	case a.queue <- append(text, '\n'):
	default:
		a.reserved.Add(-1)
		a.lost.Add(1)
	}
}

// run writes lines in their order until Close.
func (a *Audit) run() {
	defer close(a.ended)
	for {
		select {
		case line := <-a.queue:
			if !a.write(line) {
				return
			}
		case <-a.stop:
			for {
				select {
				case line := <-a.queue:
					if !a.write(line) {
						return
					}
				default:
					return
				}
			}
		}
	}
}

// write writes a line, again and again if acts may not be without one. It returns
// false when there is no time left for that. Behind a line of which only a part was written
// the next one begins a new line, or nobody could read either.
func (a *Audit) write(line []byte) bool {
	defer a.reserved.Add(-1)
	if a.torn {
		line = append([]byte{'\n'}, line...)
	}
	for rest := line; ; {
		n, err := a.config.To.Write(rest)
		if err == nil {
			a.torn = false
			if a.failing.Swap(false) {
				a.log("the audit can be written again", nil)
			}
			return true
		}
		rest = rest[min(max(n, 0), len(rest)):]
		if !a.failing.Swap(true) {
			a.log("the audit cannot be written", err)
		}
		if !a.config.Required {
			a.torn = a.torn || len(rest) < len(line)
			a.lost.Add(1)
			return true
		}
		select {
		case <-a.stop:
			a.lost.Add(1 + uint64(len(a.queue)))
			return false
		case <-time.After(auditPause):
		}
	}
}

func (a *Audit) log(what string, err error) {
	if a.config.Logger == nil {
		return
	}
	if err != nil {
		a.config.Logger.Error(what, "error", err)
		return
	}
	a.config.Logger.Info(what)
}
