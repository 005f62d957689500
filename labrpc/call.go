package labrpc

import (
	"bytes"
	"fmt"
	"log"
	"reflect"
	"time"

	"raftkv/labrpc/labgob"
)

// ClientEnd is the caller's end of a wire; Network.MakeEnd makes it. It is safe
// for concurrent use.
type ClientEnd struct {
	network *Network

	// Guarded by network.mu.
	servername any           // nil when unconnected
	cut        chan struct{} // closed when the end is disabled; nil while it is
}

// request is a call on its way to a handler.
type request struct {
	method   string       // "Service.Method"
	argsType reflect.Type // the caller's own type: the handler must take the same
	args     []byte
}

// Call runs the method svcMeth, "Service.Method" split at the last dot, of the
// server that the end leads to. It stores the method's answer in reply. That must
// be a pointer to the type that the method's reply points to, and should point to
// a zero value. The type of args must be exactly the type of the method's first
// parameter, a pointer if that is one.
//
// Call returns true when the handler ran and its reply arrived. It returns false
// when the request or the reply was lost, when the end is disabled or leads to no
// server, and after Cleanup. It also returns false when the end was disabled, or
// the server deleted or replaced, before the handler returned. In these cases the
// handler may or may not have run. Call checks every 100 ms whether the end is
// disabled; a stuck handler does not hold it up for longer. There is no other
// time-out: Call takes as long as the handler.
//
// Call panics if args cannot be encoded. An unknown service or method, and
// arguments or a reply of another type than the method's, end the process.
func (e *ClientEnd) Call(svcMeth string, args, reply any) bool {
	// A fresh encoder per call describes the types anew each time: one call
	// must not depend on whether another one arrived.
	var encoded bytes.Buffer
	if err := labgob.NewEncoder(&encoded).Encode(args); err != nil {
		panic(fmt.Sprintf("labrpc: %s: arguments of type %T cannot be encoded: %v", svcMeth, args, err))
	}
	n := e.network
	f, ok := n.send(e, encoded.Len())
	if !ok || !n.pass(f.wait) || f.to == nil || f.requestLost {
		return false
	}
	answer, ok := e.exchange(f, request{svcMeth, reflect.TypeOf(args), encoded.Bytes()})
	if !ok || f.replyLost || !n.pass(f.replyLate) || !n.arrive(len(answer)) {
		return false
	}
	if err := labgob.NewDecoder(bytes.NewReader(answer)).Decode(reply); err != nil {
		log.Fatalf("labrpc: %s: the reply cannot be decoded into a %T: %v", svcMeth, reply, err)
	}
	return true
}

// exchange hands the request to its server and waits for the encoded reply. It
// returns false when there is none, or when it could not be sent back.
func (e *ClientEnd) exchange(f fate, req request) (answer []byte, ok bool) {
	select {
	case <-f.to.gone: // while the request was pending
		return nil, false
	default:
	}
	answers := make(chan []byte, 1) // the handler may return after the call did
	go func() { answers <- f.to.server.dispatch(req) }()
	started := time.Now()
	cut := f.cut
	var timer *time.Timer
	var look <-chan time.Time // fires once for each time that the end is disabled
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	for {
		select {
		case answer := <-answers:
			return answer, e.leadsTo(f.to)
		case <-f.to.gone:
			return nil, false
		case <-e.network.done:
			return nil, false
		case <-cut:
			timer = time.NewTimer(lookEvery - time.Since(started)%lookEvery)
			cut, look = nil, timer.C
		case <-look:
			if cut = e.whileEnabled(); cut == nil {
				return nil, false
			}
		}
	}
}

// leadsTo reports whether a reply from this server can be sent to the end.
func (e *ClientEnd) leadsTo(to *registration) bool {
	e.network.mu.Lock()
	defer e.network.mu.Unlock()
	select {
	case <-to.gone:
		return false
	default:
		return e.cut != nil
	}
}

// whileEnabled returns a channel that is closed when the end is disabled. It
// returns nil if the end is disabled now.
func (e *ClientEnd) whileEnabled() <-chan struct{} {
	e.network.mu.Lock()
	defer e.network.mu.Unlock()
	return e.cut
}

// enable does the work of Network.Enable for this end; the caller holds the
// network's mutex.
func (e *ClientEnd) enable(enabled bool) {
	switch {
	case enabled && e.cut == nil:
		e.cut = make(chan struct{})
	case !enabled && e.cut != nil:
		close(e.cut)
		e.cut = nil
	}
}
