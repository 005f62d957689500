package httpd

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/kv"
)

// overEachRoad runs a test over both roads on which a follower can pass writes on.
func overEachRoad(t *testing.T, test func(t *testing.T, frames bool)) {
	t.Helper()
	for name, frames := range map[string]bool{"HTTP": false, "frames": true} {
		t.Run(name, func(t *testing.T) { test(t, frames) })
	}
}

// byFrames makes a follower pass writes on as commands.
func byFrames(c *settings) { c.frames = true }

// frameLeader is node n2 of cluster c1, which takes forwarded commands. The script gets
// each and returns its answer; nil ends the connection without a word, as when a leader
// is killed.
type frameLeader struct {
	address string
	script  func(n int, c kv.Command) *reply

	mu       sync.Mutex // guards the fields below
	commands []kv.Command
	ids      []string
	others   int // requests of HTTP that were no upgrade
	greeted  int
	conns    []net.Conn
}

// reply is a frame that answers a command.
type reply struct {
	kind    clerkwire.Kind
	message clerkwire.Message
}

// done is the answer of a leader that did what it was asked for.
func done() *reply {
	return &reply{clerkwire.KindForwarded, clerkwire.Forwarded{Node: "n2", Leader: "n2", Term: 3, Revision: 5, Version: 1, Length: 1, Deleted: true}}
}

func newFrameLeader(t *testing.T, script func(n int, c kv.Command) *reply) *frameLeader {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &frameLeader{address: l.Addr().String(), script: script}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			serving.Go(func() { defer conn.Close(); f.serve(t, conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.cut()
		serving.Wait()
	})
	return f
}

// cut ends all connections.
func (f *frameLeader) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.conns {
		conn.Close()
	}
}

func (f *frameLeader) serve(t *testing.T, conn net.Conn) {
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	if r.Header.Get("Upgrade") != clerkwire.Protocol2 {
		f.mu.Lock()
		f.others++
		f.mu.Unlock()
		return
	}
	if r.URL.Path != clerkwire.Path || r.Header.Get(api.HeaderForwarded) != "n1" || r.Header.Get(api.HeaderCluster) != "c1" {
		t.Errorf("the upgrade is for %s with %v", r.URL, r.Header)
	}
	f.mu.Lock()
	f.greeted++
	f.mu.Unlock()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+clerkwire.Protocol2+
		"\r\n"+api.HeaderNode+": n2\r\n"+api.HeaderCluster+": c1\r\n\r\n")
	frames := clerkwire.NewFrameReader(conn, in, clerkwire.Forwards)
	for {
		h, err := frames.Next()
		if err != nil {
			return
		}
		body, err := frames.Body(h)
		if err != nil {
			return
		}
		said := f.take(t, body)
		if said == nil {
			return
		}
		_, _ = conn.Write(clerkwire.AppendFrame(nil, said.kind, h.Number, said.message))
	}
}

// take notes a command and asks the script.
func (f *frameLeader) take(t *testing.T, body []byte) *reply {
	var m clerkwire.Forward
	if err := m.Parse(body); err != nil {
		t.Errorf("a body that cannot be read: %v", err)
		return nil
	}
	c, err := kv.DecodeCommand(m.Command)
	if err == nil {
		err = c.CheckAsked()
	}
	if err != nil || m.Left <= 0 {
		t.Errorf("the command %+v with %v left: %v", c, m.Left, err)
	}
	c.Key, c.Value = append([]byte{}, c.Key...), append([]byte{}, c.Value...)
	f.mu.Lock()
	f.commands, f.ids = append(f.commands, c), append(f.ids, m.RequestID)
	n := len(f.commands)
	f.mu.Unlock()
	return f.script(n, c)
}

// got returns the commands that came, and how many requests of HTTP.
func (f *frameLeader) got() (commands []kv.Command, others int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]kv.Command{}, f.commands...), f.others
}
