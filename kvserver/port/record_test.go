package port

import (
	"net/http"
	"testing"
)

// Goal: a request with a chunked body is served behind another one on the same
// connection, also if the server took its first byte while it looked for the end
// of the client.
// Method: the record of a connection with and without the first byte of the header.
func TestAHeaderIsKnownWithoutItsFirstByte(t *testing.T) {
	for _, c := range []struct {
		record string
		want   rawHead
	}{
		{"POST /v1/kv/k HTTP/1.1\r\nContent-Length: 1\r\n\r\nTransfer-Encoding: chunked", rawHead{known: true, lengths: 1}},
		{"OST /v1/kv/k HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", rawHead{known: true, codings: 1}},
		{"\r\nPOST /v1/kv/k HTTP/1.1\nContent-Length: 1\r\ncontent-length:1\r\n\r\n", rawHead{known: true, lengths: 2, bareLF: true}},
		{"POST /v1/kv/k HTTP/1.1\r\nContent-Length: 010\r\n\r\n", rawHead{known: true, lengths: 1, oddLength: true}},
		{"ST /v1/kv/k HTTP/1.1\r\n\r\n", rawHead{}},
		{"", rawHead{}},
	} {
		r := &http.Request{Method: "POST", RequestURI: "/v1/kv/k", Proto: "HTTP/1.1"}
		conn := &Conn{record: []byte(c.record)}
		if got := conn.rawHead(r); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.record, got, c.want)
		}
	}
}
