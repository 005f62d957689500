package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/vfs"
	"raftkv/tests/compat/golden"
)

// Goal: the small files of data directories and the exports that an earlier
// release wrote are read by this one, and mean the same. Method: see golden.Check.
func TestWhatEarlierReleasesWroteIsRead(t *testing.T) {
	golden.Check(t, []golden.Format{
		{Release: "v0.1.0", Name: "toml", Write: writeReleasedTOML, Read: readReleasedTOML},
		{Release: "v0.1.0", Name: "export", Write: writeReleasedExport, Read: readReleasedExport},
	})
}

// releasedUID is the cluster's in every file.
var releasedUID = core.UID{0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8}

func releasedIdentity() owner {
	return newOwner("compat", "n1", members{"n1": "a:1", "n2": "b:1", "n3": "c:1"})
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
	known := releasedIdentity()
	known.UID = releasedUID.String()
	usual, fenced := releasedLives()
	peers := &peerMemory{fs: vfs.OS{}, path: filepath.Join(dir, peersName), known: map[core.ID]identity.Known{}}
	for _, err := range []error{
		writeSmallFile(vfs.OS{}, filepath.Join(dir, identityName), identityComment, known),
		writeSmallFile(vfs.OS{}, filepath.Join(dir, "raftkv-without-uid.toml"), identityComment, releasedIdentity()),
		writeSmallFile(vfs.OS{}, filepath.Join(dir, lifeName), lifeComment, usual),
		writeSmallFile(vfs.OS{}, filepath.Join(dir, "life-fenced.toml"), lifeComment, fenced),
		peers.remember(releasedPeers()),
		writeDevData(vfs.OS{}, dir, 3),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	all := golden.Files{}
	for _, name := range namesIn(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = b
	}
	return all
}

func readReleasedTOML(t *testing.T, f golden.Files) {
	dir := t.TempDir()
	for name, b := range f {
		mustWrite(t, filepath.Join(dir, name), string(b))
	}
	known := releasedIdentity()
	known.UID = releasedUID.String()
	usual, fenced := releasedLives()
	for name, want := range map[string]any{
		identityName: known, "raftkv-without-uid.toml": releasedIdentity(),
		lifeName: usual, "life-fenced.toml": fenced,
		devMarkName: devMark{Format: 1, Nodes: 3},
	} {
		got := reflect.New(reflect.TypeOf(want))
		if found, err := readSmallFile(vfs.OS{}, filepath.Join(dir, name), got.Interface(), ""); err != nil || !found || !reflect.DeepEqual(got.Elem().Interface(), want) {
			t.Errorf("%s is read as %+v, %v", name, got.Elem(), err)
		}
	}
	for _, c := range []lifeContent{usual, fenced} {
		if _, err := c.life(); err != nil {
			t.Error(err)
		}
	}
	if peers, err := openPeerMemory(vfs.OS{}, dir); err != nil || !reflect.DeepEqual(peers.known, releasedPeers()) {
		t.Errorf("%s is read as %+v, %v", peersName, peers, err)
	}
}

// releasedItems are the keys of the export: text and bytes, as key and as value.
var releasedItems = []api.Value{
	{KeyName: api.NameKey("a/<b> \u00e9"), Value: []byte("text\n\"quoted\""), Revision: 300, Version: 2},
	{KeyName: api.NameKey("empty"), Value: []byte{}, Revision: 7, Version: 1},
	{KeyName: api.NameKey("k\xff"), Value: []byte{0, 0xfe}, Revision: 1 << 40, Version: 1},
}

func writeReleasedExport(t *testing.T) golden.Files {
	var b bytes.Buffer
	for _, v := range releasedItems {
		if err := printJSON(&b, exportedOf(v)); err != nil {
			t.Fatal(err)
		}
	}
	return golden.Files{"export.ndjson": b.Bytes()}
}

func readReleasedExport(t *testing.T, f golden.Files) {
	var got, want []string
	for _, v := range releasedItems {
		want = append(want, fmt.Sprintf("%q = %q", v.Name(), v.Value))
	}
	err := eachLine(bytes.NewReader(f["export.ndjson"]), func(_ int, key string, value []byte) error {
		got = append(got, fmt.Sprintf("%q = %q", key, value))
		return nil
	})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("it is read as %q, %v", got, err)
	}
}
