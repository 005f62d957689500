package secure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"raftkv/cmd/raftkv/internal/settings"
	"raftkv/raft/certs"
)

// Settings are the settings of serve about TLS, as the user gave them.
type Settings struct {
	cert, key, ca, clientCA, crl, minVersion, client string

	peer, peerCert, peerKey, peerCA, peerCRL, peerIdentity string

	insecure string

	strict time.Duration
}

// Table lists the settings, with their defaults, in the order of the help.
func (s *Settings) Table() []settings.Setting {
	*s = Settings{minVersion: "1.3"}
	return []settings.Setting{
		settings.New("tls-cert", "certificate of the client port, in PEM, with those that lead to its CA", &s.cert),
		settings.New("tls-key", "its key; nobody else may read the file", &s.key),
		settings.New("tls-ca", "CAs by which this node verifies the client ports of the others (default: --peer-tls-ca, else the system's)", &s.ca),
		settings.New("tls-client-ca", "CAs of which clients must show a certificate (default: none is asked for)", &s.clientCA),
		settings.New("tls-crl", "revocation lists for the client port, and for those of the others", &s.crl),
		settings.New("tls-min-version", "1.3, or 1.2 for old clients", &s.minVersion),
		settings.New("client-tls", "off; accept: with TLS and without; require (default: require if there is a certificate, else off)", &s.client),
		settings.New("peer-tls", "off; accept: dial in clear, take both; prefer: dial with TLS, take both; require (default: require if there is a certificate, else off)", &s.peer),
		settings.New("peer-tls-cert", "certificate of this node for its peers, for servers and clients", &s.peerCert),
		settings.New("peer-tls-key", "its key; nobody else may read the file", &s.peerKey),
		settings.New("peer-tls-ca", "CAs of the peers' certificates", &s.peerCA),
		settings.New("peer-tls-crl", "revocation lists of those CAs", &s.peerCRL),
		settings.New("peer-identity", "how a certificate names a node: a URI or dns:name with {cluster} and {id}; cluster: one certificate for all (default: "+certs.DefaultIdentity+")", &s.peerIdentity),
		settings.New("hsts", "for how long browsers that came by TLS shall ask this host, on all its ports, by TLS alone, as 8760h (default: not)", &s.strict),
		settings.New("insecure", "what may be open beyond this machine: client, peer, auth", &s.insecure),
	}
}

// ForDev returns the settings of a node of a dev cluster, whose one certificate serves both
// ports.
func ForDev(cert, key, ca string) Settings {
	return Settings{cert: cert, key: key, ca: ca, peerCert: cert, peerKey: key, peerCA: ca, minVersion: "1.3"}
}

// maxStrict is the longest time of --hsts, two years, which lists of browsers ask for.
const maxStrict = 2 * 365 * 24 * time.Hour

// Mode says whether a port speaks TLS.
type Mode string

// The modes. Prefer is for peers alone.
const (
	Off     Mode = "off"
	Accept  Mode = "accept"
	Prefer  Mode = "prefer"
	Require Mode = "require"
)

// Plan is what the settings say, checked against each other. No file was read.
type Plan struct {
	Cluster, Node string
	// Alone says that the node has no peers.
	Alone bool
	// Hosts are names and addresses by which the other nodes reach the client port.
	Hosts []string

	Client, Peer Mode
	MinVersion   uint16
	Identity     certs.Identity
	Insecure     []string // of Client, Peer and Auth
	// Strict is for how long browsers are told to ask this host by TLS alone; 0: they are not.
	Strict time.Duration

	cert, key, ca, clientCA, crl       string
	peerCert, peerKey, peerCA, peerCRL string
}

// Plan checks the settings against each other. The error is a sentence for the user.
func (s *Settings) Plan(cluster, node string, alone bool) (Plan, error) {
	p := Plan{
		Cluster: cluster, Node: node, Alone: alone, Strict: s.strict,
		cert: s.cert, key: s.key, ca: s.ca, clientCA: s.clientCA, crl: s.crl,
		peerCert: s.peerCert, peerKey: s.peerKey, peerCA: s.peerCA, peerCRL: s.peerCRL,
	}
	var err error
	if p.Client, err = modeOf("client-tls", s.client, s.cert, Off, Accept, Require); err != nil {
		return Plan{}, err
	}
	if p.Peer, err = modeOf("peer-tls", s.peer, s.peerCert, Off, Accept, Prefer, Require); err != nil {
		return Plan{}, err
	}
	if p.Identity, err = certs.ParseIdentity(s.peerIdentity, cluster); err != nil {
		return Plan{}, fmt.Errorf("--peer-identity: %w", err)
	}
	switch s.minVersion {
	case "1.3":
		p.MinVersion = tls.VersionTLS13
	case "1.2":
		p.MinVersion = tls.VersionTLS12
	default:
		return Plan{}, fmt.Errorf("--tls-min-version is %q; choose 1.3 or 1.2", s.minVersion)
	}
	if p.Insecure, err = parseInsecure(s.insecure); err != nil {
		return Plan{}, err
	}
	return p, p.check()
}

func modeOf(flag, given, cert string, modes ...Mode) (Mode, error) {
	if given == "" {
		if cert != "" {
			return Require, nil
		}
		return Off, nil
	}
	if !slices.Contains(modes, Mode(given)) {
		var names []string
		for _, m := range modes {
			names = append(names, string(m))
		}
		return Off, fmt.Errorf("--%s is %q; choose %s or %s", flag, given, strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
	}
	return Mode(given), nil
}

// check finds settings that lack others.
func (p *Plan) check() error {
	for _, c := range []struct {
		wrong bool
		text  string
	}{
		{(p.cert == "") != (p.key == ""), "--tls-cert and --tls-key go together; one of them is missing"},
		{(p.peerCert == "") != (p.peerKey == ""), "--peer-tls-cert and --peer-tls-key go together; one of them is missing"},
		{p.Client != Off && p.cert == "", "--client-tls is " + string(p.Client) + " and there is no certificate; give --tls-cert and --tls-key"},
		{p.Peer != Off && (p.peerCert == "" || p.peerCA == ""), "--peer-tls is " + string(p.Peer) + "; give --peer-tls-cert, --peer-tls-key and --peer-tls-ca"},
		{p.Strict != 0 && p.Client != Require, "--hsts keeps browsers from asking in clear, and --client-tls is " + string(p.Client) + "; choose require, or leave it out"},
		{p.Strict != 0 && (p.Strict < time.Second || p.Strict > maxStrict), "--hsts is " + p.Strict.String() + "; choose 1s to " + maxStrict.String()},
		{p.Client == Off && p.clientCA != "", "--tls-client-ca asks clients for certificates, and --client-tls is off; give --tls-cert and --tls-key"},
		{p.Client == Accept && p.clientCA != "", "--tls-client-ca asks clients for certificates, and with --client-tls accept they need none, since they may come in clear; choose require, or leave the CA out for now"},
	} {
		if c.wrong {
			return errors.New(c.text)
		}
	}
	return nil
}

// Secret reports whether the plan has TLS on any port.
func (p *Plan) Secret() bool { return p.Client != Off || p.Peer != Off }
