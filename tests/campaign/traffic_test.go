package campaign

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/tests/cluster"
)

// traffic sends puts at a rate that does not depend on how they are answered:
// put number n is due n/rate seconds after the beginning. Each connection takes
// the next one that is due. What is overdue for longer than mostOverdue is given
// up unsent, as by a client that lost its patience.
//
// The requests are written and the answers read by hand: on a machine with few
// cores a client as costly as net/http's would be what is measured.
type traffic struct {
	address string
	rate    float64 // puts per second; 0: as soon as a connection is free
	conns   int
	keys    int
	value   []byte

	elections uint64 // that took place meanwhile

	next atomic.Int64 // number of the put that is due next
	tally
}

// tally is what became of the puts.
type tally struct {
	applied, refused, failed, unsent, retryAfter atomic.Int64

	mu    sync.Mutex      // guards the fields below
	took  []time.Duration // of those that were applied, from their being sent
	other map[string]int  // of those that failed, how
}

// fail counts a put that was neither applied nor refused for overload.
func (l *tally) fail(how string) {
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.other == nil {
		l.other = map[string]int{}
	}
	l.other[how]++
}

const mostOverdue = time.Second

// run sends for a time and returns when everything is answered.
func (l *traffic) run(ctx context.Context, time_ time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, time_)
	defer cancel()
	begun := time.Now()
	var all sync.WaitGroup
	for range l.conns {
		all.Go(func() { l.connection(ctx, begun) })
	}
	all.Wait()
}

// connection sends on one connection, and on another when that one ends.
func (l *traffic) connection(ctx context.Context, begun time.Time) {
	for ctx.Err() == nil {
		conn, err := net.DialTimeout("tcp", l.address, 5*time.Second)
		if err != nil {
			l.fail("no connection")
			cluster.Sleep(ctx, 100*time.Millisecond)
			continue
		}
		var took []time.Duration
		err = l.serve(ctx, conn, begun, &took)
		conn.Close()
		l.mu.Lock()
		l.took = append(l.took, took...)
		l.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			l.fail("connection ended")
		}
	}
}

func (l *traffic) serve(ctx context.Context, conn net.Conn, begun time.Time, took *[]time.Duration) error {
	in := bufio.NewReaderSize(conn, 2<<10)
	var request []byte
	for ctx.Err() == nil {
		n := l.next.Add(1)
		if l.rate > 0 {
			due := begun.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
			if overdue := time.Since(due); overdue > mostOverdue {
				skip := int64((overdue - mostOverdue/2).Seconds() * l.rate)
				l.next.Add(skip)
				l.unsent.Add(skip + 1)
				continue
			}
			if !cluster.Sleep(ctx, time.Until(due)) {
				return nil
			}
		}
		request = fmt.Appendf(request[:0], "PUT /v1/kv/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", n%int64(l.keys), len(l.value))
		request = append(request, l.value...)
		sent := time.Now()
		if err := conn.SetDeadline(sent.Add(cluster.Patience)); err != nil {
			return err
		}
		if _, err := conn.Write(request); err != nil {
			return err
		}
		status, retryAfter, err := readStatus(in)
		if err != nil {
			return err
		}
		switch {
		case status/100 == 2:
			l.applied.Add(1)
			*took = append(*took, time.Since(sent))
		case status == http.StatusTooManyRequests:
			l.refused.Add(1)
			l.retryAfter.Add(retryAfter)
		default:
			l.fail(fmt.Sprint("status ", status))
		}
	}
	return nil
}

// readStatus reads one answer with a Content-Length.
func readStatus(in *bufio.Reader) (status int, retryAfter int64, err error) {
	length := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch name, value, _ := bytes.Cut(line, []byte(": ")); {
		case first && len(line) > 12:
			status, err = strconv.Atoi(string(line[9:12]))
		case first:
			err = errors.New("not an answer")
		case len(line) == 0:
			_, err = in.Discard(length)
			return status, retryAfter, err
		case string(name) == "Content-Length":
			length, err = strconv.Atoi(string(value))
		case string(name) == "Retry-After":
			retryAfter, err = strconv.ParseInt(string(value), 10, 64)
		}
		if err != nil {
			return 0, 0, err
		}
	}
}

// percentiles returns the given percentiles of how long the applied puts took.
func (l *traffic) percentiles(percents ...float64) (at []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.took)
	for _, p := range percents {
		if len(l.took) == 0 {
			at = append(at, 0)
			continue
		}
		at = append(at, l.took[min(len(l.took)-1, int(p/100*float64(len(l.took))))])
	}
	return at
}
