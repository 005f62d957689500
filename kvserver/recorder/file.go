package recorder

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A flight file begins with fileMagic. Frames follow: length and CRC32C of the body as
// 32-bit numbers, then the body, whose first byte is its kind. Numbers are
// little-endian.
//
//	section   1, version of the frame, boot, tick, from as 64-bit numbers, then node,
//	          build, number of names and names; a text is a byte of length and its bytes
//	events    2, then one event of 72 bytes after the other
//
// Events belong to the section before them.
const (
	fileMagic   = "RKVFLT\x00\x01"
	frameHeader = 8

	frameSection = 1
	frameEvents  = 2

	maxNames      = 255
	maxFrameBytes = 1 + frameEventsMax*eventBytes
	// frameEventsMax is the number of events in one frame.
	frameEventsMax = 512
)

// MaxFileBytes is the length of the longest flight file.
const MaxFileBytes = 2 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrNotFlight says that a file is no flight file, or one of a later version.
var ErrNotFlight = errors.New("not a flight file of version 1")

// appendFrame appends a frame with this body to b.
func appendFrame(b, body []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...)
}

// appendSection appends the frame of a section.
func appendSection(b []byte, s *Section) []byte {
	body := []byte{frameSection, 1}
	for _, n := range []uint64{s.Boot, uint64(s.Tick), s.From} {
		body = binary.LittleEndian.AppendUint64(body, n)
	}
	names := s.Names[:min(len(s.Names), maxNames)]
	body = appendText(appendText(body, s.Node), s.Build)
	body = append(body, byte(len(names)))
	for _, name := range names {
		body = appendText(body, name)
	}
	return appendFrame(b, body)
}

func appendText(b []byte, text string) []byte {
	text = text[:min(len(text), 255)]
	return append(append(b, byte(len(text))), text...)
}

// appendEvents appends the frames of events.
func appendEvents(b []byte, events []Event) []byte {
	for len(events) > 0 {
		n := min(len(events), frameEventsMax)
		body := make([]byte, 1, 1+n*eventBytes)
		body[0] = frameEvents
		for i := range events[:n] {
			body = events[i].append(body)
		}
		b, events = appendFrame(b, body), events[n:]
	}
	return b
}

// ReadFile decodes a flight file, as far as it is whole, and returns how many bytes
// that is. What follows, such as the beginning of a write that a crash cut off, is left
// out. A file that begins otherwise is an error, ErrNotFlight.
func ReadFile(content []byte) (rings []Ring, whole int, err error) {
	if !bytes.HasPrefix(content, []byte(fileMagic)) {
		return nil, 0, ErrNotFlight
	}
	whole = len(fileMagic)
	for {
		body, rest := nextFrame(content[whole:])
		if body == nil || !take(&rings, body) {
			return rings, whole, nil
		}
		whole = len(content) - len(rest)
	}
}

// nextFrame returns the body of the first frame and what follows it; nil if there is no
// whole frame.
func nextFrame(b []byte) (body, rest []byte) {
	if len(b) < frameHeader {
		return nil, nil
	}
	length, sum := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	b = b[frameHeader:]
	if length == 0 || length > maxFrameBytes || uint64(length) > uint64(len(b)) {
		return nil, nil
	}
	if crc32.Checksum(b[:length], castagnoli) != sum {
		return nil, nil
	}
	return b[:length], b[length:]
}

// take adds what a frame holds; false if it cannot be understood or goes back in time.
func take(rings *[]Ring, body []byte) bool {
	switch body[0] {
	case frameSection:
		s, err := decodeSection(body)
		if err != nil {
			return false
		}
		*rings = append(*rings, Ring{Section: s})
		return true
	case frameEvents:
		n := len(*rings)
		if n == 0 || (len(body)-1)%eventBytes != 0 {
			return false
		}
		ring := &(*rings)[n-1]
		last := lastSeq(*rings)
		for b := body[1:]; len(b) > 0; b = b[eventBytes:] {
			e := decodeEvent(b)
			if e.Seq <= last {
				return false
			}
			last = e.Seq
			ring.Events = append(ring.Events, e)
		}
		return true
	}
	return false
}

// lastSeq returns the Seq of the last event, 0 if there is none.
func lastSeq(rings []Ring) uint64 {
	for i := len(rings) - 1; i >= 0; i-- {
		if n := len(rings[i].Events); n > 0 {
			return rings[i].Events[n-1].Seq
		}
	}
	return 0
}

// decodeSection decodes the body of a section's frame.
func decodeSection(body []byte) (s Section, err error) {
	const fixed = 2 + 3*8
	if len(body) < fixed || body[1] != 1 {
		return s, fmt.Errorf("a section of %d bytes", len(body))
	}
	s.Boot = binary.LittleEndian.Uint64(body[2:])
	s.Tick = int64(binary.LittleEndian.Uint64(body[10:]))
	s.From = binary.LittleEndian.Uint64(body[18:])
	b := body[fixed:]
	text := func() (t string) {
		if err != nil || len(b) == 0 || len(b) < 1+int(b[0]) {
			err = errors.New("a text is longer than its frame")
			return ""
		}
		t, b = string(b[1:1+b[0]]), b[1+b[0]:]
		return t
	}
	s.Node, s.Build = text(), text()
	if err == nil && len(b) == 0 {
		err = errors.New("no names")
	}
	if err != nil {
		return s, err
	}
	count := int(b[0])
	b = b[1:]
	for range count {
		s.Names = append(s.Names, text())
	}
	return s, err
}
