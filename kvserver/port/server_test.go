package port

import (
	"testing"
	"time"
)

// Goal: the client port has the limits that strangers call for.
// Method: the fields of the http.Server, and their order among each other.
func TestTheClientPortHasLimits(t *testing.T) {
	h := NewServer(nil)
	if h.ReadHeaderTimeout <= 0 || h.ReadHeaderTimeout > time.Minute || h.ReadTimeout <= 0 || h.IdleTimeout <= 0 || h.MaxHeaderBytes != 32<<10 {
		t.Errorf("%+v", h)
	}
	const requestTimeout = 10 * time.Second // of kvserver.Config, by default
	if h.WriteTimeout < h.ReadTimeout+requestTimeout {
		t.Error("an answer may come when its connection is closed already")
	}
	if h.Protocols.HTTP2() || h.Protocols.UnencryptedHTTP2() || len(h.TLSNextProto) != 0 || h.TLSNextProto == nil {
		t.Error("HTTP/2 is on")
	}
}
