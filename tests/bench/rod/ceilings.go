package rod

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"raftkv/client/bench"
	"raftkv/tests/bench/bare"
	"raftkv/tests/bench/pipeline"
	"raftkv/tests/cluster"
)

// Pipeline is the ideal durable pipeline, the ceiling of puts by Clerk.
type Pipeline struct {
	Group
	client *pipeline.Client
}

// StartPipeline starts the side. It ends with the test, whose binary must call Main.
func StartPipeline(t *testing.T) (*Pipeline, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &Pipeline{}
	ports := cluster.FreePorts(t, 3)
	dir := t.TempDir()
	for i, address := range ports[1:] {
		name := fmt.Sprintf("follower%d", i+1)
		s.Group = append(s.Group, Launch(t, name, self, "-rod.role=follower", "-rod.listen="+address, "-rod.dir="+filepath.Join(dir, name)))
		if err := await(address); err != nil {
			return nil, err
		}
	}
	s.Group = append(s.Group, Launch(t, "leader", self, "-rod.role=leader", "-rod.listen="+ports[0], "-rod.dir="+filepath.Join(dir, "leader"), "-rod.peers="+ports[1]+","+ports[2]))
	if err := await(ports[0]); err != nil {
		return nil, err
	}
	if s.client, err = pipeline.Dial(ports[0], clerks); err != nil {
		return nil, err
	}
	t.Cleanup(s.client.Close)
	ctx, cancel := context.WithTimeout(t.Context(), cluster.Patience)
	defer cancel()
	if failure := s.client.Do(ctx, 0, bench.Put, "first", nil); failure != "" {
		return nil, fmt.Errorf("the pipeline does not serve: %s", failure)
	}
	return s, nil
}

// Name returns "pipeline".
func (s *Pipeline) Name() string { return "pipeline" }

// Serves reports whether the row is puts by Clerk.
func (s *Pipeline) Serves(r Row) bool { return r.Face == Clerk && r.Mix.String() == "put=1" }

// Load returns the client, which has as many connections as there are Clerks.
func (s *Pipeline) Load(Row) (bench.Target, func(), error) { return s.client, func() {}, nil }

// Echo is a bare server of net/http, the ceiling of everything over HTTP.
type Echo struct {
	Group
	address string
}

// StartEcho starts the side. It ends with the test, whose binary must call Main.
func StartEcho(t *testing.T) (*Echo, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &Echo{address: cluster.FreePorts(t, 1)[0]}
	s.Group = Group{Launch(t, "echo", self, "-rod.role=echo", "-rod.listen="+s.address)}
	return s, await(s.address)
}

// Name returns "echo".
func (s *Echo) Name() string { return "echo" }

// Serves reports whether the row is over HTTP at a leader: it has no follower.
func (s *Echo) Serves(r Row) bool { return r.Face == HTTP }

// Load returns new connections.
func (s *Echo) Load(r Row) (bench.Target, func(), error) {
	c, err := bare.Dial(s.address, r.Clients, bare.Raftkv)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}

// await waits until a program listens that was just started.
func await(address string) error {
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		c, err := bare.Dial(address, 1, bare.Raftkv)
		if err == nil {
			c.Close()
			return nil
		}
		if time.Since(begun) > cluster.Patience {
			return fmt.Errorf("nobody listens on %s: %w", address, err)
		}
	}
}
