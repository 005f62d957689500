package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

func newWALCommand() *cobra.Command {
	command := &cobra.Command{
		Use:     "wal",
		Short:   "Look into a node's log on the disk",
		Example: "  raftkv wal inspect ./raftkv-data/n1",
		Args:    noArguments,
		RunE:    showHelp,
	}
	command.AddCommand(newWALInspectCommand())
	return command
}

func newWALInspectCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:   "inspect DIR",
		Short: "List every record and snapshot of a log, and what is damaged",
		Long: `Read a node's log and its snapshots whole and list them: every segment, every
record with its offset, every snapshot file, and at the end what the node would
start with. DIR is a data directory or the directory "wal" in it.

Nothing is changed, not even opened for writing. The node may run meanwhile; then
the end of its log may look torn. A torn end is no damage: it is the write that
was under way when the machine stopped, and the next start cuts it off.

Exit code 1 says that something is damaged; it is named with file and offset.`,
		Example: `  raftkv wal inspect ./raftkv-data/n1
  raftkv wal inspect --json ./raftkv-data/n1 | jq 'select(.type == "snapshot-file")'`,
		Args: arguments("DIR"),
		RunE: func(command *cobra.Command, args []string) error {
			return inspectLog(vfs.ReadOnly{}, args[0], command.OutOrStdout(), asJSON)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print a JSON object per line")
	return command
}

// logLine is a line of what is printed.
type logLine struct {
	Type   string `json:"type"` // segment, batch, snapshot, mark, seal, torn, snapshot-file, damage, summary
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes,omitempty"`
	Number uint64 `json:"number,omitempty"` // of the batch, or of the last one before

	Cluster string `json:"cluster,omitempty"`
	Node    string `json:"node,omitempty"`

	Term     uint64    `json:"term,omitempty"`
	VotedFor core.ID   `json:"voted_for,omitempty"`
	From     uint64    `json:"from,omitempty"` // entries from here on were replaced
	Entries  int       `json:"entries,omitempty"`
	Snapshot *logPlace `json:"snapshot,omitempty"`
	Commit   uint64    `json:"commit,omitempty"` // entries up to it were known to be committed
	UID      string    `json:"uid,omitempty"`    // of the cluster, that an entry of the batch or the start brings
	Keep     uint64    `json:"first_segment_kept,omitempty"`
	Replaces bool      `json:"replaces_log,omitempty"`
	Last     uint64    `json:"last_index,omitempty"`
	Reason   string    `json:"reason,omitempty"`

	text   string // the line for people
	broken bool   // it tells of damage
}

// logPlace is a place in the log.
type logPlace struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
}

// inspectLog prints what a directory holds of a log.
func inspectLog(fsys vfs.FS, dir string, out io.Writer, asJSON bool) error {
	dir, err := findLog(fsys, dir)
	if err != nil {
		return err
	}
	damaged := false
	show := func(l logLine) error {
		damaged = damaged || l.broken
		if asJSON {
			return terminal.PrintJSON(out, l)
		}
		_, err := fmt.Fprintln(out, l.text)
		return err
	}
	cluster := ""
	var known knownUID
	err = wal.Inspect(fsys, dir, func(r wal.Record) error {
		if r.Type == wal.TypeSegment {
			cluster = r.ClusterID
		}
		return show(recordLine(r, known.note(r)))
	})
	if err == nil || isDamage(err) {
		err = errors.Join(showDamage(show, err), wal.InspectSnapshots(fsys, dir, cluster, func(s wal.SnapshotInfo) error {
			if s.Err != nil {
				return showDamage(show, s.Err)
			}
			return show(logLine{Type: "snapshot-file", File: s.File, Bytes: s.Bytes, Snapshot: &logPlace{s.Index, s.Term},
				text: fmt.Sprintf("%s\n%12d  whole, %d bytes, index %d of term %d", s.File, 0, s.Bytes, s.Index, s.Term)})
		}))
	}
	if err == nil {
		err = summarize(fsys, dir, known.uid, show)
	}
	if err != nil {
		return exit.Fail(err)
	}
	if damaged {
		return exit.Fail(fmt.Errorf("the log in %s is damaged", dir))
	}
	return nil
}

// findLog returns the directory of the log: the one given, or "wal" in it.
func findLog(fsys vfs.FS, dir string) (string, error) {
	for _, at := range []string{filepath.Join(dir, datadir.LogDir), dir} {
		names, err := fsys.List(at)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", exit.Fail(err)
		}
		if slices.ContainsFunc(names, wal.Owns) {
			return at, nil
		}
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no %s", dir)
	}
	return "", fmt.Errorf("%s holds no log: name the data directory of a node, or the directory %q in it", dir, datadir.LogDir)
}

// knownUID is the cluster's uid that the entries of a log bring.
type knownUID struct {
	uid core.UID
	at  uint64 // index of the entry
}

// note returns the uid that a batch brings, zero for none. An entry that is
// replaced takes its uid with it. Entries that cannot be decoded bring none: the
// summary says why the node would not start with them.
func (k *knownUID) note(r wal.Record) core.UID {
	if r.Type != wal.TypeBatch && r.Type != wal.TypeSnapshot {
		return core.UID{}
	}
	if r.From > 0 && r.From <= k.at {
		*k = knownUID{}
	}
	entries, err := r.Entries()
	if err != nil {
		return core.UID{}
	}
	uid, at := core.UIDOf(entries)
	if at > 0 {
		*k = knownUID{uid, at}
	}
	return uid
}

