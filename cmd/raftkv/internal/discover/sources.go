package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Resolver asks DNS; *net.Resolver is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) (addresses []string, err error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// Sources are the places where members may be found.
type Sources []source

// source is one of them. Exactly one of its fields is set.
type source struct {
	address string // host:port; a host that is a name is resolved when it is dialled
	dns     string // host:port: each address that the host has
	srv     string // each target of the SRV records of this name
}

// Bounds of what an operator names and of what DNS answers.
const (
	maxSources   = 64
	maxAddresses = 128
)

// Parse reads what --discover says: dns:NAME:PORT, srv:NAME or host:port, several of them
// with commas between them.
func Parse(text string) (sources Sources, err error) {
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue // a comma at the end
		}
		var s source
		if name, is := strings.CutPrefix(part, "srv:"); is {
			s.srv = name
			if name == "" || strings.Contains(name, ":") {
				return nil, fmt.Errorf("--discover: %.255q is not of the form srv:NAME; a record of DNS says the port", part)
			}
		} else if address, is := strings.CutPrefix(part, "dns:"); is {
			s.dns = address
			err = checkAddress(address)
		} else {
			s.address = part
			err = checkAddress(part)
		}
		if err != nil {
			return nil, fmt.Errorf("--discover: %.255q is not of the form dns:NAME:PORT, srv:NAME or host:port: %w", part, err)
		}
		sources = append(sources, s)
	}
	if len(sources) > maxSources {
		return nil, fmt.Errorf("--discover names %d places; the limit is %d", len(sources), maxSources)
	}
	return sources, nil
}

// checkAddress says what is wrong with an address to dial.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return errors.New("it has no host or no port, or is an IPv6 address without brackets")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %.20q is not a number from 1 to 65535", port)
	}
	return nil
}

// Addresses asks DNS for those of the sources that need it, and returns all addresses, each
// once. The error says which names could not be resolved; the addresses of the others are
// good.
func (s Sources) Addresses(ctx context.Context, dns Resolver) (addresses []string, err error) {
	for _, one := range s {
		more, failed := one.addresses(ctx, dns)
		addresses = append(addresses, more...)
		err = errors.Join(err, failed)
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	return addresses[:min(len(addresses), maxAddresses)], err
}

func (s source) addresses(ctx context.Context, dns Resolver) (addresses []string, err error) {
	switch {
	case s.srv != "":
		_, records, err := dns.LookupSRV(ctx, "", "", s.srv)
		for _, r := range records {
			addresses = append(addresses, net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
		}
		return addresses, err
	case s.dns != "":
		host, port, _ := net.SplitHostPort(s.dns) // checked by Parse
		hosts, err := dns.LookupHost(ctx, host)
		for _, h := range hosts {
			addresses = append(addresses, net.JoinHostPort(h, port))
		}
		return addresses, err
	}
	return []string{s.address}, nil
}
