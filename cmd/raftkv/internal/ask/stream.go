package ask

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Stream is a long answer that a node sends. Reading fails if nothing comes for
// as long as the user waits.
type Stream struct {
	body    io.ReadCloser
	Header  http.Header
	timeout time.Duration
	cancel  context.CancelFunc
	err     error // why reading ended, but for the end
}

// OpenStream asks a node for a long answer. The node has timeout to begin, and then
// as long for every part.
func OpenStream(ctx context.Context, endpoint, path string, timeout time.Duration, headers ...string) (*Stream, error) {
	i := &Stream{timeout: timeout}
	ctx, i.cancel = context.WithCancel(ctx)
	patience := time.AfterFunc(timeout, i.cancel)
	response, err := Node(ctx, endpoint, http.MethodGet, path, nil, headers...)
	if !patience.Stop() {
		if err == nil {
			response.Body.Close()
		}
		err = fmt.Errorf("no answer within %v", timeout)
	}
	if err != nil {
		i.cancel()
		return nil, err
	}
	i.body, i.Header = response.Body, response.Header
	return i, nil
}

func (i *Stream) Read(p []byte) (int, error) {
	patience := time.AfterFunc(i.timeout, i.cancel)
	n, err := i.body.Read(p)
	if !patience.Stop() && err != nil {
		err = fmt.Errorf("nothing came for %v", i.timeout)
	}
	if err != nil && err != io.EOF {
		i.err = err
	}
	return n, err
}

// Failed returns why reading ended before the end; nil if it did not.
func (i *Stream) Failed() error { return i.err }

func (i *Stream) Close() error {
	defer i.cancel()
	return i.body.Close()
}