// recordLine is the line of one record, which brings a uid or none.
func recordLine(r wal.Record, uid core.UID) logLine {
	l := logLine{
		Type: r.Type.String(), File: r.File, Offset: r.Offset, Bytes: r.Bytes, Number: r.Number,
		Cluster: r.ClusterID, Node: r.NodeID, Term: r.Term, VotedFor: r.VotedFor, From: r.From, Entries: r.Count,
		Commit: r.Commit, UID: uid.String(), Keep: r.Keep, Replaces: r.Replaces, Reason: r.Reason,
	}
	if r.Type == wal.TypeSegment {
		l.text = fmt.Sprintf("%s\n%12d  segment of node %s of cluster %s, %d bytes, from index %d on", r.File, r.Offset, r.NodeID, r.ClusterID, r.SegmentBytes, r.FirstIndex)
		return l
	}
	l.text = fmt.Sprintf("%12d  %v %d", r.Offset, r.Type, r.Number)
	if r.Reason != "" {
		l.text += fmt.Sprintf(", %d bytes: %s", r.Bytes, r.Reason)
	}
	if r.Term > 0 {
		l.text += fmt.Sprintf(", %d bytes, term %d", r.Bytes, r.Term)
	}
	if r.VotedFor != core.None {
		l.text += fmt.Sprintf(", vote for %s", r.VotedFor)
	}
	if r.Snapshot.Index > 0 {
		l.Snapshot = &logPlace{r.Snapshot.Index, r.Snapshot.Term}
		l.text += fmt.Sprintf(", snapshot at index %d of term %d", r.Snapshot.Index, r.Snapshot.Term)
		if r.Replaces {
			l.text += " that replaces the log"
		}
	}
	switch {
	case r.Count > 0:
		l.text += fmt.Sprintf(", entries %d to %d", r.From, r.From+uint64(r.Count)-1)
	case r.From > 0 && !r.Replaces:
		l.text += fmt.Sprintf(", entries from %d on removed", r.From)
	}
	if r.Commit > 0 {
		l.text += fmt.Sprintf(", committed up to %d", r.Commit)
	}
	if l.UID != "" {
		l.text += ", brings the uid " + l.UID
	}
	return l
}

// isDamage says whether an error tells of what is on the disk, and not of the
// trouble to read it.
func isDamage(err error) bool {
	var damage *wal.CorruptionError
	var version *wal.VersionError
	var unknown *wal.UnknownError
	var owner *wal.IdentityError
	return errors.As(err, &damage) || errors.As(err, &version) || errors.As(err, &unknown) || errors.As(err, &owner)
}

// showDamage prints what is damaged, if anything.
func showDamage(show func(logLine) error, err error) error {
	if err == nil {
		return nil
	}
	l := logLine{Type: "damage", Reason: err.Error(), broken: true}
	var damage *wal.CorruptionError
	var version *wal.VersionError
	var unknown *wal.UnknownError
	var owner *wal.IdentityError
	switch {
	case errors.As(err, &damage):
		l.File, l.Offset, l.Reason = damage.File, damage.Offset, damage.Reason
	case errors.As(err, &version):
		l.File = version.File
	case errors.As(err, &unknown):
		l.File, l.Offset = unknown.File, unknown.Offset
	case errors.As(err, &owner):
		l.File = owner.File
	}
	l.text = fmt.Sprintf("%s\n%12d  DAMAGED: %s", l.File, l.Offset, l.Reason)
	return show(l)
}

// summarize prints what the node would start with. The uid is that of the entries.
func summarize(fsys vfs.FS, dir string, uid core.UID, show func(logLine) error) error {
	r, err := wal.Check(fsys, dir)
	if isDamage(err) {
		return show(logLine{Type: "summary", Reason: err.Error(), broken: true, text: "the node would not start: " + err.Error()})
	}
	if err != nil {
		return err
	}
	if r.Snapshot.UID != (core.UID{}) {
		uid = r.Snapshot.UID
	}
	l := logLine{
		Type: "summary", Cluster: r.ClusterID, Node: r.NodeID, Number: r.Batches, Term: r.Term, VotedFor: r.VotedFor, Last: r.LastIndex,
		Commit: r.Commit, UID: uid.String(),
	}
	l.text = fmt.Sprintf("node %s of cluster %s would start in term %d", r.NodeID, r.ClusterID, r.Term)
	if r.VotedFor != core.None {
		l.text += fmt.Sprintf(" with a vote for %s", r.VotedFor)
	}
	if r.Snapshot.Index > 0 {
		l.Snapshot = &logPlace{r.Snapshot.Index, r.Snapshot.Term}
		l.text += fmt.Sprintf(", with the snapshot at index %d of term %d", r.Snapshot.Index, r.Snapshot.Term)
	}
	l.text += fmt.Sprintf(" and entries %d to %d", r.Snapshot.Index+1, r.LastIndex)
	if r.LastIndex == r.Snapshot.Index {
		l.text += " (none)"
	}
	if r.Commit > 0 {
		l.text += fmt.Sprintf(", committed up to %d", r.Commit)
	}
	if l.UID != "" {
		l.text += ", uid " + l.UID
	}
	if r.PassedOver != nil {
		l.Reason, l.broken = r.PassedOver.Error(), true
		l.text += "; it would pass over a damaged snapshot"
	}
	return show(l)
}
