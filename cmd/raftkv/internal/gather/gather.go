package gather

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/flight"
	"raftkv/kvserver/api"
	"raftkv/kvserver/recorder"
	"raftkv/raft/vfs"
)

// Answer is what one endpoint or path gave.
type Answer struct {
	From  string // endpoint or path
	Rings []recorder.Ring
	Err   error // Rings may hold something all the same
}

// MaxWait bounds how long all nodes have to answer: what happened is to be told within 2 s.
const MaxWait = 1500 * time.Millisecond

// pageEvents is how many events are asked for at once.
const pageEvents = 10_000

// maxPageBytes bounds an answer.
const maxPageBytes = 8 << 20

// Ask asks all endpoints at the same time for their events of the last seconds; 0 means
// all that they hold.
func Ask(ctx context.Context, endpoints []string, seconds int, timeout time.Duration) []Answer {
	ctx, cancel := context.WithTimeout(ctx, min(timeout, MaxWait))
	defer cancel()
	all := make([]Answer, len(endpoints))
	var asking sync.WaitGroup
	for i, e := range endpoints {
		asking.Go(func() {
			rings, err := askOne(ctx, e, seconds)
			all[i] = Answer{e, rings, err}
		})
	}
	asking.Wait()
	return all
}

// askOne asks one node, page by page.
func askOne(ctx context.Context, endpoint string, seconds int) (rings []recorder.Ring, err error) {
	after := uint64(0)
	for {
		path := fmt.Sprintf("/v1/recorder?limit=%d&after=%d", pageEvents, after)
		if seconds > 0 {
			path += fmt.Sprintf("&seconds=%d", seconds)
		}
		page, err := askPage(ctx, endpoint, path)
		if err != nil {
			return rings, err
		}
		count := 0
		for _, r := range page {
			count += len(r.Events)
			for _, e := range r.Events {
				if e.Seq <= after {
					return rings, fmt.Errorf("answers with event %d where one behind %d was asked for", e.Seq, after)
				}
				after = e.Seq
			}
		}
		rings = append(rings, page...)
		if count < pageEvents {
			return rings, nil
		}
	}
}

// AskRequest asks all endpoints what their nodes keep of the requests of a name. The
// answers say which nodes gave nothing; they hold no rings.
func AskRequest(ctx context.Context, endpoints []string, id string, timeout time.Duration) (trails []api.RequestTrail, asked []Answer) {
	ctx, cancel := context.WithTimeout(ctx, min(timeout, MaxWait))
	defer cancel()
	kept := make([][]api.RequestTrail, len(endpoints))
	asked = make([]Answer, len(endpoints))
	var asking sync.WaitGroup
	for i, e := range endpoints {
		asking.Go(func() {
			asked[i].From = e
			response, err := ask.Node(ctx, e, http.MethodGet, "/v1/recorder?request="+url.QueryEscape(id), nil)
			if err != nil {
				asked[i].Err = err
				return
			}
			defer response.Body.Close()
			var answer api.RequestTrails
			if err := json.NewDecoder(io.LimitReader(response.Body, maxPageBytes)).Decode(&answer); err != nil {
				asked[i].Err = fmt.Errorf("answers, and not like a node: %w", exit.LastCause(err))
				return
			}
			kept[i] = answer.Requests
		})
	}
	asking.Wait()
	for _, k := range kept {
		trails = append(trails, k...)
	}
	return trails, asked
}

func askPage(ctx context.Context, endpoint, path string) ([]recorder.Ring, error) {
	response, err := ask.Node(ctx, endpoint, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	rings, err := recorder.ReadLines(io.LimitReader(response.Body, maxPageBytes))
	if err != nil {
		return nil, fmt.Errorf("answers, and not like a node: %w", exit.LastCause(err))
	}
	return rings, nil
}

// Read reads what a path holds: the data directory of a node, or a file with the answer
// of /v1/recorder. The node may run meanwhile.
func Read(path string) Answer {
	info, err := os.Stat(path)
	if err != nil {
		return Answer{path, nil, exit.LastCause(err)}
	}
	if !info.IsDir() {
		return readFile(path)
	}
	rings, err := flight.ReadDirectory(vfs.ReadOnly{}, path)
	if err == nil && len(rings) == 0 {
		_, err = os.Stat(filepath.Join(path, "flight"))
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("holds no directory \"flight\": name the data directory of a node")
		} else {
			err = errors.New("its flight files hold nothing that can be read")
		}
	}
	return Answer{path, rings, err}
}

// readFile reads a file of lines, as /v1/recorder answers.
func readFile(path string) Answer {
	f, err := os.Open(path)
	if err != nil {
		return Answer{path, nil, exit.LastCause(err)}
	}
	defer f.Close()
	rings, err := recorder.ReadLines(f)
	return Answer{path, rings, err}
}
