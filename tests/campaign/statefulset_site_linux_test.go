package campaign

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"raftkv/tests/cluster"
)

const manifest = "../../deploy/kubernetes/raftkv.yaml"

// podSite plays what Kubernetes does for the pods of the manifest: each has an address that is
// another one after every start, a name by which all pods find it there, the directories that
// it mounts, and a volume that stays when the pod does not.
type podSite struct {
	t       *testing.T
	network *network
	dir     string
	sets    map[string][]string // the arguments of each StatefulSet
	free    []int               // places on the network, the one that is free for longest first
	pods    map[string]*pod     // those that run, by name
}

// pod is one run of a node.
type pod struct {
	name  string
	place int
	*cluster.Process
}

// operatorsPlace is where commands run.
const operatorsPlace = 0

func newPodSite(t *testing.T, places int) *podSite {
	t.Helper()
	if _, err := exec.LookPath("unshare"); err != nil || os.Getuid() != 0 {
		t.Skip("NOT RUN: pods need root, and unshare")
	}
	u := newUndo(t)
	s := &podSite{t: t, network: newNetwork(t, u, places), dir: u.dir, sets: map[string][]string{}, pods: map[string]*pod{}}
	for place := operatorsPlace + 1; place < places; place++ {
		s.free = append(s.free, place)
	}
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for decoder := yaml.NewDecoder(strings.NewReader(string(text))); ; {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct {
				Template struct {
					Spec struct{ Containers []struct{ Args []string } }
				}
			}
		}
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if o.Kind == "StatefulSet" {
			s.sets[o.Metadata.Name] = o.Spec.Template.Spec.Containers[0].Args
		}
	}
	s.publish()
	// What stands above the manifest, up to the commands that talk to Kubernetes.
	var script []string
	for line := range strings.Lines(string(text)) {
		command, is := strings.CutPrefix(line, "#   ")
		if strings.HasPrefix(command, "kubectl ") {
			break
		}
		if is && !strings.HasPrefix(command, "mv ") {
			script = append(script, command)
		}
	}
	s.operate("umask 077\nset -e\n" + strings.Join(script, ""))
	return s
}

// names is the file of names that all pods see as /etc/hosts.
func (s *podSite) names() string { return filepath.Join(s.dir, "hosts") }

// publish says which name has which address now. It writes into the file that is mounted.
func (s *podSite) publish() {
	s.t.Helper()
	text := "127.0.0.1 localhost\n"
	for name, p := range s.pods {
		at := s.network.address(p.place)
		text += fmt.Sprintf("%s %s.raftkv-peers\n%s raftkv\n", at, name, at)
	}
	if err := os.WriteFile(s.names(), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// wrapper is the command that becomes a process at a place of the network.
func (s *podSite) wrapper(place int) []string {
	return []string{"nsenter", "--net=" + filepath.Join("/run/netns", s.network.space(place)),
		"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, s.names()}
}

// operate runs lines of a shell as the operator, and returns what they print.
func (s *podSite) operate(script string) string {
	s.t.Helper()
	out, err := s.try(script)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// try is operate for lines that may fail.
func (s *podSite) try(script string) (out string, err error) {
	line := append(s.wrapper(operatorsPlace), "bash", "-c", script)
	command := exec.Command(line[0], line[1:]...)
	command.Dir = s.dir
	command.Env = append(cluster.CleanEnvironment(), "PATH="+filepath.Dir(cluster.Program)+":"+os.Getenv("PATH"), "RAFTKV_ENDPOINTS=raftkv:8701",
		"RAFTKV_TLS_CA="+s.path("pki/ca.pem"), "RAFTKV_TOKEN_FILE="+s.path("root.token"), "RAFTKV_TIMEOUT=30s", "HOME="+s.dir)
	var said strings.Builder
	command.Stderr = &said
	text, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s%s", script, err, text, said.String())
	}
	return string(text), err
}

func (s *podSite) path(name string) string { return filepath.Join(s.dir, name) }

// volume is what a pod finds at /data.
func (s *podSite) volume(name string) string { return s.path("volume-" + name) }

// start starts a pod of a set, at an address that it did not have before, with arguments in
// addition to those of the manifest.
func (s *podSite) start(set string, number int, more ...string) *pod {
	s.t.Helper()
	name := fmt.Sprintf("%s-%d", set, number)
	if len(s.free) == 0 {
		s.t.Fatal("there is no address for another pod")
	}
	p := &pod{name: name, place: s.free[0]}
	s.free = s.free[1:]
	if err := os.MkdirAll(s.volume(name), 0o700); err != nil {
		s.t.Fatal(err)
	}
	mounts := strings.NewReplacer("$(POD)", name, "/data/", s.volume(name)+"/", "/tls/", s.path("pki")+"/", "/auth/", s.dir+"/", "/join/", s.dir+"/")
	var arguments []string
	for _, a := range s.sets[set] {
		arguments = append(arguments, mounts.Replace(a))
	}
	s.pods[name] = p
	s.publish()
	p.Process = cluster.LaunchIn(s.t, name, cluster.Surroundings{Wrapper: s.wrapper(p.place)}, nil, append(arguments, more...)...)
	return p
}

// gone forgets a pod that has ended; its volume stays.
func (s *podSite) gone(p *pod) {
	s.t.Helper()
	select {
	case <-p.Ended:
	case <-time.After(cluster.Patience):
		s.t.Fatalf("%s does not end", p.name)
	}
	delete(s.pods, p.name)
	s.free = append(s.free, p.place)
	s.publish()
}

// loseVolume takes away what a pod that has ended had at /data.
func (s *podSite) loseVolume(name string) {
	s.t.Helper()
	if err := os.RemoveAll(s.volume(name)); err != nil {
		s.t.Fatal(err)
	}
}

// dial connects to an address of the manifest, from beside the pods.
func (s *podSite) dial(ctx context.Context, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(s.names())
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[1] == host {
			return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(fields[0], port))
		}
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (s *podSite) trust() *tls.Config {
	pem, err := os.ReadFile(s.path("pki/ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool}
}

// awaitReady waits until the readiness probe of each pod that runs is answered with 200.
func (s *podSite) awaitReady() {
	s.t.Helper()
	c := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: s.trust(), DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return s.dial(ctx, address) }}}
	for name, p := range s.pods {
		cluster.Eventually(s.t, 2*cluster.Patience, func() error {
			if p.HasEnded() {
				s.t.Fatalf("%s has ended:\n%s", name, p.Output.Tail(2000))
			}
			answer, err := c.Get("https://" + name + ".raftkv-peers:8701/readyz")
			if err != nil {
				return err
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return fmt.Errorf("%s is not ready: %s", name, answer.Status)
			}
			return nil
		})
	}
}

// sorted returns the pods that run, by name.
func (s *podSite) sorted() (all []*pod) {
	for _, p := range s.pods {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *pod) int { return strings.Compare(a.name, b.name) })
	return all
}
