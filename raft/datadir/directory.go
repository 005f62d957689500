package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/vfs"
)

// Directory is the data directory that a node runs on. Check makes it and Begin makes
// it ready. The other methods may then be called by several goroutines.
type Directory struct {
	fs    vfs.FS
	path  string
	found bool // raftkv.toml was there
	// otherMembers says that raftkv.toml names other members than the node was given.
	otherMembers error
	life         identity.Life // of this process
	log          standing      // of the log in it
	peers        *Peers

	turn    chan struct{} // holds a token while what follows is used
	owner   Owner         // as it is in raftkv.toml
	content lifeContent   // as it is in life.toml
	hold    bool          // as it is in level.toml
	joins   bool          // see JoinAgain
}

// Check compares the directory at path with the node that wants to use it, and
// touches nothing.
func Check(fsys vfs.FS, path string, want Owner) (*Directory, error) {
	is, found, err := want.check(fsys, path)
	var others *otherMembersError
	if err != nil && !errors.As(err, &others) {
		return nil, err
	}
	d := newDirectory(fsys, path, want)
	if d.found = found; found {
		d.owner = is
	}
	if others != nil {
		d.otherMembers = others
	}
	return d, nil
}

// Survivor reads whose the directory at path is, and which one it is, for a node that is to
// go on alone after the majority of its cluster was lost. It touches nothing. The error says
// why the directory cannot serve that: it is nobody's, was removed or is fenced, or has not
// come back since its disk was lost.
func Survivor(fsys vfs.FS, path string) (Owner, identity.Incarnation, error) {
	owner, found, err := ReadOwner(fsys, path, "restore it from a copy, or write it anew from those of the other nodes")
	if err == nil && !found {
		err = fmt.Errorf("%s is not the data directory of a node: it has no %s; name the one that --data-dir of raftkv serve names", path, OwnerFile)
	}
	if err == nil {
		err = checkLogIsThere(fsys, path)
	}
	var life lifeContent
	if err == nil {
		found, err = ReadFile(fsys, filepath.Join(path, LifeFile), &life, "look for another directory that is left")
		if err == nil && !found {
			err = fmt.Errorf("the data directory %s has lost its %s, and nobody can tell which directory it is: look for another one that is left", path, LifeFile)
		}
	}
	if err != nil {
		return owner, identity.Incarnation{}, err
	}
	switch {
	case life.Removed > 0, life.Fenced != "":
		return owner, identity.Incarnation{}, &Fault{errors.New(life.Fenced)}
	case life.Rejoin.On:
		return owner, identity.Incarnation{}, &Fault{fmt.Errorf("the data directory %s took the place of one that was lost, and had not come back: what the cluster acknowledged is not in it; look for another directory that is left", path)}
	}
	is, err := life.life()
	if err != nil {
		return owner, identity.Incarnation{}, &Fault{fmt.Errorf("%s is damaged (%w): look for another directory that is left", filepath.Join(path, LifeFile), err)}
	}
	return owner, is.Incarnation, nil
}

func newDirectory(fsys vfs.FS, path string, owner Owner) *Directory {
	return &Directory{fs: fsys, path: path, owner: owner, turn: make(chan struct{}, 1)}
}

// Begin says whose the directory is, if that is not written down yet, counts this
// start, and reads whether the level is held and what is known of the peers. The log must be open, and therefore
// locked; state is what it holds. rejoin says that the directory is to take the place
// of one that was lost.
func (d *Directory) Begin(state *core.State, rejoin bool) error {
	var err error
	if d.found && !d.joins {
		err = d.otherMembers
		if hasConfiguration(state) {
			err = nil // the log names them, and lists are hints for addresses
		}
		if err == nil {
			err = d.owner.checkUID(d.path, state)
		}
	} else {
		err = d.owner.Write(d.fs, d.path)
	}
	if err != nil {
		return err
	}
	void := state.Term == 0 && state.Snapshot.Index == 0 && len(state.Entries) == 0
	if err := d.beginLife(void, rejoin); err != nil {
		return err
	}
	if d.joins { // the members' record says when it may vote
		if err := d.SetRejoining(core.Rejoining{}); err != nil {
			return err
		}
	}
	d.log.begin(state)
	if err := d.readHold(); err != nil {
		return err
	}
	d.peers, err = OpenPeers(d.fs, d.path)
	return err
}

// Joins reports whether the directory was begun by a node that joins a cluster which runs:
// raftkv.toml names no members.
func (d *Directory) Joins() bool { return d.found && len(d.owner.Members) == 0 }

// IsNew reports whether no node has begun on the directory. It belongs between Check and Begin.
func (d *Directory) IsNew() bool { return !d.found }

// JoinAgain makes the directory that of a node which joins, under a name that is in the
// cluster already. It belongs between Check and Begin.
func (d *Directory) JoinAgain() { d.owner.Members, d.otherMembers, d.joins = nil, nil, true }

// Path returns where the directory is.
func (d *Directory) Path() string { return d.path }

// LogPath returns where its log is.
func (d *Directory) LogPath() string { return filepath.Join(d.path, LogDir) }

// Life returns what this process says of the directory to its peers.
func (d *Directory) Life() identity.Life { return d.life }

// Peers returns what is remembered of the other nodes.
func (d *Directory) Peers() *Peers { return d.peers }

