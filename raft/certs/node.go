package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// DefaultIdentity is the template by which a certificate names a node.
const DefaultIdentity = "raftkv://{cluster}/node/{id}"

// AnyNode is the identity by which one certificate serves for all nodes of a cluster.
const AnyNode = "cluster"

// maxIDBytes is the greatest length of the id of a node.
const maxIDBytes = 64

// Identity finds in a certificate the node whose it is. The zero Identity names none.
type Identity struct {
	dns            bool // look at DNS names, not at URIs
	any            bool // every certificate of the CA is every node's
	prefix, suffix string
}

// ParseIdentity reads a template: a URI, or dns: and a name, in which {id} stands once for
// the id of a node, and {cluster} for the name of the cluster, which is filled in. The
// word "cluster" is the identity that all nodes share. An empty template is
// DefaultIdentity.
func ParseIdentity(template, cluster string) (Identity, error) {
	if template == "" {
		template = DefaultIdentity
	}
	if template == AnyNode {
		return Identity{any: true}, nil
	}
	name, dns := strings.CutPrefix(template, "dns:")
	name = strings.ReplaceAll(name, "{cluster}", cluster)
	prefix, suffix, found := strings.Cut(name, "{id}")
	switch {
	case !found || strings.Contains(suffix, "{id}"):
		return Identity{}, fmt.Errorf("the identity %q must hold {id} once, as %s does", template, DefaultIdentity)
	case strings.ContainsAny(prefix+suffix, "{}*% ?#"):
		return Identity{}, fmt.Errorf("the identity %q holds a character that may not be there, or braces other than {id} and {cluster}", template)
	case dns && prefix+suffix == "":
		return Identity{}, errors.New("the identity dns:{id} has no domain; write dns:{id}.peers.example.org")
	case !dns && !strings.Contains(prefix, "://"):
		return Identity{}, fmt.Errorf("the identity %q is no URI; write %s, spiffe://domain/raftkv/{cluster}/{id}, dns:{id}.domain, or the word %s", template, DefaultIdentity, AnyNode)
	case suffix != "" && isIDByte(suffix[0]) && suffix[0] != '.':
		return Identity{}, fmt.Errorf("in the identity %q a letter or digit follows {id}, so nobody could tell where an id ends", template)
	}
	return Identity{dns: dns, prefix: prefix, suffix: suffix}, nil
}

// Any reports whether one certificate serves for all nodes.
func (i Identity) Any() bool { return i.any }

// Name returns what the certificate of a node must hold: a URI, or a DNS name.
func (i Identity) Name(id string) (name string, dns bool) { return i.prefix + id + i.suffix, i.dns }

// match returns the id in a name.
func (i Identity) match(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, i.prefix)
	if ok {
		id, ok = strings.CutSuffix(id, i.suffix)
	}
	if !ok || i.prefix+i.suffix == "" || !isID(id) {
		return "", false
	}
	if i.dns && i.suffix != "" && i.suffix[0] == '.' && strings.Contains(id, ".") {
		return "", false // a.b.peers.example.org is below the domain, and not in it
	}
	return id, true
}

// Of returns the id of the one node that a certificate names; "" where one certificate
// serves for all. A certificate that names no node, or more than one, is refused: which
// of them it stands for would be up to its holder. The error is a *Refusal.
func (i Identity) Of(c *x509.Certificate) (id string, err error) {
	if i.any {
		return "", nil
	}
	var named []string
	if i.dns {
		for _, name := range c.DNSNames {
			if id, ok := i.match(name); ok {
				named = append(named, id)
			}
		}
	} else {
		for _, uri := range c.URIs {
			if id, ok := i.match(uri.String()); ok {
				named = append(named, id)
			}
		}
	}
	switch len(named) {
	case 1:
		return named[0], nil
	case 0:
		want, _ := i.Name("ID")
		return "", refuse(ResultIdentity, "the certificate of %s names no node of this cluster; its subject alternative names must hold %s", nameOf(c), want)
	}
	return "", refuse(ResultIdentity, "the certificate of %s names %d nodes (%s); it must name one", nameOf(c), len(named), strings.Join(named[:min(len(named), 4)], ", "))
}

// isID reports whether a text can be the id of a node.
func isID(id string) bool {
	if id == "" || len(id) > maxIDBytes || strings.ContainsRune("-_.", rune(id[0])) {
		return false
	}
	for i := range len(id) {
		if !isIDByte(id[i]) {
			return false
		}
	}
	return true
}

func isIDByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}
