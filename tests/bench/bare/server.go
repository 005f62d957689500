package bare

import (
	"bytes"
	"io"
	"net"
	"net/http"

	"raftkv/kvserver/api"
)

// Serve answers requests on the listener until it fails. A GET is answered with a
// value of that length.
func Serve(l net.Listener, valueBytes int) error {
	value := bytes.Repeat([]byte("v"), valueBytes)
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/kv/", func(w http.ResponseWriter, r *http.Request) {
		// Client believes answers of nodes only.
		w.Header()[api.HeaderNode] = node
		if r.Method == http.MethodPut {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			_, _ = w.Write(done) // the client has gone if it fails
			return
		}
		_, _ = w.Write(value)
	})
	return (&http.Server{Handler: mux}).Serve(l)
}

var (
	node = []string{"bare"}
	done = []byte("ok\n")
)
