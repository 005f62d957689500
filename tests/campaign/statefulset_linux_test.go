package campaign

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

var statefulset = flag.Bool("statefulset", false, "play the life of the pods of deploy/kubernetes")

// Goal (issue of members, manifests): the pods of deploy/kubernetes serve through their life:
// new addresses at each start, one after the other and all at one time; more nodes; a lost
// volume in either set; fewer nodes. No append of a Clerk fails but while no node runs, and
// none is lost or there twice.
// Method: the commands that stand above the manifest, its own arguments, and what
// docs/operations.md says of each event, in network namespaces, with a file of names in the
// place of DNS. Addresses go around, so a node finds another one where it was itself before.
func TestALifeOfPods(t *testing.T) {
	if !*statefulset {
		t.Skip("say -statefulset")
	}
	s := newPodSite(t, 9)
	begun := time.Now()
	did := func(what string) {
		t.Helper()
		s.awaitReady()
		t.Logf("%6.1f s: %s; pods at %s", time.Since(begun).Seconds(), what, s.addresses())
	}
	for i := range 3 {
		s.start("raftkv", i)
	}
	did("three pods are ready")
	s.operate("umask 077; raftkv auth init root --endpoints raftkv:8701 --tls-ca pki/ca.pem --token-file ops.token > root.token")
	load := s.appendAll()

	for _, p := range s.sorted() {
		s.replace(p, syscall.SIGTERM)
		did("another address for " + p.name)
	}
	s.restartAll()
	did("all pods have ended, and begun elsewhere")

	s.operate("umask 077; raftkv member token create --uses 2 > token")
	s.start("raftkv-more", 0)
	s.start("raftkv-more", 1)
	cluster.Eventually(t, cluster.Patience, func() error { // they have to catch up first
		_, err := s.try("raftkv member promote raftkv-more-0 raftkv-more-1")
		return err
	})
	s.awaitVoters("raftkv-0", "raftkv-1", "raftkv-2", "raftkv-more-0", "raftkv-more-1")
	did("two more nodes vote")

	s.lose("raftkv", 1, "--rejoin")
	did("a lost volume of the first set")
	s.operate("umask 077; raftkv member token create --uses 1 > token")
	s.lose("raftkv-more", 0, "--replace", "raftkv-more-0")
	s.awaitVoters("raftkv-0", "raftkv-1", "raftkv-2", "raftkv-more-0", "raftkv-more-1")
	did("a lost volume of the second set")
	s.restartAll()
	did("all pods again")

	for i := 1; i >= 0; i-- {
		name := fmt.Sprintf("raftkv-more-%d", i)
		s.operate("raftkv member remove " + name)
		p := s.pods[name]
		if !p.HasEnded() {
			p.Signal(syscall.SIGTERM) // a removed node ends by itself, and then the set is scaled down
		}
		s.gone(p)
		s.loseVolume(name)
	}
	s.awaitVoters("raftkv-0", "raftkv-1", "raftkv-2")
	did("three nodes again")
	for _, p := range s.sorted() {
		s.replace(p, syscall.SIGKILL)
		did("another address for " + p.name)
	}
	acked := load.stop()
	clerk, err := client.Dial(t.Context(), s.clerk())
	if err != nil {
		t.Fatal(err)
	}
	defer clerk.Close()
	lost := load.check(clerk)
	t.Logf("%d appends acknowledged, %d failed, %d lost or doubled", acked, load.failed.Load(), lost)
	if acked < 1000 {
		t.Errorf("void: %d appends", acked)
	}
}

// addresses says where the pods are.
func (s *podSite) addresses() string {
	var all []string
	for _, p := range s.sorted() {
		all = append(all, fmt.Sprintf("%s .%d", p.name, p.place+1))
	}
	return strings.Join(all, ", ")
}

// clerk returns how a Clerk finds the pods, as its users write it.
func (s *podSite) clerk() client.Config {
	return client.Config{
		Endpoints: []string{"raftkv-0.raftkv-peers:8701", "raftkv-1.raftkv-peers:8701", "raftkv-2.raftkv-peers:8701"}, TLS: s.trust(),
		Dial: func(ctx context.Context, address string) (net.Conn, error) { return s.dial(ctx, address) },
		Token: func(context.Context) (string, error) {
			text, err := os.ReadFile(s.path("root.token"))
			return strings.TrimSpace(string(text)), err
		},
	}
}

func (s *podSite) appendAll() *appending { return startAppending(s.t, "life", s.clerk()) }

// replace ends a pod and starts it elsewhere.
func (s *podSite) replace(p *pod, by syscall.Signal, more ...string) {
	s.t.Helper()
	set, number := setOf(p.name)
	p.Signal(by)
	s.gone(p)
	if after := s.start(set, number, more...); after.place == p.place {
		s.t.Fatalf("void: %s has the address that it had", p.name)
	}
}

// setOf returns the set of a pod and its number there.
func setOf(name string) (set string, number int) {
	at := strings.LastIndexByte(name, '-')
	_, _ = fmt.Sscan(name[at+1:], &number)
	return name[:at], number
}

// restartAll ends all pods at one time, as when all machines restart, and starts them
// elsewhere.
func (s *podSite) restartAll() {
	s.t.Helper()
	all := s.sorted()
	for _, p := range all {
		p.Signal(syscall.SIGKILL)
	}
	for _, p := range all {
		s.gone(p)
	}
	slices.Reverse(s.free) // some begin where others were
	for _, p := range all {
		set, number := setOf(p.name)
		s.start(set, number)
	}
}

// lose ends a pod, takes its volume away, starts it once with the arguments that bring it
// back, and then as it always starts.
func (s *podSite) lose(set string, number int, more ...string) {
	s.t.Helper()
	name := fmt.Sprintf("%s-%d", set, number)
	p := s.pods[name]
	p.Signal(syscall.SIGKILL)
	s.gone(p)
	s.loseVolume(name)
	p = s.start(set, number, more...)
	s.awaitReady()
	s.replace(p, syscall.SIGTERM)
}

// awaitVoters waits until these nodes vote and no other one is a member.
func (s *podSite) awaitVoters(want ...string) {
	s.t.Helper()
	cluster.Eventually(s.t, 2*cluster.Patience, func() error {
		var m api.Members
		if err := json.Unmarshal([]byte(s.operate("raftkv member list --json")), &m); err != nil {
			return err
		}
		var voters []string
		for _, n := range m.Members {
			if n.Role == "voter" {
				voters = append(voters, n.ID)
			}
		}
		slices.Sort(voters)
		if !slices.Equal(voters, want) || len(m.Members) != len(want) || m.Joint {
			return fmt.Errorf("of %d members vote %v, joint: %v", len(m.Members), voters, m.Joint)
		}
		return nil
	})
}
