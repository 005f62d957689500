package wire

import (
	"errors"
	"fmt"
	"strings"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// maxDetailBytes bounds the sentence in a refusal.
const maxDetailBytes = 512

// refusal is sent instead of a hello, by the accepting side only. It names its
// sender, so that the dialling side can tell a peer's word from a stranger's.
type refusal struct {
	Reason  identity.Reason
	Version uint64      // of the protocol that its sender speaks
	Detail  string      // a sentence for the other side's log
	Hello   packedBytes // the hello that its sender would have said, without checksum
}

var refusalShape = shape{idElement, uintElement, detailElement, packedElement}

// oldRefusal is the refusal of versions 1 and 2.
type oldRefusal struct {
	Reason  identity.Reason
	Version uint64
}

// refusedError means that a server turned our hello down.
type refusedError struct {
	refusal
	by hello // the hello of the server that refuses; empty if its version is unknown
}

func (r *refusedError) Error() string {
	if r.Reason == ReasonVersion {
		return fmt.Sprintf("the peer refuses us: %q (it speaks version %d, we speak %d): %s", r.Reason, r.Version, version, r.Detail)
	}
	return fmt.Sprintf("the peer refuses us: %q: it says: %s", r.Reason, r.Detail)
}

// refusal appends the frame of a refusal to dst.
func (e *encoder) refusal(dst []byte, no *rejection, self *hello) []byte {
	r := refusal{Reason: no.reason, Version: version, Detail: clipped(no.detail), Hello: e.content(self)}
	return e.frame(dst, kindRefusal, &r, greetingHeaderBytes+maxRefusalBody)
}

// oldRefusal appends the frame of a refusal that servers of versions 1 and 2
// understand. Its only reason is the version.
func (e *encoder) oldRefusal(dst []byte) []byte {
	frame := e.frame(dst, kindRefusal, &oldRefusal{ReasonVersion, version}, greetingHeaderBytes+maxRefusalBody)
	frame = frame[:len(frame)-sumBytes] // they know of none
	frame[len(dst)+1] -= sumBytes
	return frame
}

// content returns the body of a hello without its checksum.
func (e *encoder) content(h *hello) packedBytes {
	frame := e.hello(nil, kindHello, h)
	return packedBytes(frame[greetingHeaderBytes : len(frame)-sumBytes])
}

// clipped returns a sentence that fits in a refusal.
func clipped(sentence string) string {
	if len(sentence) > maxDetailBytes {
		return strings.ToValidUTF8(sentence[:maxDetailBytes-3], "") + "..."
	}
	return sentence
}

// refusal decodes a refusal and the hello in it. An unknown reason is accepted,
// since it is only logged.
func (d *decoder) refusal(body []byte) (*refusedError, error) {
	content, err := greetingContent(kindRefusal, body)
	if err != nil {
		return nil, err
	}
	r := new(refusedError)
	if err := d.decode(content, refusalShape, &r.refusal); err != nil {
		return nil, err
	}
	if r.Hello, r.Detail = append(packedBytes{}, r.Hello...), strings.ToValidUTF8(r.Detail, "?"); len(r.Hello) > maxHelloBody {
		return nil, malformed("a refusal with a hello of %d bytes", len(r.Hello))
	}
	theirs, ok := helloVersion(r.Hello)
	if !ok {
		return nil, malformed("the refusal contains no valid hello")
	}
	if theirs != version {
		return r, nil // by stays empty: the word of a server that we do not understand
	}
	if r.by, err = d.helloContent(r.Hello); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return r, nil
}

// credible returns nil if the word of the server that refuses us counts: it is the
// peer p of this cluster, on the directory that we know. Any program may listen at a
// peer's address, and a server of an earlier cluster of this name honestly takes us
// for another server.
func (t *Transport) credible(p *peer, by *hello) error {
	if by.Version != version {
		return &rejection{reason: ReasonVersion, detail: "it does not speak our version"}
	}
	if err := t.judge(by, func(id core.ID) bool { return id == p.id }); err != nil {
		return err
	}
	l, err := by.life()
	if err == nil {
		err = t.hearUID(p, by.uid(), false)
	}
	if err != nil {
		return err
	}
	ours, atOdds := t.presumed()
	if atOdds {
		return errors.New("peers name different uids of this cluster")
	}
	release, err := t.takeMemory()
	if err != nil {
		return err
	}
	defer release()
	if doubt := t.known(p).Credible(ours, by.identity(l)); doubt != "" {
		return errors.New(doubt)
	}
	return nil
}
