package host

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/raft/levels"
	"raftkv/raft/vfs"
)

// Goal: a server that is to take the place of a voter which is alive does not ask for ever: it
// would get in when the voter is started anew weeks later. Method: the answers of two minutes,
// with other failures between them.
func TestAServerDoesNotWaitForEverForAVoterToDie(t *testing.T) {
	alive, other := refused("n3 answers", api.CodePreconditionFailed), errors.New("connection refused")
	begun := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		timeout, gaveUp time.Duration
	}{"short timeouts": {300 * time.Millisecond, 30 * time.Second}, "long ones": {2 * time.Second, time.Minute}} {
		var vain askedInVain
		for after := time.Duration(0); after <= 2*time.Minute; after += time.Second {
			answer := alive
			if after%(7*time.Second) == 3*time.Second {
				answer = other
			}
			if got, want := vain.tooLong(answer, begun.Add(after), c.timeout), after >= c.gaveUp && answer == alive; got != want {
				t.Fatalf("%s: after %v it gives up: %v", name, after, got)
			}
		}
		// A new leader has seen no silence yet, however long there was none before it.
		for _, after := range []time.Duration{3 * time.Minute, 3*time.Minute + time.Second} {
			if vain.tooLong(alive, begun.Add(after), c.timeout) {
				t.Errorf("%s: it gives up %v behind a time without a leader", name, after)
			}
		}
	}
}

// Goal: a node that has become a member asks nobody any more whether it may: no answer takes
// its members away, or ends it. Method: a node that has joined asks servers that refuse it and
// that let it in, as if its earlier question had had no answer.
func TestAMemberDoesNotAskToJoin(t *testing.T) {
	nodes := atLevelThree(t, vfs.NewCrashable())
	token := joinToken(t, nodes[0], "{}")
	c := joiner(t, nodes[0].config, "n2", token, nodes[0])
	c.Join.Role = "replica"
	n2 := runs(t, c)
	t.Cleanup(func() { n2.Close() })
	eventually(t, "n2 is a member", func() bool { return n2.isMember() })
	asked := false
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = true
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"code":"join_refused","detail":"the token is used up"}`)
	}))
	defer refuses.Close()
	n2.config.Join.Addresses = []string{strings.TrimPrefix(refuses.URL, "http://")}
	if err := n2.join(t.Context()); err != nil || asked {
		t.Errorf("asked: %v; it ends with %v", asked, err)
	}
	late := api.Joined{UID: membersOf(t, nodes[0]).UID, Generation: 1, Level: levels.Newest}
	if err := n2.joined(late); err != nil {
		t.Fatal(err)
	}
	if peers := len(n2.transport.Stats().Peers); peers != 1 {
		t.Errorf("a late answer leaves it with %d other members, not 1", peers)
	}
}

// Goal: a node is said to serve once a request would be served, and not while it is shut
// because it does not know the rights of callers yet. Method: a cluster of one begins with
// identities in its own file, which enforces them some time after the node leads; ask as
// soon as it is said to serve.
func TestANodeThatIsShutIsNotSaidToServe(t *testing.T) {
	c := atNewestLevel(testConfigs(t, vfs.NewCrashable()))[0]
	hash := auth.HashOf("a secret")
	own, err := auth.NewBreakGlass([]auth.FileEntry{{Name: "ops", Rights: []string{"auth"}, TokenID: "glass000", TokenHash: fmt.Sprintf("%x", hash[:])}})
	if err != nil {
		t.Fatal(err)
	}
	c.Access.BreakGlass = own
	if err := c.FS.MkdirAll(c.DataDir); err != nil {
		t.Fatal(err)
	}
	if err := (secure.Mark{Identities: secure.Begins}).Write(c.FS, c.DataDir); err != nil {
		t.Fatal(err)
	}
	node := startNodes(t, []Config{c})[0]
	defer node.Close()
	if status, _, body := ask(t, node, "GET", "/v1/kv/k", ""); status != 401 {
		t.Errorf("a stranger is told %d %s, want 401", status, body)
	}
}

// Goal (S7, S15): a new cluster of several nodes whose own files hold identities rises to the
// level at which there are identities, enforces them, and serves; none of its nodes serves a
// stranger before. Method: three nodes at the level at which all clusters begin; a request
// without a token at each as soon as all serve.
func TestAClusterOfSeveralNodesBeginsWithIdentities(t *testing.T) {
	configs := testConfigs(t, vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable())
	id, _ := auth.ParseTokenID("glass000")
	token := auth.MakeToken(id, [auth.SecretBytes]byte{1})
	hash := auth.HashOf(token.Reveal())
	own, err := auth.NewBreakGlass([]auth.FileEntry{{Name: "ops", Rights: []string{"auth"}, TokenID: "glass000", TokenHash: fmt.Sprintf("%x", hash[:])}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range configs {
		c := &configs[i]
		c.Access.BreakGlass = own
		if err := c.FS.MkdirAll(c.DataDir); err != nil {
			t.Fatal(err)
		}
		if err := (secure.Mark{Identities: secure.Begins}).Write(c.FS, c.DataDir); err != nil {
			t.Fatal(err)
		}
	}
	nodes := startNodes(t, configs)
	for _, n := range nodes {
		defer n.Close()
		if status, _, body := ask(t, n, "GET", "/v1/kv/k", ""); status != 401 {
			t.Errorf("node %s tells a stranger %d %s, want 401", n.ID(), status, body)
		}
		if enforces, _ := n.service.Enforces(); !enforces {
			t.Errorf("node %s serves, and does not enforce identities", n.ID())
		}
	}
}

// Goal (S7): a node that joins notes that it must not serve before it knows the rights of callers, so
// that it is shut at its next start, too, if it is killed before it knows; and takes the note
// back where nobody enforces identities. Method: a node joins, and its mark is read.
func TestAJoinerIsShutUntilItKnows(t *testing.T) {
	nodes := atLevelThree(t, vfs.NewCrashable())
	token := joinToken(t, nodes[0], "{}")
	c := joiner(t, nodes[0].config, "n2", token, nodes[0])
	n2, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n2.Close() })
	if shut, err := n2.shut(); err != nil || shut != kvserver.ShutUntilCurrent {
		t.Errorf("it begins as %v, %v", shut, err)
	}
	marked := func() string {
		m, err := secure.ReadMark(c.FS, c.DataDir)
		if err != nil {
			t.Fatal(err)
		}
		return m.Identities
	}
	if marked() != secure.Enforces {
		t.Errorf("the mark is %q", marked())
	}
	if err := n2.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it knows that nobody enforces identities", func() bool { n2.rememberIdentities(); return marked() == "" })
}
