package httpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft/snapshot"
)

// fill puts keys with values of this number of bytes each, as the log of s delivers
// them.
func fill(t *testing.T, s *testServer, log *fakelog.Log, keys, bytes int) {
	t.Helper()
	for i := range keys {
		log.Deliver(fakelog.PutCommand(fmt.Sprintf("key%d", i), strings.Repeat("v", bytes)))
		if i%1000 == 0 || i == keys-1 {
			if err := s.Machine().AwaitApplied(t.Context(), log.Status().LastIndex); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Goal: a backup is what the store held, with its place in the log, in the
// container that everything else reads. Method: back up, read it back, compare
// hashes.
func TestABackupIsTheStore(t *testing.T) {
	s, log := newServer(t, nil)
	log.Deliver(kv.EncodeCommand(kv.Command{Op: kv.OpOpenSession}))
	fill(t, s, log, 2000, 300)
	wantStatus(t, ask(s, "PUT", "/v1/kv/once", "x", api.HeaderIdempotencyKey, "one"), 201)
	log.OnTermAt = func(index uint64) (uint64, error) { return 1000 + index, nil }
	a := send(t, "GET", serveHTTP(t, s).URL+"/v1/snapshot", "")
	wantStatus(t, a, 200)
	got, err := kvserver.ReadBackup(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	want := kvserver.Backup{
		Cluster: "c1", Index: 2002, Term: 3002, Keys: 2001, Bytes: got.Bytes, Revision: 2001, Sessions: 1, IdempotencyRecords: 1,
		Digest: got.Digest, Hash: fmt.Sprintf("%x", stateOf(s)),
	}
	if got != want || got.Bytes < 2000*300 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if a.header.Get(api.HeaderRevision) != "2001" || a.header.Get(api.HeaderConsistency) != "linearizable" {
		t.Errorf("header %v", a.header)
	}
}

// Goal: a backup is linearizable: it shows everything that was acknowledged
// before it was asked for. Method: a read index that the store has not reached.
func TestABackupWaitsForWhatWasAcknowledged(t *testing.T) {
	s, log := newServer(t, nil)
	log.Deliver(fakelog.PutCommand("a", "1"))
	asked := make(chan struct{})
	log.OnRead = func(context.Context) (uint64, error) {
		close(asked)
		return 2, nil
	}
	answers := make(chan answer, 1)
	go func() { answers <- ask(s, "GET", "/v1/snapshot", "") }()
	<-asked
	log.Deliver(fakelog.PutCommand("b", "2"))
	got, err := kvserver.ReadBackup(strings.NewReader((<-answers).body))
	if err != nil || got.Keys != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Goal: what cannot be backed up is refused before anything is sent, and the
// same entry is not asked for twice when the log has moved on. Method: each
// reason in turn, in virtual time, so that no wait is over before its time.
func TestABackupThatCannotBeIsRefused(t *testing.T) { inBubble(t, testABackupThatCannotBe) }

func testABackupThatCannotBe(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.LeaderWait = 50 * time.Millisecond })
	wantProblem(t, ask(s, "GET", "/v1/snapshot", ""), 503, api.CodeBehind, api.OutcomeNotApplied)
	log.Deliver(fakelog.PutCommand("a", "1"))
	gone := 2
	log.OnTermAt = func(uint64) (uint64, error) {
		if gone--; gone < 0 {
			return 3, nil
		}
		return 0, errors.New("compacted")
	}
	wantStatus(t, ask(s, "GET", "/v1/snapshot", ""), 200)
	log.OnTermAt = func(uint64) (uint64, error) { return 0, errors.New("compacted") }
	wantProblem(t, ask(s, "GET", "/v1/snapshot", ""), 504, api.CodeTimeout, api.OutcomeNotApplied)
	for range s.Load(kvserver.Backups).Limit {
		s.Enter(kvserver.Backups, 0)
	}
	wantProblem(t, ask(s, "GET", "/v1/snapshot", ""), 429, api.CodeOverloaded, api.OutcomeNotApplied)
	for range s.Load(kvserver.Backups).Limit {
		s.Leave(kvserver.Backups, 0)
	}
	s.Machine().Quarantine("the test says so")
	wantProblem(t, ask(s, "GET", "/v1/snapshot", ""), 503, api.CodeDiverged, api.OutcomeNotApplied)
}

// Goal: a backup that does not come to its end is seen to be none, on the
// connection and in the bytes. Method: the memory is damaged; the node is fenced
// while it sends; the server ends meanwhile.
func TestABackupThatIsCutIsSeenToBe(t *testing.T) {
	for name, spoil := range map[string]func(*testServer){
		"damaged memory": func(s *testServer) { s.Machine().Get("key9").Item.Value[1] ^= 1 }, // the last one
		"fenced":         func(s *testServer) { s.Machine().Quarantine("the test says so") },
		"stopping":       func(s *testServer) { s.Machine().End() },
	} {
		t.Run(name, func(t *testing.T) {
			// In a bubble, where no time passes while anybody has something to do: the
			// backup cannot end because it was taken too slowly.
			inBubble(t, func(t *testing.T) { testACutBackup(t, name, spoil) })
		})
	}
}

func testACutBackup(t *testing.T, name string, spoil func(*testServer)) {
	s, log := newServer(t, nil)
	fill(t, s, log, 20, 128<<10)       // more than the answer's own buffers hold
	before := name == "damaged memory" // afterwards it would be a data race
	if before {
		spoil(s)
	}
	conn := servePipes(t, s).Open(t, rawRequest("GET", "/v1/snapshot", ""))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if !before {
		spoil(s)
	}
	body, err := io.ReadAll(response.Body)
	if err == nil {
		t.Error("the connection says that the answer is whole")
	}
	var damage *snapshot.CorruptionError
	if _, err := kvserver.ReadBackup(bytes.NewReader(body)); !errors.As(err, &damage) && !errors.Is(err, kv.ErrBadSnapshot) {
		t.Errorf("%d bytes of it are read with %v", len(body), err)
	}
	if name == "damaged memory" && s.Machine().Fault() == "" {
		t.Error("the node goes on to serve damaged memory")
	}
}

// Goal: a container that holds something else than one state at its index is
// refused, though its checksums are right. Method: bytes behind the state; the
// state of another index.
func TestABackupHoldsOneState(t *testing.T) {
	store := kv.New()
	store.Apply(1, fakelog.PutCommand("a", "1"))
	contain := func(index uint64, more string) error {
		var b bytes.Buffer
		w, err := snapshot.NewWriter(&b, snapshot.Header{ClusterID: "c1", Index: index, Term: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.WriteTo(w); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, more); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = kvserver.ReadBackup(&b)
		return err
	}
	if err := contain(1, ""); err != nil {
		t.Error(err)
	}
	for _, err := range []error{contain(2, ""), contain(1, "x"), contain(1, strings.Repeat("x", 1<<20))} {
		if !errors.Is(err, kv.ErrBadSnapshot) {
			t.Errorf("refused with %v", err)
		}
	}
}

// Goal: a client that takes too little loses its backup, so that what the store
// held is not kept for it. Method: the time that the connection is given for the
// next byte follows from what was taken.
func TestABackupIsNotKeptForASleepingClient(t *testing.T) {
	s, _ := newServer(t, nil)
	w := &deadlineWriter{}
	x := &exchange{door: s.door, w: w}
	to := &backupWriter{x: x, began: time.Now(), sent: 10 << 20, may: x.permit(auth.Backup, auth.Range{})}
	if _, err := to.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if want := to.began.Add(backupGrace + 10*time.Second); !w.deadline.Equal(want) {
		t.Errorf("after 10 MiB the next byte is due at %v, want %v", w.deadline.Sub(to.began), want.Sub(to.began))
	}
}

// deadlineWriter is a client's end that notes the last deadline.
type deadlineWriter struct {
	http.ResponseWriter
	deadline time.Time
}

func (w *deadlineWriter) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

func (w *deadlineWriter) Write(b []byte) (int, error) { return len(b), nil }
