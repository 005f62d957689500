package certs

import (
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
)

// Goal: a template finds the id in a certificate's names and nothing that only resembles
// one. Method: templates and names, by a table.
func TestATemplateFindsTheNode(t *testing.T) {
	for _, c := range []struct{ template, name, id string }{
		{"", "raftkv://c/node/n1", "n1"},
		{"", "raftkv://c/node/n-1_a.b", "n-1_a.b"},
		{"", "raftkv://d/node/n1", ""},
		{"", "raftkv://c/node/", ""},
		{"", "raftkv://c/node/n1/", ""},
		{"", "raftkv://c/node/a/n1", ""},
		{"", "raftkv://c/node/n%31", ""},
		{"", "raftkv://c/node/n1?x", ""},
		{"", "raftkv://c/node/n1#x", ""},
		{"", "raftkv://u@c/node/n1", ""},
		{"", "raftkv://c:1/node/n1", ""},
		{"", "https://c/node/n1", ""},
		{"", "raftkv://c/node/.n1", ""},
		{"", "raftkv://c/node/" + strings.Repeat("n", 64), strings.Repeat("n", 64)},
		{"", "raftkv://c/node/" + strings.Repeat("n", 65), ""},
		{"spiffe://td/raftkv/{cluster}/{id}", "spiffe://td/raftkv/c/n1", "n1"},
		{"spiffe://td/raftkv/{cluster}/{id}", "spiffe://te/raftkv/c/n1", ""},
		{"dns:{id}.peers.example.org", "n1.peers.example.org", "n1"},
		{"dns:{id}.peers.example.org", "*.peers.example.org", ""},
		{"dns:{id}.peers.example.org", "a.n1.peers.example.org", ""},
		{"dns:{id}.{cluster}.example.org", "n1.c.example.org", "n1"},
		{"dns:node-{id}", "node-n1", "n1"},
	} {
		i, err := ParseIdentity(c.template, "c")
		if err != nil {
			t.Fatal(err)
		}
		cert := &x509.Certificate{}
		if i.dns {
			cert.DNSNames = []string{"other.example.org", c.name}
		} else {
			uri, err := url.Parse(c.name)
			if err != nil {
				t.Fatal(err)
			}
			cert.URIs = []*url.URL{{Scheme: "https", Host: "example.org"}, uri}
		}
		if id, err := i.Of(cert); id != c.id || (err == nil) != (c.id != "") {
			t.Errorf("%q, %q: %q, %v; want %q", c.template, c.name, id, err, c.id)
		}
	}
	for _, template := range []string{"raftkv://c/node", "raftkv://{id}/{id}", "n-{id}", "dns:{id}", "dns:*.{id}.example.org", "raftkv://{other}/{id}", "raftkv://c/{id}x", "raftkv://c/{id}?q"} {
		if _, err := ParseIdentity(template, "c"); err == nil {
			t.Errorf("the template %q was taken", template)
		}
	}
	if i, err := ParseIdentity(AnyNode, "c"); err != nil || !i.Any() {
		t.Error(err)
	}
}

// FuzzIdentity: whatever a certificate's URI holds, an id that is found is an id, and the
// URI is exactly the one that names it, but for an empty fragment, which net/url drops.
func FuzzIdentity(f *testing.F) {
	for _, seed := range []string{"raftkv://c/node/n1", "raftkv://c/node/n%31", "RAFTKV://c/node/n1", "raftkv:/c/node/n1", "raftkv://c/node/n1?", "raftkv://c//node/n1", "raftkv://c/node/../node/n1", "raftkv://c/node/n1#"} {
		f.Add(seed)
	}
	identity, err := ParseIdentity("", "c")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		uri, err := url.Parse(text)
		if err != nil {
			return
		}
		id, err := identity.Of(&x509.Certificate{URIs: []*url.URL{uri}})
		if (err == nil) != (id != "") {
			t.Fatalf("%q: %q, %v", text, id, err)
		}
		if err != nil {
			return
		}
		if name, _ := identity.Name(id); !isID(id) || !strings.EqualFold(strings.TrimSuffix(text, "#"), name) {
			t.Fatalf("%q is taken for node %q, whose name is %q", text, id, name)
		}
		twice := &x509.Certificate{URIs: []*url.URL{uri, uri}}
		if _, err := identity.Of(twice); err == nil {
			t.Fatalf("two names passed for one: %q", text)
		}
	})
}
