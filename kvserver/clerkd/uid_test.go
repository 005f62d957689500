package clerkd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/client"
	"raftkv/kvserver/api"
	"raftkv/kvserver/port"
	"raftkv/raft"
)

// doorway is a network in memory whose one address leads to the server that the
// test puts there.
type doorway struct {
	come chan net.Conn
}

func (d *doorway) Accept() (net.Conn, error) {
	c, open := <-d.come
	if !open {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (d *doorway) Close() error   { return nil }
func (d *doorway) Addr() net.Addr { return &net.TCPAddr{} }

// behindDoor serves s and returns where connections to it are put.
func behindDoor(t *testing.T, s *testServer) *doorway {
	d := &doorway{come: make(chan net.Conn)}
	server := port.NewServer(s.http.Handler())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(s.port.Listener(d)); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		close(d.come)
		server.Close()
		<-ended
	})
	return d
}

func ofUID(b byte) func(*raft.Status) {
	return func(s *raft.Status) { s.UID[0] = b }
}

// Goal: when a cluster was emptied and begun again under a living Clerk, with the
// same name, address and session ids, no call of the Clerk is taken for an old
// call of anybody, and none happens there: the Clerk names both uids. A Clerk that
// is dialled anew works, and so does the old one when its own cluster is back.
// Method: the real server and the real Clerk; two clusters in which the same
// session, lane and number were used, exchanged behind one address.
func TestAClerkKnowsAClusterThatWasBegunAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var doors []*doorway
		var servers []*testServer
		for _, uid := range []byte{0xaa, 0xbb} {
			s, log := newServer(t, nil)
			log.Set(ofUID(uid))
			servers = append(servers, s)
			doors = append(doors, behindDoor(t, s))
		}
		present := doors[0]
		var open []net.Conn
		dial := func(ctx context.Context, _ string) (net.Conn, error) {
			here, there := net.Pipe()
			select {
			case present.come <- there:
				open = append(open, here)
				return here, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		exchange := func(to *doorway) {
			present = to
			for _, c := range open {
				c.Close()
			}
			open = nil
			synctest.Wait()
		}
		clerk := func() *client.Clerk {
			c, err := client.Dial(t.Context(), client.Config{Endpoints: []string{"kv:1"}, Dial: dial, Connections: 1})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		first := clerk()
		defer first.Close()
		if _, err := first.Append(t.Context(), "k", []byte("a")); err != nil {
			t.Fatal(err)
		}
		exchange(doors[1])
		second := clerk()
		defer second.Close()
		if _, err := second.Append(t.Context(), "k", []byte("b")); err != nil {
			t.Fatal(err)
		}
		if stored(servers[1], "k") != "b" {
			t.Fatalf("the new cluster has %q", stored(servers[1], "k"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := first.Append(ctx, "k", []byte("c"))
		if err == nil || !strings.Contains(fmt.Sprint(err), "aa000") || !strings.Contains(fmt.Sprint(err), "bb000") {
			t.Errorf("the old Clerk in the new cluster: %v", err)
		}
		if stored(servers[1], "k") != "b" {
			t.Errorf("a call of the old Clerk happened in the new cluster: %q", stored(servers[1], "k"))
		}
		exchange(doors[0])
		if _, err := first.Append(t.Context(), "k", []byte("d")); err != nil || stored(servers[0], "k") != "ad" {
			t.Errorf("in its own cluster: %v, %q", err, stored(servers[0], "k"))
		}
	})
}

// Goal: a Clerk that came before the cluster had begun hears its uid before it
// writes: a write on the old connection is refused as not applied, and the Clerk
// goes on by itself on a new one. Method: a connection that was greeted without a
// uid, which is then known; raw and by the real Clerk.
func TestAClerkThatCameBeforeTheUIDHearsIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		d := behindDoor(t, s)
		dials := 0
		c, err := client.Dial(t.Context(), client.Config{Endpoints: []string{"kv:1"}, Connections: 1,
			Dial: func(context.Context, string) (net.Conn, error) {
				here, there := net.Pipe()
				dials++
				d.come <- there
				return here, nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Get(t.Context(), "k"); api.Code(codeOf(err)) != api.CodeKeyNotFound {
			t.Fatal(err)
		}
		log.Set(ofUID(1))
		if _, err := c.Append(t.Context(), "k", []byte("a")); err != nil || stored(s, "k") != "a" || dials != 2 {
			t.Errorf("%v, %q is stored, %d connections", err, stored(s, "k"), dials)
		}
	})
}

func codeOf(err error) string {
	var e *client.Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return fmt.Sprint(err)
}
