package direct

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// pair returns the two ends of a connection over loopback, ours as Of makes it.
func pair(t testing.TB) (ours net.Conn, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = Of(dialled), accepted.(*net.TCPConn)
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	if (ours == dialled) == own {
		t.Fatalf("void: whether the connection is one of this package is %v", ours != dialled)
	}
	if TCP(ours) == nil || TCP(theirs) != theirs {
		t.Fatal("the connection of package net is not found below")
	}
	return ours, theirs
}

// Goal: all bytes arrive, in order, whatever the lengths of reads and writes are, in both
// directions at one time. Method: 4 MiB each way, which is more than the kernel keeps, so
// that both ends have to wait.
func TestAllBytesArrive(t *testing.T) {
	ours, theirs := pair(t)
	const length = 4 << 20
	send := func(w net.Conn, seed uint64) error {
		rng := rand.New(rand.NewPCG(seed, 0))
		for left := stream(seed, length); len(left) > 0; {
			n := min(len(left), rng.IntN(300_000))
			wrote, err := w.Write(left[:n])
			if err != nil || wrote != n {
				return errors.Join(errors.New("a write was cut short"), err)
			}
			left = left[n:]
		}
		return nil
	}
	receive := func(r net.Conn, seed uint64) error {
		rng, want := rand.New(rand.NewPCG(seed, 1)), stream(seed, length)
		for len(want) > 0 {
			b := make([]byte, rng.IntN(200_000))
			n, err := r.Read(b)
			if err != nil || !bytes.Equal(b[:n], want[:min(n, len(want))]) {
				return errors.Join(errors.New("other bytes arrived"), err)
			}
			want = want[n:]
		}
		return nil
	}
	results := make(chan error)
	for _, work := range []func() error{
		func() error { return send(ours, 1) }, func() error { return receive(theirs, 1) },
		func() error { return send(theirs, 2) }, func() error { return receive(ours, 2) },
	} {
		go func() { results <- work() }()
	}
	for range 4 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func stream(seed uint64, length int) []byte {
	rng := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, length)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Goal: every way in which a read or a write fails has the error that package net has, with
// the same text. Method: each of them on a connection of package net and on one of ours.
func TestFailuresAreThoseOfPackageNet(t *testing.T) {
	past := func() time.Time { return time.Now().Add(-time.Second) }
	large := make([]byte, 16<<20)
	for _, c := range []struct {
		name string
		fail func(c net.Conn, other *net.TCPConn) error
		is   error
	}{
		{"read: the other end closed", func(c net.Conn, other *net.TCPConn) error { other.Close(); return read(c) }, io.EOF},
		{"read: reset", func(c net.Conn, other *net.TCPConn) error {
			_ = other.SetLinger(0)
			other.Close()
			return read(c)
		}, syscall.ECONNRESET},
		{"read: deadline before", func(c net.Conn, _ *net.TCPConn) error { _ = c.SetReadDeadline(past()); return read(c) }, os.ErrDeadlineExceeded},
		{"read: deadline meanwhile", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.SetDeadline(time.Now().Add(20 * time.Millisecond))
			return read(c)
		}, os.ErrDeadlineExceeded},
		{"read: closed before", func(c net.Conn, _ *net.TCPConn) error { c.Close(); return read(c) }, net.ErrClosed},
		{"read: closed meanwhile", func(c net.Conn, _ *net.TCPConn) error {
			go c.Close()
			return read(c)
		}, net.ErrClosed},
		{"write: reset", func(c net.Conn, other *net.TCPConn) error {
			_ = other.SetLinger(0)
			other.Close()
			_ = read(c) // now the kernel knows
			_, err := c.Write([]byte("x"))
			return err
		}, syscall.EPIPE},
		{"write: deadline before", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.SetWriteDeadline(past())
			_, err := c.Write([]byte("x"))
			return err
		}, os.ErrDeadlineExceeded},
		{"write: the other end reads nothing", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := c.Write(large)
			return err
		}, os.ErrDeadlineExceeded},
		{"write: closed", func(c net.Conn, _ *net.TCPConn) error { c.Close(); _, err := c.Write([]byte("x")); return err }, net.ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours, theirs := pair(t)
			got := c.fail(ours, theirs)
			plain, others := pair(t)
			want := c.fail(TCP(plain), others)
			if !errors.Is(got, c.is) || !errors.Is(want, c.is) {
				t.Fatalf("%v, and by package net %v; both must be %v", got, want, c.is)
			}
			if a, b := shape(got), shape(want); a != b {
				t.Errorf("the error is %s, and by package net %s", a, b)
			}
		})
	}
}

func read(c net.Conn) error {
	_, err := c.Read(make([]byte, 8))
	return err
}

// shape is an error without its addresses.
func shape(err error) string {
	op := (*net.OpError)(nil)
	if !errors.As(err, &op) {
		return err.Error()
	}
	return op.Op + " " + op.Net + ": " + op.Err.Error()
}

// Goal: empty reads and writes do nothing and end at once, as those of package net, and
// neither a read nor a write allocates.
func TestNothingIsAllocated(t *testing.T) {
	ours, theirs := pair(t)
	for _, b := range [][]byte{nil, {}} {
		if n, err := ours.Read(b); n != 0 || err != nil {
			t.Errorf("an empty read: %d, %v", n, err)
		}
		if n, err := ours.Write(b); n != 0 || err != nil {
			t.Errorf("an empty write: %d, %v", n, err)
		}
	}
	b := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := theirs.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(ours, b); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(theirs, b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a read and a write allocate %v times", n)
	}
}
