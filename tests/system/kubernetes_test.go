package system

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// kubernetesObject is what the test knows of an object in a manifest.
type kubernetesObject struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		ClusterIP       string         `yaml:"clusterIP"`
		PublishNotReady bool           `yaml:"publishNotReadyAddresses"`
		ServiceName     string         `yaml:"serviceName"`
		Policy          string         `yaml:"podManagementPolicy"`
		MaxUnavailable  int            `yaml:"maxUnavailable"`
		Selector        map[string]any // of a service: labels
		Ports           []struct{ Port int }
		Replicas        int
		Template        struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Containers []kubernetesContainer
				Volumes    []struct{ Name string }
			}
		}
		// Of a certificate.
		URIs       []string `yaml:"uris"`
		DNSNames   []string `yaml:"dnsNames"`
		Usages     []string
		SecretName string                `yaml:"secretName"`
		IssuerRef  struct{ Name string } `yaml:"issuerRef"`
	}
}

type kubernetesGet struct{ Path, Scheme string }

type kubernetesContainer struct {
	Args  []string
	Ports []struct {
		ContainerPort int `yaml:"containerPort"`
	}
	Liveness struct {
		Get kubernetesGet `yaml:"httpGet"`
	} `yaml:"livenessProbe"`
	Readiness struct {
		Get kubernetesGet `yaml:"httpGet"`
	} `yaml:"readinessProbe"`
	Mounts []struct {
		Name string
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

// Goal: the manifests for Kubernetes fit the program, for nobody tries them here. Method:
// their flags are flags of serve; the nodes of --cluster are the pods of the set, by the
// names that the headless service gives them also while they are not ready; ports, probes and
// directories fit the flags; one node at a time may be taken away. Nothing is open: TLS on both
// ports by a certificate of each pod's own name, and identities, from Secrets that are mounted.
func TestTheKubernetesManifestsFit(t *testing.T) {
	t.Parallel()
	objects := kubernetesObjects(t, "raftkv.yaml")
	peers := objects["Service/raftkv-peers"]
	if peers.Spec.ClusterIP != "None" || !peers.Spec.PublishNotReady || peers.Spec.Selector["app"] != "raftkv" {
		t.Errorf("the service of the nodes is %+v", peers.Spec)
	}
	if clients := objects["Service/raftkv"]; clients.Spec.PublishNotReady || clients.Spec.Selector["app"] != "raftkv" || clients.Spec.Ports[0].Port != 8701 {
		t.Errorf("the service of clients is %+v", clients.Spec)
	}
	if objects["PodDisruptionBudget/raftkv"].Spec.MaxUnavailable != 1 {
		t.Error("more than one node may be taken away at once")
	}
	known := serveFlags(t)
	for name, set := range map[string]kubernetesObject{"raftkv": objects["StatefulSet/raftkv"], "raftkv-more": objects["StatefulSet/raftkv-more"]} {
		given := checkPods(t, name, &set, known)
		var members []string
		for i := range set.Spec.Replicas {
			members = append(members, fmt.Sprintf("%s-%d=%s-%d.raftkv-peers:9701", name, i, name, i))
		}
		if got, want := given["--cluster"], strings.Join(members, ","); got != want {
			t.Errorf("%s: --cluster is %s, want %s", name, got, want)
		}
		if joins := given["--join"] != ""; joins != (name == "raftkv-more") || joins && (given["--advertise-peer"] != "$(POD).raftkv-peers:9701" || !strings.HasPrefix(given["--join-token-file"], "/join/")) {
			t.Errorf("%s joins by %v", name, given)
		}
	}
}

// kubernetesObjects reads a manifest, by kinds and names.
func kubernetesObjects(t *testing.T, manifest string) map[string]kubernetesObject {
	t.Helper()
	objects := map[string]kubernetesObject{}
	file, err := os.Open(filepath.Join(deploy, "kubernetes", manifest))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for decoder := yaml.NewDecoder(file); ; {
		var o kubernetesObject
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		objects[o.Kind+"/"+o.Metadata.Name] = o
	}
	return objects
}

// checkPods checks what holds for the nodes of every set, and returns their flags.
func checkPods(t *testing.T, name string, set *kubernetesObject, known map[string]bool) (given map[string]string) {
	t.Helper()
	given = map[string]string{}
	if len(set.Spec.Template.Spec.Containers) != 1 || set.Spec.Policy != "Parallel" || set.Spec.ServiceName != "raftkv-peers" || set.Spec.Template.Metadata.Labels["app"] != "raftkv" {
		t.Fatalf("%s is %+v", name, set.Spec)
	}
	c := set.Spec.Template.Spec.Containers[0]
	for i := 1; i+1 < len(c.Args); i += 2 {
		if !known[c.Args[i]] {
			t.Errorf("%s: serve has no flag %s", name, c.Args[i])
		}
		given[c.Args[i]] = c.Args[i+1]
	}
	if c.Args[0] != "serve" || len(c.Args)%2 == 0 || given["--id"] != "$(POD)" || given["--advertise-http"] != "$(POD).raftkv-peers:8701" {
		t.Errorf("%s runs %v", name, c.Args)
	}
	if given["--http"] != fmt.Sprintf("0.0.0.0:%d", c.Ports[0].ContainerPort) || given["--peer"] != fmt.Sprintf("0.0.0.0:%d", c.Ports[1].ContainerPort) {
		t.Errorf("%s listens at %s and %s, and opens %v", name, given["--http"], given["--peer"], c.Ports)
	}
	if c.Liveness.Get != (kubernetesGet{"/livez", "HTTPS"}) || c.Readiness.Get != (kubernetesGet{"/readyz", "HTTPS"}) {
		t.Errorf("%s is asked at %s and %s", name, c.Liveness.Get.Path, c.Readiness.Get.Path)
	}
	if len(c.Mounts) == 0 || !strings.HasPrefix(given["--data-dir"], c.Mounts[0].Path+"/") {
		t.Errorf("%s keeps its data in %s, and mounts %v", name, given["--data-dir"], c.Mounts)
	}
	for flag, want := range map[string]string{
		"--tls-cert": "/tls/node-$(POD).pem", "--tls-key": "/tls/node-$(POD)-key.pem", "--tls-ca": "/tls/ca.pem",
		"--peer-tls-cert": "/tls/node-$(POD).pem", "--peer-tls-key": "/tls/node-$(POD)-key.pem", "--peer-tls-ca": "/tls/ca.pem",
		"--tls-crl": "/tls/crl.pem", "--peer-tls-crl": "/tls/crl.pem",
		"--auth-file": "/auth/auth.toml", "--insecure": "",
	} {
		if given[flag] != want {
			t.Errorf("%s: %s is %q, want %q", name, flag, given[flag], want)
		}
	}
	for _, m := range c.Mounts[1:] {
		if m.Path != "/"+m.Name || !slices.ContainsFunc(set.Spec.Template.Spec.Volumes, func(v struct{ Name string }) bool { return v.Name == m.Name }) {
			t.Errorf("%s mounts %+v, of %v", name, m, set.Spec.Template.Spec.Volumes)
		}
	}
	return given
}

// Goal: the certificates that cert-manager is asked for are those that the nodes show: one for
// each pod of --cluster, with its identity and names, for servers and clients; and the volume that
// the manifest tells of mounts them under the names that the flags have. Method: the certificates
// and the volume, which stands in a comment, against the set.
func TestTheCertificatesOfCertManagerFit(t *testing.T) {
	t.Parallel()
	set := kubernetesObjects(t, "raftkv.yaml")["StatefulSet/raftkv"]
	given := checkPods(t, "raftkv", &set, serveFlags(t))
	text, err := os.ReadFile(filepath.Join(deploy, "kubernetes", "cert-manager.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var volumes []struct {
		Name      string
		Projected struct {
			DefaultMode int `yaml:"defaultMode"`
			Sources     []struct {
				Secret struct {
					Name  string
					Items []struct{ Key, Path string }
				}
			}
		}
	}
	var block strings.Builder
	for line := range strings.Lines(string(text)) {
		if in, is := strings.CutPrefix(line, "#   "); is && (block.Len() > 0 || strings.HasPrefix(in, "- name: tls")) {
			block.WriteString(in)
		}
	}
	if err := yaml.Unmarshal([]byte(block.String()), &volumes); err != nil || len(volumes) != 1 || volumes[0].Name != "tls" {
		t.Fatalf("the volume is %+v (%v)", volumes, err)
	}
	mounted := map[string]string{}
	for _, s := range volumes[0].Projected.Sources {
		for _, item := range s.Secret.Items {
			mounted[item.Path] = s.Secret.Name + " " + item.Key
		}
	}
	objects := kubernetesObjects(t, "cert-manager.yaml")
	want := map[string]string{"ca.pem": "raftkv-0-tls ca.crt", "crl.pem": "raftkv-crl crl.pem"}
	for i := range set.Spec.Replicas {
		pod := fmt.Sprintf("raftkv-%d", i)
		c := objects["Certificate/"+pod].Spec
		identity := fmt.Sprintf("raftkv://%s/node/%s", given["--cluster-id"], pod)
		if !slices.Equal(c.URIs, []string{identity}) || !slices.Equal(c.DNSNames, []string{pod + ".raftkv-peers", "raftkv"}) ||
			!slices.Equal(c.Usages, []string{"server auth", "client auth"}) || c.SecretName != pod+"-tls" || objects["Issuer/"+c.IssuerRef.Name].Kind == "" {
			t.Errorf("the certificate of %s is %+v", pod, c)
		}
		for flag, key := range map[string]string{"--peer-tls-cert": "tls.crt", "--peer-tls-key": "tls.key"} {
			path := strings.TrimPrefix(strings.ReplaceAll(given[flag], "$(POD)", pod), "/tls/")
			want[path] = pod + "-tls " + key
		}
	}
	if !maps.Equal(mounted, want) || volumes[0].Projected.DefaultMode != 0o440 {
		t.Errorf("mounted are %v with mode %o, want %v", mounted, volumes[0].Projected.DefaultMode, want)
	}
}
