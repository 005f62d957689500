package client

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ParseEndpoint returns an endpoint in its short form: host:port, and https://host:port
// where TLS is asked for. It may be written with http:// before it and one slash behind
// it. A missing host is 127.0.0.1. The error names the fault: another scheme, a user, a
// path, or a port that is missing or not a number from 1 to 65535.
func ParseEndpoint(given string) (string, error) {
	bad := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("client: the endpoint %q %s", given, fmt.Sprintf(format, args...))
	}
	address, before := strings.TrimSpace(given), ""
	if scheme, rest, has := strings.Cut(address, "://"); has {
		switch strings.ToLower(scheme) {
		case "http":
			address = rest
		case "https":
			address, before = rest, secureScheme
		default:
			return bad("begins with %s://; write host:port", scheme)
		}
	}
	address = strings.TrimSuffix(address, "/")
	switch {
	case strings.Contains(address, "@"):
		return bad("names a user, but the store has no users; write host:port")
	case strings.ContainsAny(address, "/?#"):
		return bad("has a path; write host:port")
	}
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil && strings.Count(address, ":") > 1 && !strings.Contains(address, "["):
		return bad("is not of the form host:port; an IPv6 address stands in brackets: [::1]:8701")
	case err != nil || port == "":
		return bad("is not of the form host:port")
	case strings.ContainsFunc(host, isNoHostCharacter):
		return bad("has a host name that cannot be")
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || strings.HasPrefix(port, "+") {
		return bad("has the port %q; choose 1 to 65535", port)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return before + net.JoinHostPort(host, strconv.FormatUint(number, 10)), nil
}

// secureScheme begins an endpoint that asks for TLS.
const secureScheme = "https://"

// IsSecure reports whether an endpoint, in its short form, asks for TLS.
func IsSecure(endpoint string) bool { return strings.HasPrefix(endpoint, secureScheme) }

// Address returns the host:port of an endpoint in its short form.
func Address(endpoint string) string { return strings.TrimPrefix(endpoint, secureScheme) }

// isNoHostCharacter reports whether c cannot be part of a host name or IP
// address.
func isNoHostCharacter(c rune) bool {
	return c <= ' ' || c == 0x7f || strings.ContainsRune(`",;<>\^|{}`+"`", c)
}

// ParseEndpoints returns the endpoints of a list that is separated by commas,
// each as ParseEndpoint returns it and each once, in their order. Empty elements
// of the list are skipped. An error names the endpoint that is wrong, or says
// that there is none.
func ParseEndpoints(list string) ([]string, error) { return parseAll(strings.Split(list, ",")) }

// parseAll parses endpoints and leaves out repetitions.
func parseAll(given []string) ([]string, error) {
	var all []string
	seen := map[string]bool{}
	for _, g := range given {
		if strings.TrimSpace(g) == "" {
			continue
		}
		address, err := ParseEndpoint(g)
		if err != nil {
			return nil, err
		}
		if !seen[address] {
			seen[address] = true
			all = append(all, address)
		}
	}
	for _, address := range all {
		if IsSecure(address) != IsSecure(all[0]) {
			return nil, fmt.Errorf("client: the endpoint %q is without TLS and another one is with it; write https:// before all of them, or before none", Address(address))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("client: no endpoint is given; give the host:port where a server takes clients")
	}
	return all, nil
}
