package snapshot

import (
	"errors"
	"fmt"
	"io"
)

// Writer writes one snapshot. It is for one goroutine.
type Writer struct {
	w        io.Writer
	identity uint32
	offset   int64  // of the block that is being filled
	block    []byte // its header and its payload so far
	sum      trailer
	err      error // the first error; the writer writes nothing after it
}

// errClosed is returned by every use of a Writer after its Close.
var errClosed = errors.New("snapshot: the writer is closed")

// NewWriter writes the header to w and returns a Writer for the payload. Each
// block goes to w in one Write of at most MaxBlockBytes and a header.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	if len(h.ClusterID) == 0 || len(h.ClusterID) > maxClusterIDBytes {
		return nil, fmt.Errorf("snapshot: the cluster id %q has %d bytes: give one of 1 to %d", h.ClusterID, len(h.ClusterID), maxClusterIDBytes)
	}
	if h.Group == 0 {
		h.Group = onlyGroup
	}
	if h.Group != onlyGroup {
		return nil, fmt.Errorf("snapshot: the group is %d: give %d, the only one", h.Group, onlyGroup)
	}
	if n := len(h.Configuration); n > MaxConfigurationBytes {
		return nil, fmt.Errorf("snapshot: the configuration has %d bytes; the limit is %d", n, MaxConfigurationBytes)
	}
	header, identity := h.encode()
	if err := writeFull(w, header); err != nil {
		return nil, err
	}
	s := &Writer{
		w: w, identity: identity, offset: headerBytes,
		block: make([]byte, blockHeaderBytes),
	}
	if len(h.Configuration) > 0 {
		s.block = append(s.block, h.Configuration...)
		if err := s.flush(kindConfiguration); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Write adds p to the payload.
func (w *Writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		room := min(len(p), blockHeaderBytes+MaxBlockBytes-len(w.block))
		w.block = append(w.block, p[:room]...)
		n, p = n+room, p[room:]
		if len(w.block) == blockHeaderBytes+MaxBlockBytes {
			w.err = w.flush(kindBlock)
		}
	}
	return n, w.err
}

// Close writes the rest of the payload and the trailer. Without it the snapshot
// is not complete. It does not close the underlying writer.
func (w *Writer) Close() error {
	if w.err == nil && len(w.block) > blockHeaderBytes {
		w.err = w.flush(kindBlock)
	}
	if w.err == nil {
		w.block = append(w.block, w.sum.encode()...)
		w.err = w.flush(kindTrailer)
	}
	if w.err != nil {
		return w.err
	}
	w.err = errClosed
	return nil
}

// flush writes the block.
func (w *Writer) flush(kind uint32) error {
	h := blockHeader{payload: checksum(w.block[blockHeaderBytes:]), kind: kind, length: uint32(len(w.block) - blockHeaderBytes)}
	h.encode(w.block, w.identity, w.offset)
	if err := writeFull(w.w, w.block); err != nil {
		return err
	}
	w.sum.add(h)
	w.offset += int64(len(w.block))
	w.block = w.block[:blockHeaderBytes]
	return nil
}

// writeFull calls Write. It adds the error that some writers forget when they
// write less than was asked.
func writeFull(w io.Writer, b []byte) error {
	n, err := w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
