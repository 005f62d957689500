package address

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"raftkv/cmd/raftkv/internal/host"
	"raftkv/raft/core"
)

// ParseMembers reads "n1=host:port,n2=host:port,…".
func ParseMembers(text string) (host.Members, error) {
	m := host.Members{}
	holder := map[string]core.ID{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue // a comma at the end
		}
		name, address, found := strings.Cut(strings.TrimSpace(pair), "=")
		if !found {
			return nil, fmt.Errorf("--cluster: %q is not of the form id=host:port", pair)
		}
		if err := CheckName(name); err != nil {
			return nil, fmt.Errorf("--cluster: the id in %q %w", pair, err)
		}
		id := core.ID(name)
		host, port, err := splitAddress(address)
		if ip := net.ParseIP(host); err == nil && (host == "" || port == "0" || ip != nil && ip.IsUnspecified()) {
			err = fmt.Errorf("other nodes could not find it")
		}
		if err != nil {
			return nil, fmt.Errorf("--cluster: %q is not an address of the form host:port for node %s: %w", address, id, err)
		}
		if _, twice := m[id]; twice {
			return nil, fmt.Errorf("--cluster names node %s twice; every node has one id and one address", id)
		}
		address = net.JoinHostPort(strings.ToLower(host), port)
		if other, taken := holder[address]; taken {
			return nil, fmt.Errorf("--cluster gives nodes %s and %s the same address %s; every node has an address of its own", other, id, address)
		}
		m[id], holder[address] = address, id
	}
	if len(m) == 0 {
		return nil, fmt.Errorf("--cluster is %q and names no node: give it as id=host:port,id=host:port,…", text)
	}
	return m, nil
}

// CheckAdvertised says what is wrong with the address of a port, "peer" or "http", that the other
// nodes are given. A node that is listed in --cluster has an address there, and others have that
// at which they listen, where no other is advertised.
func CheckAdvertised(port, advertised, listening string, listed bool) error {
	if advertised == "" && !listed && isWildcard(listening) {
		return fmt.Errorf("--%s is %s, which stands for every address of this machine, and no entry in --cluster says at which the other nodes find it: give --advertise-%s host:port", port, listening, port)
	}
	if advertised == "" {
		return nil
	}
	host, number, err := splitAddress(advertised)
	if err == nil && (host == "" || number == "0" || isWildcard(advertised)) {
		err = fmt.Errorf("other nodes could not find it")
	}
	if err != nil {
		return fmt.Errorf("--advertise-%s is %q, which is not an address of the form host:port: %w", port, advertised, err)
	}
	return nil
}

// Reachable returns the address of a port that listens on every address of this machine, on
// the host of another address of it; "" where it listens on one address.
func Reachable(listening, other string) string {
	host, _, err := net.SplitHostPort(other)
	_, number, bad := net.SplitHostPort(listening)
	if err != nil || bad != nil || !isWildcard(listening) {
		return ""
	}
	return net.JoinHostPort(host, number)
}

// isWildcard reports whether an address to listen on stands for every address of this machine.
func isWildcard(address string) bool {
	host, _, err := splitAddress(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsUnspecified()
}

// ClientHosts returns the host at which the other nodes reach the client port: that of
// --http, and where it stands for every address, that of the node's entry in --cluster.
func ClientHosts(http, own string) []string {
	host, _, err := net.SplitHostPort(http)
	if ip := net.ParseIP(host); err == nil && host != "" && (ip == nil || !ip.IsUnspecified()) {
		return []string{host}
	}
	if host == "" {
		return []string{"127.0.0.1"}
	}
	if host, _, err = net.SplitHostPort(own); err != nil {
		return nil
	}
	return []string{host}
}

// CheckName says what is wrong with the id of a node or cluster. What is
// allowed can be a file name, a header and a word of a log line without quotes.
func CheckName(name string) error {
	if name == "" || len(name) > core.MaxIDBytes {
		return fmt.Errorf("has %d characters; it must have 1 to %d", len(name), core.MaxIDBytes)
	}
	for i, c := range name {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || !strings.ContainsRune("-_.", c)) {
			return fmt.Errorf("holds %q; it may hold letters, digits and, not at its beginning, '-', '_' and '.'", c)
		}
	}
	return nil
}

// splitAddress splits "host:port", ":port" or "port". The host may be empty,
// the port is a number.
func splitAddress(address string) (host, port string, err error) {
	if _, err := strconv.Atoi(address); err == nil {
		address = ":" + address
	}
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("it has no port, or an IPv6 address without brackets")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		return "", "", fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	return host, port, nil
}

// normal reads an address to listen on. Without a host it is the
// loopback address: nothing is opened to the network that nobody asked for.
func normal(address string) (string, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return "", err
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// isLoopback reports whether an address leads to the machine of whoever uses it.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost")
}
