package lab

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/raft"
	"raftkv/raft/core"
)

var traceWhen = flag.String("lab.trace", "", `print a column of events per server: "failed" after a test that failed, "all" after every test`)

// traceLines bounds what is kept of one test; the oldest lines go first.
const traceLines = 20000

// Trace records what happened, a line each, in the column of the server it
// happened to. It sees what servers ask and answer, and keeps book of what
// each must therefore have in its log. A nil Trace records nothing. It is safe
// for concurrent use.
type Trace struct {
	mu      sync.Mutex // guards what follows
	began   time.Time
	lines   []traceLine
	dropped int
	views   []view
}

// traceLine is one event.
type traceLine struct {
	at     time.Duration
	server int // -1: all
	text   string
}

// view is what the trace knows of one server.
type view struct {
	stood uint64            // latest term in which it asked for votes
	led   uint64            // latest term in which it sent AppendEntries
	voted map[uint64]string // by term
	terms []uint64          // terms[i-1]: of its log's entry i; 0 where unknown
}

// NewTrace returns a trace of a cluster that starts now; nil if -lab.trace does
// not ask for one.
func NewTrace(servers int) *Trace {
	if *traceWhen == "" {
		return nil
	}
	t := &Trace{began: time.Now(), views: make([]view, servers)}
	for i := range t.views {
		t.views[i].voted = map[uint64]string{}
	}
	return t
}

// Note records an event of one server.
func (t *Trace) Note(server int, text string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(server, text)
}

// All records an event that concerns all.
func (t *Trace) All(text string) { t.Note(-1, text) }

func (t *Trace) add(server int, text string) {
	if len(t.lines) == traceLines {
		t.lines = t.lines[:copy(t.lines, t.lines[traceLines/4:])]
		t.dropped += traceLines / 4
	}
	t.lines = append(t.lines, traceLine{time.Since(t.began), server, text})
}

// restarted records that a server started with a snapshot up to an index.
func (t *Trace) restarted(server, snapshot int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if snapshot > 0 {
		t.add(server, fmt.Sprintf("starts, snap %d", snapshot))
	} else {
		t.add(server, "starts")
	}
}

// started records that a leader took a command into its log.
func (t *Trace) started(server, index, term int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.led(server, uint64(term))
	t.views[server].put(uint64(index), uint64(term))
	t.add(server, fmt.Sprintf("+%d/t%d", index, term))
}

// led records the beginning of a server's lead.
func (t *Trace) led(server int, term uint64) {
	if v := &t.views[server]; term > v.led {
		v.led = term
		t.add(server, fmt.Sprintf("*** LEADS t%d ***", term))
	}
}

// put sets an entry's term and reports how many entries went because their
// terms differ.
func (v *view) put(index, term uint64) (truncated int) {
	for uint64(len(v.terms)) < index {
		v.terms = append(v.terms, 0)
	}
	if was := v.terms[index-1]; was != 0 && was != term {
		truncated = len(v.terms) - int(index) + 1
		v.terms = v.terms[:index]
	}
	v.terms[index-1] = term
	return truncated
}

// Print writes the lines to the output, if they were asked for.
func (t *Trace) Print(tb testing.TB) {
	if t == nil || *traceWhen != "all" && !tb.Failed() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	width := min((198-10)/len(t.views), 46)
	var b strings.Builder
	fmt.Fprintf(&b, "lab: trace of %s", tb.Name())
	if t.dropped > 0 {
		fmt.Fprintf(&b, " (%d earlier lines left out)", t.dropped)
	}
	fmt.Fprintf(&b, "\n%9s", "seconds")
	for i := range t.views {
		fmt.Fprintf(&b, " %-*s", width-1, fmt.Sprintf("S%d", i))
	}
	for _, l := range t.lines {
		fmt.Fprintf(&b, "\n%9.3f ", l.at.Seconds())
		if l.server < 0 {
			b.WriteString("---- " + l.text)
			continue
		}
		text := l.text
		if len(text) > width-1 {
			text = text[:width-2] + "~"
		}
		b.WriteString(strings.Repeat(" ", width*l.server) + text)
	}
	fmt.Println(b.String())
}

