package core

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// cmdShow prints the state of every server, one row each. A server that is
// down shows its disk.
func cmdShow(s *script, args []string) error {
	rows := tabwriter.NewWriter(&s.output, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "id\trole\tterm\tvote\tlog\tcommit\tdurable\tapplied")
	for _, server := range s.servers {
		r := server.core
		if r == nil {
			d := server.disk
			fmt.Fprintf(rows, "%s\tdown\t%d\t%s\t%s\t-\t%d\t-\n", server.id, d.Term, nobody(d.VotedFor), terms(d.Snapshot, d.Entries), d.Snapshot.Index+uint64(len(d.Entries)))
			continue
		}
		role := r.role.String()
		if r.rejoining.On {
			role = "rejoining"
		}
		if r.rejoining.Term > 0 {
			role += fmt.Sprintf(" to %d@%d", r.rejoining.Index, r.rejoining.Term)
		}
		fmt.Fprintf(rows, "%s\t%v\t%d\t%s\t%s\t%d\t%d\t%d\n", server.id, role, r.currentTerm, nobody(r.votedFor),
			terms(r.log.snapshot, r.log.entries), r.commitIndex, r.durable, r.lastApplied)
	}
	return rows.Flush()
}

func nobody(id ID) ID {
	if id == None {
		return "-"
	}
	return id
}

// terms lists the terms of a log. A snapshot is in parentheses, behind those
// entries that it stands for and that are still held; … is what memory has
// forgotten.
func terms(snapshot Snapshot, entries []Entry) string {
	var list []string
	mark := func(index uint64) {
		if snapshot.Index > 0 && index == snapshot.Index+1 {
			list = append(list, fmt.Sprintf("(%d@%d)", snapshot.Index, snapshot.Term))
		}
	}
	if len(entries) > 0 && entries[0].Index > 1 && entries[0].Index != snapshot.Index+1 {
		list = append(list, "…")
	}
	for _, e := range entries {
		mark(e.Index)
		list = append(list, fmt.Sprint(e.Term))
	}
	if len(entries) == 0 {
		mark(snapshot.Index + 1)
	} else {
		mark(entries[len(entries)-1].Index + 1)
	}
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, " ")
}

// cmdProgress prints what a leader believes of its followers.
func cmdProgress(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	rows := tabwriter.NewWriter(&s.output, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "id\tmatch\tnext\tmode\tin flight")
	for _, p := range target.core.Status().Peers {
		mode := "probe"
		if p.Pipelining {
			mode = "pipeline"
		}
		if p.Silent {
			mode += ", silent"
		}
		fmt.Fprintf(rows, "%s\t%d\t%d\t%s\t%d\n", p.ID, p.MatchIndex, p.NextIndex, mode, p.Inflight)
	}
	return rows.Flush()
}

// cmdFlight prints the messages on their way, oldest first.
func cmdFlight(s *script, args []string) error {
	for _, m := range s.flight {
		s.printf("%v", m)
	}
	return nil
}

// String names a message as Figure 2 does; 4@2 is the entry at index 4 of
// term 2.
func (m *message) String() string {
	text := fmt.Sprintf("%s->%s ", m.from, m.to)
	switch req := m.call.Request.(type) {
	case *RequestVote:
		return text + voteText(req, m.reply)
	case *AppendEntries:
		return text + appendText(req, m.reply)
	case *InstallSnapshot:
		if rep, ok := m.reply.(*InstallSnapshotReply); ok {
			return text + fmt.Sprintf("InstallSnapshotReply term %d", rep.Term)
		}
		return text + fmt.Sprintf("InstallSnapshot term %d snapshot %d@%d", req.Term, req.Snapshot.Index, req.Snapshot.Term)
	case *TimeoutNow:
		if rep, ok := m.reply.(*TimeoutNowReply); ok {
			return text + fmt.Sprintf("TimeoutNowReply term %d", rep.Term)
		}
		return text + fmt.Sprintf("TimeoutNow term %d", req.Term)
	case *ReadIndex:
		rep, ok := m.reply.(*ReadIndexReply)
		switch {
		case !ok:
			return text + fmt.Sprintf("ReadIndex term %d", req.Term)
		case !rep.Success:
			return text + fmt.Sprintf("ReadIndexReply term %d refused", rep.Term)
		}
		return text + fmt.Sprintf("ReadIndexReply term %d index %d", rep.Term, rep.Index)
	}
	return text + rejoinText(m.reply)
}

