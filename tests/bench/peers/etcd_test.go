package peers

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.uber.org/zap"

	"raftkv/client/bench"
	"raftkv/tests/bench/bare"
	"raftkv/tests/bench/rod"
	"raftkv/tests/cluster"
)

// etcdConns is how many clients share the load, as many as raftkv has Clerks. They are
// spread over the members.
const etcdConns = 8

// serveEtcd is etcd. Its arguments are those that the flags have left over.
func serveEtcd(rod.Server) error {
	go rod.EndWithInput()
	etcdmain.Main(append([]string{"etcd"}, flag.Args()...))
	return errors.New("etcd has ended")
}

// etcd is a side of three members.
type etcd struct {
	rod.Group
	endpoints []string // host:port, by member
	clients   []*clientv3.Client
	leader    int // the place of its endpoint
}

func startEtcd(t *testing.T) (*etcd, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ports := cluster.FreePorts(t, 6)
	s := &etcd{endpoints: ports[:3]}
	var members []string
	for i, address := range ports[3:] {
		members = append(members, fmt.Sprintf("n%d=http://%s", i+1, address))
	}
	dir := t.TempDir()
	for i := range 3 {
		name, here, peer := fmt.Sprintf("n%d", i+1), "http://"+ports[i], "http://"+ports[3+i]
		s.Group = append(s.Group, rod.Launch(t, "etcd-"+name, self, "-rod.role=etcd", "--",
			"--name", name, "--data-dir", filepath.Join(dir, name),
			"--listen-client-urls", here, "--advertise-client-urls", here,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(members, ","), "--initial-cluster-token", "bench",
			"--log-level", "error", // in its favour: nothing is logged
			"--quota-backend-bytes", strconv.Itoa(8<<30))) // so that it never stops for lack of room
	}
	for i := range etcdConns {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.endpoints[i%3]}, DialTimeout: cluster.Patience, Logger: zap.NewNop()})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		s.clients = append(s.clients, c)
	}
	return s, s.Ready()
}

// Name returns "etcd".
func (s *etcd) Name() string { return "etcd" }

// Serves reports whether the row's clients are outside of the processes.
func (s *etcd) Serves(r rod.Row) bool { return r.Face != rod.InProcess && r.Name != rod.HTTPStale.Name }

// Load returns the clients, or connections to the JSON gateway of a member.
func (s *etcd) Load(r rod.Row) (bench.Target, func(), error) {
	at := s.endpoints[s.leader]
	switch r.Face {
	case rod.Clerk:
		var all rod.Spread
		for _, c := range s.clients {
			all = append(all, etcdTarget{c})
		}
		return all, func() {}, nil
	case rod.HTTPFollower:
		at = s.endpoints[(s.leader+1)%3]
	}
	c, err := bare.Dial(at, r.Clients, gateway)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}

// Ready waits until every member serves a linearizable read, and finds the leader.
func (s *etcd) Ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), cluster.Patience)
	defer cancel()
	for i, endpoint := range s.endpoints {
		for {
			attempt, end := context.WithTimeout(ctx, 2*time.Second)
			_, err := s.clients[i].Get(attempt, "k")
			end()
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%s does not serve: %w", endpoint, err)
			}
		}
		status, err := s.clients[i].Status(ctx, endpoint)
		if err != nil {
			return fmt.Errorf("the status of %s: %w", endpoint, err)
		}
		if status.Leader == status.Header.MemberId {
			s.leader = i
		}
	}
	return nil
}

// etcdTarget makes requests by etcd's client.
type etcdTarget struct{ client *clientv3.Client }

// Do makes one request.
func (t etcdTarget) Do(ctx context.Context, _ int, op bench.Op, key string, value []byte) string {
	var err error
	switch op {
	case bench.Put:
		_, err = t.client.Put(ctx, key, string(value))
	case bench.Get:
		_, err = t.client.Get(ctx, key)
	case bench.Stale:
		_, err = t.client.Get(ctx, key, clientv3.WithSerializable())
	}
	if err != nil {
		return "unknown " + strings.ReplaceAll(err.Error(), " ", "_")
	}
	return ""
}

// gateway is etcd over HTTP: keys and values are base64 in JSON.
var gateway = bare.Protocol{Append: appendGatewayRequest, Header: "Grpc-Metadata-Content-Type"}

func appendGatewayRequest(b []byte, host string, op bench.Op, key string, value []byte) []byte {
	encoding := base64.StdEncoding
	body := make([]byte, 0, 64+encoding.EncodedLen(len(key))+encoding.EncodedLen(len(value)))
	body = encoding.AppendEncode(append(body, `{"key":"`...), []byte(key))
	path := "range"
	if op == bench.Put {
		path = "put"
		body = encoding.AppendEncode(append(body, `","value":"`...), value)
	}
	body = append(body, `"}`...)
	b = append(b, "POST /v3/kv/"+path+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// Goal: the gateway is asked as it wants to be. Method: the bytes of a put and of a get.
func TestGatewayRequests(t *testing.T) {
	for op, want := range map[bench.Op]string{
		bench.Put: "POST /v3/kv/put HTTP/1.1\r\nHost: h\r\nContent-Length: 29\r\n\r\n" + `{"key":"aw==","value":"dg=="}`,
		bench.Get: "POST /v3/kv/range HTTP/1.1\r\nHost: h\r\nContent-Length: 14\r\n\r\n" + `{"key":"aw=="}`,
	} {
		if got := appendGatewayRequest(nil, "h", op, "k", []byte("v")); !slices.Equal(got, []byte(want)) {
			t.Errorf("%s: %q, want %q", op, got, want)
		}
	}
}