// Service returns what is to be registered with labrpc as server i's Raft:
// rf itself, or with a trace something in front of it.
func (t *Trace) Service(i int, rf *raft.Raft) interface{} {
	if t == nil {
		return rf
	}
	return &Raft{trace: t, server: i, inner: rf}
}

// Raft stands before a raft.Raft and records what it is asked and answers. It
// has this name because labrpc calls a service by its type's name.
type Raft struct {
	trace  *Trace
	server int
	inner  *raft.Raft
}

// RequestVote records a vote, or why there was none.
func (r *Raft) RequestVote(args *raft.RequestVoteArgs, reply *raft.RequestVoteReply) {
	t := r.trace
	candidate := serverNumber(args.CandidateId)
	t.mu.Lock()
	if v := &t.views[candidate]; args.Term > v.stood {
		v.stood = args.Term
		v.voted[args.Term] = args.CandidateId
		t.add(candidate, fmt.Sprintf("STANDS t%d log %d/t%d", args.Term, args.LastLogIndex, args.LastLogTerm))
	}
	t.mu.Unlock()
	r.inner.RequestVote(args, reply)
	t.mu.Lock()
	defer t.mu.Unlock()
	v := &t.views[r.server]
	vote, cast := v.voted[args.Term]
	switch {
	case reply.Term == 0:
		return // killed
	case reply.VoteGranted:
		v.voted[args.Term] = args.CandidateId
		t.add(r.server, fmt.Sprintf("votes S%s t%d", args.CandidateId, args.Term))
	case reply.Term > args.Term:
		t.add(r.server, fmt.Sprintf("no S%s t%d: in t%d", args.CandidateId, args.Term, reply.Term))
	case cast && vote != args.CandidateId:
		t.add(r.server, fmt.Sprintf("no S%s t%d: voted S%s", args.CandidateId, args.Term, vote))
	default:
		t.add(r.server, fmt.Sprintf("no S%s t%d: its log is older", args.CandidateId, args.Term))
	}
}

// AppendEntries records what was appended, refused and truncated; heartbeats
// that change nothing leave no line.
func (r *Raft) AppendEntries(args *raft.AppendEntriesArgs, reply *raft.AppendEntriesReply) {
	t := r.trace
	t.mu.Lock()
	t.led(serverNumber(args.LeaderId), args.Term)
	t.mu.Unlock()
	r.inner.AppendEntries(args, reply)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case reply.Term == 0:
	case reply.Term > args.Term:
		t.add(r.server, fmt.Sprintf("no S%s t%d: in t%d", args.LeaderId, args.Term, reply.Term))
	case !reply.Success:
		t.add(r.server, fmt.Sprintf("no %d/t%d: try %d (t%d)", args.PrevLogIndex, args.PrevLogTerm, reply.ConflictIndex, reply.ConflictTerm))
	case args.Count > 0:
		t.appended(r.server, args)
	}
}

func (t *Trace) appended(server int, args *raft.AppendEntriesArgs) {
	entries, err := core.DecodeEntries(args.Entries, args.PrevLogIndex+1, args.Count)
	if err != nil {
		t.add(server, "took entries that cannot be read")
		return
	}
	for _, e := range entries {
		if n := t.views[server].put(e.Index, e.Term); n > 0 {
			t.add(server, fmt.Sprintf("TRUNCATES %d from %d", n, e.Index))
		}
	}
	last := entries[len(entries)-1]
	if args.Count == 1 {
		t.add(server, fmt.Sprintf("<%s %d/t%d", args.LeaderId, last.Index, last.Term))
	} else {
		t.add(server, fmt.Sprintf("<%s %d..%d/t%d", args.LeaderId, entries[0].Index, last.Index, last.Term))
	}
}

// InstallSnapshot records a snapshot that came from a leader.
func (r *Raft) InstallSnapshot(args *raft.InstallSnapshotArgs, reply *raft.InstallSnapshotReply) {
	r.inner.InstallSnapshot(args, reply)
	if reply.Term == args.Term {
		r.trace.Note(r.server, fmt.Sprintf("<%s SNAP %d/t%d", args.LeaderId, args.LastIncludedIndex, args.LastIncludedTerm))
	}
}

// serverNumber returns the number in a server's name.
func serverNumber(id string) int {
	n := 0
	for _, digit := range id {
		n = n*10 + int(digit-'0')
	}
	return n
}
