package panel

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/stage"
	"raftkv/raft/core"
)

// Open puts nodes on a stage and starts them. again opens the ports of the i-th of them
// once more. made is called when all data directories are open, before any node takes part
// in the cluster. If it fails, no port is open.
func Open(configs []host.Config, again func(i int) (host.Config, error), made func() error) (*stage.Stage, error) {
	s := stage.New(nil)
	for i, first := range configs {
		used := false
		s.Add(first.ID, func() (host.Config, error) {
			if !used {
				used = true
				return first, nil
			}
			return again(i)
		})
	}
	err := open(s, configs, made)
	for _, c := range configs {
		if err == nil {
			err = s.Start(c.ID)
		}
	}
	if err != nil {
		s.End(false)
		return nil, err
	}
	return s, nil
}

// open opens the data directories of all nodes.
func open(s *stage.Stage, configs []host.Config, made func() error) error {
	for i, c := range configs {
		if err := s.Open(c.ID); err != nil {
			for _, unused := range configs[i+1:] {
				unused.HTTP.Close()
				unused.Peer.Close()
			}
			return err
		}
	}
	return made()
}

// writePatience bounds the time for a write of a play.
const writePatience = 5 * time.Second

// Play plays a scenario and writes its captions to out, with the time since it began.
func Play(ctx context.Context, s *stage.Stage, of stage.Scenario, out io.Writer) {
	begun := time.Now()
	say := func(text string) { fmt.Fprintf(out, "%5.1f s  %s\n", time.Since(begun).Seconds(), text) }
	fmt.Fprintf(out, "\nThe scenario %s: %s.\n\n", of.Name, of.About)
	switch err := s.Play(ctx, of, write(s), say); {
	case ctx.Err() != nil:
	case err != nil:
		fmt.Fprintf(out, "\nThe scenario has ended early: %v.\n", err)
	default:
		since := (time.Since(begun) + 10*time.Second).Round(10 * time.Second)
		fmt.Fprintf(out, "\nThat was all. What the nodes say of it: raftkv explain --since %v\n", since)
	}
}

// write returns how a play has nodes write, over their client ports.
func write(s *stage.Stage) stage.Write {
	client := &http.Client{Timeout: writePatience, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	return func(ctx context.Context, id core.ID, key string, length int) error {
		node := s.Node(id)
		if node == nil {
			return fmt.Errorf("node %s does not run", id)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+node.Address()+"/v1/kv/"+url.PathEscape(key), strings.NewReader(strings.Repeat("x", length)))
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode >= http.StatusMultipleChoices {
			return fmt.Errorf("node %s answers %s", id, response.Status)
		}
		return nil
	}
}