func rejoinText(reply Reply) string {
	rep, ok := reply.(*RejoinReply)
	switch {
	case !ok:
		return "Rejoin"
	case rep.Rejoining:
		return "RejoinReply: rejoining, too"
	}
	text := fmt.Sprintf("RejoinReply term %d last %d", rep.Term, rep.LastIndex)
	if rep.Leads {
		text += " leads"
	}
	if rep.UID != (UID{}) {
		text += " uid " + rep.UID.String()[:4]
	}
	return text
}

func voteText(req *RequestVote, reply Reply) string {
	name := "RequestVote"
	if req.Pre {
		name = "pre-RequestVote"
	}
	if rep, ok := reply.(*RequestVoteReply); ok {
		verdict := "refused"
		if rep.VoteGranted {
			verdict = "granted"
		}
		return fmt.Sprintf("%sReply term %d %s", name, rep.Term, verdict)
	}
	text := fmt.Sprintf("%s term %d last %d@%d", name, req.Term, req.LastLogIndex, req.LastLogTerm)
	if req.Transfer {
		text += " transfer"
	}
	return text
}

func appendText(req *AppendEntries, reply Reply) string {
	rep, ok := reply.(*AppendEntriesReply)
	switch {
	case !ok:
		text := fmt.Sprintf("AppendEntries term %d prev %d@%d", req.Term, req.PrevLogIndex, req.PrevLogTerm)
		if len(req.Entries) > 0 {
			text += " entries " + entryList(req.Entries)
		}
		return text + fmt.Sprintf(" commit %d", req.LeaderCommit)
	case rep.Success:
		return fmt.Sprintf("AppendEntriesReply term %d success to %d", rep.Term, req.PrevLogIndex+uint64(len(req.Entries)))
	case rep.Pending:
		return fmt.Sprintf("AppendEntriesReply term %d pending to %d", rep.Term, req.PrevLogIndex)
	case rep.ConflictTerm != 0:
		return fmt.Sprintf("AppendEntriesReply term %d refused: term %d from %d", rep.Term, rep.ConflictTerm, rep.ConflictIndex)
	case rep.ConflictIndex != 0:
		return fmt.Sprintf("AppendEntriesReply term %d refused: nothing from %d", rep.Term, rep.ConflictIndex)
	}
	return fmt.Sprintf("AppendEntriesReply term %d refused", rep.Term)
}

// entryList prints 4@2 for an entry without data and 4@2=x for one with.
func entryList(entries []Entry) string {
	if len(entries) == 0 {
		return "-"
	}
	var list []string
	for _, e := range entries {
		text := fmt.Sprintf("%d@%d", e.Index, e.Term)
		if len(e.Data) > 0 {
			text += "=" + dataText(e)
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

func (w *Write) String() string {
	text := fmt.Sprintf("#%d: term %d vote %s", w.Seq, w.Term, nobody(w.VotedFor))
	if w.Rejoining.On {
		text += fmt.Sprintf(", rejoining to %d@%d", w.Rejoining.Index, w.Rejoining.Term)
	}
	if w.Snapshot != nil {
		text += fmt.Sprintf(", snapshot %d@%d", w.Snapshot.Index, w.Snapshot.Term)
		if w.Snapshot.Members.Record != nil {
			text += fmt.Sprintf(" with configuration %d", w.Snapshot.Members.Index)
		}
	}
	if w.From != 0 {
		text += fmt.Sprintf(", log from %d: %s", w.From, entryList(w.Entries))
	}
	return text
}

// readDone is a ReadDone that prints itself under the name a script gave it.
type readDone ReadDone

func (d readDone) text(name string) string {
	if d.Err != nil {
		return fmt.Sprintf("%s: %v", name, d.Err)
	}
	return fmt.Sprintf("%s at %d", name, d.Index)
}
