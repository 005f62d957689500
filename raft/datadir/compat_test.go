package datadir

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/vfs"
	"raftkv/tests/compat/golden"
)

// Goal: the files of data directories that an earlier release wrote are read by this
// one, and mean the same. Method: see golden.Check.
func TestWhatEarlierReleasesWroteIsRead(t *testing.T) {
	golden.Check(t, []golden.Format{
		{Release: "v0.1.0", Name: "toml", Write: writeReleasedTOML, Read: readReleasedTOML},
	})
}

// releasedUID is the cluster's in every file.
var releasedUID = core.UID{0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8}

func releasedOwner() Owner {
	return NewOwner("compat", "n1", []core.ID{"n1", "n2", "n3"})
}

// releasedLives are the lives of two directories: a common one, and one that was
// made by --rejoin and fenced.
func releasedLives() (usual, fenced lifeContent) {
	life := identity.Life{Incarnation: identity.Incarnation{0xa0, 0xa1, 15: 0xaf}, Boot: 300, Nonces: []uint64{1 << 63, 0x0102030405060708}}
	usual, fenced = lifeContent{Format: 1}, lifeContent{Format: 1, Rejoined: true, Fenced: "node n1 must not go on: \"why\"", Rejoin: rejoinContent{On: true, Term: 5, Index: 70_000}}
	usual.setLife(life)
	life.Nonces = life.Nonces[1:]
	fenced.setLife(life)
	return usual, fenced
}

// releasedPeers is what a node knows of its peers: of one only the least, of the
// other all there can be.
func releasedPeers() map[core.ID]identity.Known {
	return map[core.ID]identity.Known{
		"n2": {Incarnation: identity.Incarnation{2}, Boot: 1, Nonce: 7},
		"n3": {
			Incarnation: identity.Incarnation{3}, Boot: 300, Nonce: 1 << 63, PutBack: true, Former: []identity.Incarnation{{4}, {5}}, Newcomer: identity.Incarnation{6},
			UID: releasedUID, Term: 5, Held: 200, Firm: 300,
		},
	}
}

func writeReleasedTOML(t *testing.T) golden.Files {
	dir := t.TempDir()
	known := releasedOwner()
	known.UID = releasedUID.String()
	usual, fenced := releasedLives()
	peers := &Peers{fs: vfs.OS{}, path: filepath.Join(dir, PeersFile), known: map[core.ID]identity.Known{}}
	for _, err := range []error{
		WriteFile(vfs.OS{}, filepath.Join(dir, OwnerFile), ownerComment, known),
		WriteFile(vfs.OS{}, filepath.Join(dir, "raftkv-without-uid.toml"), ownerComment, releasedOwner()),
		WriteFile(vfs.OS{}, filepath.Join(dir, LifeFile), lifeComment, usual),
		WriteFile(vfs.OS{}, filepath.Join(dir, "life-fenced.toml"), lifeComment, fenced),
		peers.remember(releasedPeers()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	all := golden.Files{}
	written, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range written {
		b, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[file.Name()] = b
	}
	return all
}

func readReleasedTOML(t *testing.T, f golden.Files) {
	dir := t.TempDir()
	for name, b := range f {
		mustWrite(t, filepath.Join(dir, name), string(b))
	}
	known := releasedOwner()
	known.UID = releasedUID.String()
	usual, fenced := releasedLives()
	for name, want := range map[string]any{
		OwnerFile: known, "raftkv-without-uid.toml": releasedOwner(),
		LifeFile: usual, "life-fenced.toml": fenced,
	} {
		got := reflect.New(reflect.TypeOf(want))
		if found, err := ReadFile(vfs.OS{}, filepath.Join(dir, name), got.Interface(), ""); err != nil || !found || !reflect.DeepEqual(got.Elem().Interface(), want) {
			t.Errorf("%s is read as %+v, %v", name, got.Elem(), err)
		}
	}
	for _, c := range []lifeContent{usual, fenced} {
		if _, err := c.life(); err != nil {
			t.Error(err)
		}
	}
	if peers, err := OpenPeers(vfs.OS{}, dir); err != nil || !reflect.DeepEqual(peers.known, releasedPeers()) {
		t.Errorf("%s is read as %+v, %v", PeersFile, peers, err)
	}
}
