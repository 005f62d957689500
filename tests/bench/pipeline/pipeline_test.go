package pipeline

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"raftkv/client/bench"
)

// listen returns a listener on loopback.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// smallFile returns a file around which few records go.
func smallFile(t *testing.T) *file {
	t.Helper()
	f, err := newFile(t.TempDir(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// startLeader starts a leader whose followers are behind two listeners.
func startLeader(t *testing.T, followers [2]net.Listener) *Client {
	t.Helper()
	l := listen(t)
	f := smallFile(t)
	t.Cleanup(func() { f.Close() })
	go func() {
		_ = lead(l, f, [2]string{followers[0].Addr().String(), followers[1].Addr().String()}) // it fails when the test has ended
	}()
	c, err := Dial(l.Addr().String(), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Goal: whatever is put is acknowledged, several times around the files'
// ends. Method: a leader and two followers in this process, eight clients.
func TestRecordsAreAcknowledged(t *testing.T) {
	var followers [2]net.Listener
	for i := range followers {
		followers[i] = listen(t)
		f := smallFile(t)
		t.Cleanup(func() { f.Close() })
		go func() { _ = serveLeaders(followers[i], f) }() // it fails when the test has ended
	}
	c := startLeader(t, followers)
	var working sync.WaitGroup
	for client := range 8 {
		working.Go(func() {
			for n := range 100 {
				if failure := c.Do(t.Context(), client, bench.Put, fmt.Sprint(n), make([]byte, 200)); failure != "" {
					t.Error(failure)
					return
				}
			}
		})
	}
	working.Wait()
	if got := c.Do(t.Context(), 0, bench.Get, "k", nil); got == "" {
		t.Error("a pipeline has answered a get")
	}
}

// Goal: a record is acknowledged when two disks hold it, and not before: a ceiling that
// promises less than its rivals is none. Method: the test is both followers. As long
// as neither answers, the record waits though the leader has saved it; the answer of
// one is enough.
func TestOneDiskIsNotEnough(t *testing.T) {
	followers := [2]net.Listener{listen(t), listen(t)}
	c := startLeader(t, followers)
	first, second := accept(t, followers[0]), accept(t, followers[1])

	ended := make(chan string, 1)
	go func() { ended <- c.Do(t.Context(), 0, bench.Put, "k", []byte("value")) }()
	record := make([]byte, headerBytes+6)
	for _, f := range []net.Conn{first, second} {
		if _, err := io.ReadFull(f, record); err != nil {
			t.Fatal(err)
		}
	}
	if recordBytes(record) != len(record) || string(record[headerBytes:]) != "kvalue" {
		t.Fatalf("the followers got %q", record)
	}
	// One byte less than the record is not the record.
	answer(t, first, uint64(len(record)-1))
	// The leader has saved the record once it sends the next one.
	abandoned, cancel := context.WithCancel(t.Context())
	defer cancel()
	go c.Do(abandoned, 1, bench.Put, "l", []byte("other"))
	if _, err := io.ReadFull(second, make([]byte, len(record))); err != nil {
		t.Fatal(err)
	}
	select {
	case failure := <-ended:
		t.Fatalf("it was acknowledged with one disk (%q)", failure)
	default:
	}
	answer(t, second, uint64(len(record)))
	if failure := <-ended; failure != "" {
		t.Error(failure)
	}
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func answer(t *testing.T, to net.Conn, durable uint64) {
	t.Helper()
	if _, err := to.Write(binary.LittleEndian.AppendUint64(nil, durable)); err != nil {
		t.Fatal(err)
	}
}

// Goal: requests end when the leader has gone, and later ones fail at once. Method: a
// listener that accepts and closes.
func TestALostLeaderEndsRequests(t *testing.T) {
	l := listen(t)
	c, err := Dial(l.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan string, 1)
	go func() { ended <- c.Do(t.Context(), 0, bench.Put, "k", nil) }()
	conn := accept(t, l)
	if _, err := io.ReadFull(conn, make([]byte, headerBytes+1)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if failure := <-ended; failure != "unknown no_answer" {
		t.Errorf("it ended with %q", failure)
	}
	if failure := c.Do(t.Context(), 0, bench.Put, "k", nil); failure != "not_applied no_connection" {
		t.Errorf("a later one ended with %q", failure)
	}
}

// Goal: a batch that reaches the end of the file goes on at its beginning. Method: two
// batches of two thirds of a file, read back.
func TestTheFileGoesAround(t *testing.T) {
	f := smallFile(t)
	defer f.Close()
	const size = 64 << 10
	for n := range byte(2) {
		batch := make([]byte, size*2/3)
		for i := range batch {
			batch[i] = n + 1
		}
		if err := f.save(batch); err != nil {
			t.Fatal(err)
		}
	}
	content := make([]byte, size)
	if _, err := f.ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if length, err := f.Size(); length != size || err != nil {
		t.Errorf("the file has %d bytes, %v", length, err)
	}
	if content[0] != 2 || content[size/3-2] != 2 || content[size/3+2] != 1 || content[size-1] != 2 {
		t.Errorf("%d … %d %d … %d", content[0], content[size/3-2], content[size/3+2], content[size-1])
	}
}
