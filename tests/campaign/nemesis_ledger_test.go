package campaign

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

// ledger is clients that append numbered tokens over HTTP, each to a key of its
// own and each token under an idempotency key, at any node, until it is
// acknowledged. Nothing is ever given up, so in the end every token must be
// there, once and in order, whatever happened meanwhile.
type ledger struct {
	stop     context.CancelFunc
	running  sync.WaitGroup
	keys     []string
	written  []int // tokens acknowledged, by key
	attempts atomic.Int64
}

const (
	ledgerClients = 8
	// ledgerPause keeps the values short enough for what they are: an hour of
	// tokens is some hundreds of KiB.
	ledgerPause = 50 * time.Millisecond
)

func startLedger(prefix string, nodes []*cluster.Node) *ledger {
	ctx, stop := context.WithCancel(context.Background())
	l := &ledger{stop: stop, written: make([]int, ledgerClients)}
	for i := range ledgerClients {
		l.keys = append(l.keys, fmt.Sprintf("%s-%d", prefix, i))
	}
	for i := range ledgerClients {
		l.running.Go(func() { l.write(ctx, i, nodes) })
	}
	return l
}

func (l *ledger) write(ctx context.Context, i int, nodes []*cluster.Node) {
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Second}
	for turn := i; ; turn++ {
		token := fmt.Sprintf(cluster.TokenFormat, l.written[i])
		request, err := http.NewRequest("POST", "http://"+nodes[turn%len(nodes)].HTTP+"/v1/kv/"+l.keys[i]+"?op=append", strings.NewReader(token))
		if err != nil {
			panic(err) // the address is ours
		}
		request.Header.Set(api.HeaderIdempotencyKey, fmt.Sprintf("%s-%d", l.keys[i], l.written[i]))
		l.attempts.Add(1)
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == 200 {
				l.written[i]++
				if !cluster.Sleep(ctx, ledgerPause) {
					return
				}
				continue
			}
		}
		// The token is tried again until it is there, also when the end has come.
		time.Sleep(10 * time.Millisecond)
	}
}

// end waits until every token that was begun is acknowledged.
func (l *ledger) end() {
	l.stop()
	l.running.Wait()
}

// verify wants all tokens, once and in order, and returns how many they are.
func (l *ledger) verify(t *testing.T, s *cluster.Node) (tokens int) {
	t.Helper()
	for i, key := range l.keys {
		if l.written[i] > 0 {
			checkOnce(t, s, key, l.written[i])
		}
		tokens += l.written[i]
	}
	return tokens
}
