package machine

import (
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"raftkv/kvserver/kv"
)

// restore reads a state. One goroutine reads and checks the file ahead, and all
// processors decode.
func restore(from io.Reader) (*kv.Store, error) {
	ahead := newReadAhead(from)
	defer ahead.Close()
	return kv.RestoreWith(ahead, inParallel)
}

// inParallel is a kv.Each that uses all processors.
func inParallel(n int, job func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			job(i)
		}
	}
	var others sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

const (
	// aheadBlock is how much is read at once: about a block of a snapshot's file.
	aheadBlock = 256 << 10
	// aheadBlocks is how many blocks may have been read and wait.
	aheadBlocks = 4
)

// readAhead is a reader whose source is read by a goroutine of its own. The error of
// the source comes behind the bytes that were read before it, and stays.
type readAhead struct {
	blocks chan []byte // closed when err is set
	free   chan []byte // blocks to be filled
	stop   chan struct{}
	block  []byte // being handed out
	rest   []byte // of block
	err    error  // of the source; set before blocks is closed
}

// newReadAhead begins to read. Close must be called before from is closed.
func newReadAhead(from io.Reader) *readAhead {
	r := &readAhead{blocks: make(chan []byte, aheadBlocks), free: make(chan []byte, aheadBlocks+1), stop: make(chan struct{})}
	for range aheadBlocks {
		r.free <- nil
	}
	go r.run(from)
	return r
}

// run fills blocks until the source ends or nobody reads them any more.
func (r *readAhead) run(from io.Reader) {
	defer close(r.blocks)
	for {
		var block []byte
		select {
		case block = <-r.free:
		case <-r.stop:
			return
		}
		if block == nil {
			block = make([]byte, aheadBlock)
		}
		n, err := from.Read(block[:aheadBlock])
		if n > 0 {
			r.blocks <- block[:n] // there is room for all blocks
		} else {
			r.free <- block
		}
		if err != nil {
			r.err = err
			return
		}
	}
}

// Read implements io.Reader.
func (r *readAhead) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.block != nil {
			r.free <- r.block[:cap(r.block)]
		}
		r.block = <-r.blocks // nil if it is closed
		if r.rest = r.block; r.rest == nil {
			return 0, r.err
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close returns when the source is not read any more.
func (r *readAhead) Close() {
	close(r.stop)
	for range r.blocks { // until it is closed
	}
}