// UID returns the uid of the cluster, zero if it is not known yet.
func (d *Directory) UID() core.UID {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	return d.owner.uid()
}

// LearnUID writes down the uid of the cluster, if that is news.
func (d *Directory) LearnUID(uid core.UID) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.owner.uid() == uid {
		return nil
	}
	d.owner.UID = uid.String()
	return d.owner.Write(d.fs, d.path)
}

// Standing returns how far the log on the disk has come.
func (d *Directory) Standing() identity.Standing { return d.log.now() }

// Saved notes that a write to the log is durable.
func (d *Directory) Saved(w *core.Write) { d.log.saved(w) }

// Changed returns a sentence about the first of raftkv.toml and life.toml that
// somebody else has changed while the node runs. It is empty if none was, or if that
// cannot be told at the moment. A change only matters at the next start, and can be
// put right until then.
func (d *Directory) Changed() string {
	path := filepath.Join(d.path, OwnerFile)
	is, found, err := ReadOwner(d.fs, d.path, "")
	d.turn <- struct{}{}
	want := d.owner
	<-d.turn
	if wrong := changed(path, found, err, is.ClusterID == want.ClusterID && is.NodeID == want.NodeID); wrong != "" {
		return wrong
	}
	var life lifeContent
	found, err = ReadFile(d.fs, d.lifePath(), &life, "")
	return changed(d.lifePath(), found, err, life.Incarnation == formatIncarnation(d.life.Incarnation) && life.Boot == d.life.Boot)
}

// changed says what is wrong with one file, whose content is still ours if same.
func changed(path string, found bool, err error, same bool) string {
	var opening *fs.PathError
	switch {
	case errors.As(err, &opening):
		return "" // the disk, or a lack of descriptors
	case err != nil:
		return path + " cannot be understood any more"
	case !found:
		return path + " is gone"
	case !same:
		return path + " is not this node's any more"
	}
	return ""
}

// Fenced reports whether the directory must not be used any more.
func (d *Directory) Fenced() bool {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	return d.content.Fenced != ""
}

// Fence returns the sentence with which the node ends because peers have found out
// that the directory must not be used. If a majority of them says so, no node starts
// on it again. A smaller number may be wrong, so the next start asks anew.
func (d *Directory) Fence(v identity.Verdict) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.content.Fenced != "" {
		return errors.New(d.content.Fenced)
	}
	says := "says"
	if len(v.By) > 1 {
		says = "say"
	}
	sentence := fmt.Sprintf("node %s must not go on with the data directory %s: %s %s that it %s (docs/operations.md, \"Replace a dead disk\")",
		d.owner.NodeID, d.path, core.JoinIDs(v.By, ", "), says, fenceSentences[v.Why])
	if v.Why == identity.Wiped && d.log.now() == (identity.Standing{}) {
		// The directory holds no promise, so it may be a new one that met an old one.
		sentence += fmt.Sprintf(". If the whole cluster is new, it is the other way round: the directory of %s is of an earlier cluster; "+
			"stop it, empty its directory, and start all nodes without --rejoin", core.JoinIDs(v.By, ", "))
	}
	if !v.Majority {
		return fmt.Errorf("%s. That is no majority of the other nodes, so nothing was written down, and the node may be started again. What was said: %s", sentence, v.Detail)
	}
	d.content.Fenced = sentence
	if err := d.writeLife(); err != nil {
		return errors.Join(errors.New(sentence), err)
	}
	return errors.New(sentence)
}

// RemovedError says that the cluster has removed a data directory from its members, for
// good.
type RemovedError struct{ sentence string }

func (e *RemovedError) Error() string { return e.sentence }

// Remove marks the directory as removed from the cluster by the configuration of an entry,
// so that no node starts on it again, and returns the error with which the node ends: a
// *RemovedError with the sentence, joined with that of the disk if there is one.
func (d *Directory) Remove(index uint64, sentence string) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	removed := &RemovedError{sentence}
	if d.content.Removed > 0 {
		return removed
	}
	d.content.Fenced, d.content.Removed = sentence, max(index, 1)
	if err := d.writeLife(); err != nil {
		return errors.Join(removed, err)
	}
	return removed
}

// fenceSentences continue "it …".
var fenceSentences = map[identity.Reason]string{
	identity.Wiped: "is not the one this node had. What the node has promised, votes and entries, was in that one. " +
		"If that is lost, empty the directory and start the node with --rejoin; if it is not, start the node on it",
	identity.RolledBack: "was put back to an earlier state, as by restoring a copy. What the node has promised since is lost. " +
		"Empty the directory and start the node with --rejoin",
	identity.Copied: "is a copy of a directory on which this node runs or has been started since. Remove this copy, and use the other. " +
		"If there is no other any more, empty the directory and start the node with --rejoin",
	identity.Replaced: "was replaced by a newer one when this node came back with --rejoin. Remove this one",
}

// Rejoining returns how far the node has come back after it lost its disk.
func (d *Directory) Rejoining() core.Rejoining {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	r := d.content.Rejoin
	return core.Rejoining{On: r.On, Term: r.Term, Index: r.Index}
}

// SetRejoining makes that durable, if it is news.
func (d *Directory) SetRejoining(r core.Rejoining) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	is := rejoinContent{On: r.On, Term: r.Term, Index: r.Index}
	if d.content.Rejoin == is {
		return nil
	}
	d.content.Rejoin = is
	return d.writeLife()
}
