package wire

import (
	"slices"

	"raftkv/raft/core"
	"raftkv/raft/msgpack"
)

// The messages of every write and every read are written and read here by hand. The
// library's reflection took a third of the time of a batch of 64 entries, and copied
// the entries once more. The bytes are the library's.

// begin makes room for a frame of at most bound bytes at the end of dst and returns
// dst with the frame's header, which seal fills in.
func (e *encoder) begin(dst []byte, bound int) (framed []byte, start int) {
	return slices.Grow(dst, bound)[:len(dst)+headerBytes], len(dst)
}

// appendEntries appends the frame of an AppendEntries, of at most bound bytes.
func (e *encoder) appendEntries(dst []byte, m *core.AppendEntries, bound int) []byte {
	dst, start := e.begin(dst, bound)
	size := encodedLen(m.Entries)
	dst = msgpack.AppendArray(dst, len(appendEntriesShape))
	dst = msgpack.AppendUint(dst, m.Term)
	dst = msgpack.AppendString(dst, string(m.LeaderID))
	dst = msgpack.AppendUint(dst, m.PrevLogIndex)
	dst = msgpack.AppendUint(dst, m.PrevLogTerm)
	dst = msgpack.AppendUint(dst, m.LeaderCommit)
	dst = msgpack.AppendUint(dst, uint64(len(m.Entries)))
	dst = msgpack.AppendExtensionHeader(dst, packedExtension, size)
	dst = core.EncodeEntries(dst, m.Entries)
	padding := paddingFor(len(m.Entries), size)
	dst = msgpack.AppendExtensionHeader(dst, packedExtension, padding)
	dst = append(dst, make([]byte, padding)...)
	return e.sealed(dst, start, kindAppendEntries, bound)
}

// appendEntriesReply appends the frame of the answer to an AppendEntries.
func (e *encoder) appendEntriesReply(dst []byte, m *core.AppendEntriesReply) []byte {
	const bound = headerBytes + maxSmallBody
	dst, start := e.begin(dst, bound)
	dst = msgpack.AppendArray(dst, len(appendEntriesReplyShape))
	dst = msgpack.AppendUint(dst, m.Term)
	dst = msgpack.AppendBool(dst, m.Success)
	dst = msgpack.AppendUint(dst, m.ConflictTerm)
	dst = msgpack.AppendUint(dst, m.ConflictIndex)
	dst = msgpack.AppendBool(dst, m.Pending)
	dst = msgpack.AppendBool(dst, m.RatherNot)
	dst = msgpack.AppendUint(dst, m.Commit)
	return e.sealed(dst, start, kindAppendEntriesReply, bound)
}

// overtakes appends the frame that comes before an answer which overtakes others.
func (e *encoder) overtakes(dst []byte, older uint64) []byte {
	const bound = headerBytes + maxSmallBody
	dst, start := e.begin(dst, bound)
	dst = msgpack.AppendArray(dst, len(overtakesShape))
	dst = msgpack.AppendUint(dst, older)
	return e.sealed(dst, start, kindOvertakes, bound)
}

// appendEntries decodes the body of an AppendEntries, whose entries alias it. It
// allocates the message and one slice for all entries.
func (d *decoder) appendEntries(body []byte) (*core.AppendEntries, error) {
	r := msgpack.NewReader(body)
	r.Fields(len(appendEntriesShape))
	m := appendEntries{
		Term:         r.Uint(),
		LeaderID:     d.leaderID(r.Text(core.MaxIDBytes)),
		PrevLogIndex: r.Uint(),
		PrevLogTerm:  r.Uint(),
		LeaderCommit: r.Uint(),
		Count:        r.Uint(),
		Entries:      r.Extension(packedExtension),
		Padding:      r.Extension(packedExtension),
	}
	if err := whole(&r); err != nil {
		return nil, err
	}
	return m.unpack()
}

// leaderID returns the ID that b spells. A peer nearly always names itself, so the
// last one is kept, and only another one is allocated.
func (d *decoder) leaderID(b []byte) core.ID {
	if string(b) != string(d.leader) {
		d.leader = core.ID(b)
	}
	return d.leader
}

// appendEntriesReply decodes the body of the answer to an AppendEntries.
func (d *decoder) appendEntriesReply(body []byte) (*core.AppendEntriesReply, error) {
	r := msgpack.NewReader(body)
	r.Fields(len(appendEntriesReplyShape))
	m := &core.AppendEntriesReply{
		Term:          r.Uint(),
		Success:       r.Bool(),
		ConflictTerm:  r.Uint(),
		ConflictIndex: r.Uint(),
		Pending:       r.Bool(),
		RatherNot:     r.Bool(),
		Commit:        r.Uint(),
	}
	if err := whole(&r); err != nil {
		return nil, err
	}
	return m, nil
}

// whole returns an error if something was wrong with what r read, or if anything is
// left.
func whole(r *msgpack.Reader) error {
	if fault := r.Fault(); fault != "" {
		return malformed("%s", fault)
	}
	if r.Left() != 0 {
		return malformed("%d bytes after the end of the body", r.Left())
	}
	return nil
}
