package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/address"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/target"
	"raftkv/raft/certs"
	"raftkv/raft/certs/issue"
)

// certSettings are the flags of the commands that make certificates.
type certSettings struct {
	dir, ca, caKey string
	name           string
	days           int
	clusterID, id  string
	identity       string
	hosts          string
	revoked        []string
	force          bool
}

const (
	defaultCADays   = 3650
	defaultCertDays = 365
)

func newCertCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "cert",
		Short: "Make certificates for TLS, and look at them",
		Long: `Make a CA of your own and certificates for nodes, servers and clients, without
any other program. Keys are ECDSA P-256, in files that nobody else can read. No
node ever reads the key of a CA: keep it off the nodes.

Certificates of other programs (openssl, cfssl, cert-manager, SPIRE) are as good;
docs/security.md says what they must hold.`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	command.AddCommand(newCertCA(), newCertNode(), newCertServer(), newCertClient(), newCertCRL(), newCertInspect())
	return command
}

// addTo adds the flags that the commands have in common.
func (s *certSettings) addTo(command *cobra.Command, days int) {
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.dir, "dir", ".", "directory of the files; made if missing")
	flags.IntVar(&s.days, "days", days, "how long it is valid")
	flags.BoolVar(&s.force, "force", false, "replace files that are there")
}

// addSignerTo adds the flags that name the CA.
func (s *certSettings) addSignerTo(command *cobra.Command) {
	command.Flags().StringVar(&s.ca, "ca", "", "certificate of the CA (default: ca.pem in --dir)")
	command.Flags().StringVar(&s.caKey, "ca-key", "", "its key (default: ca-key.pem in --dir)")
}

func newCertCA() *cobra.Command {
	var s certSettings
	command := &cobra.Command{
		Use:     "ca",
		Short:   "Make a CA: ca.pem and ca-key.pem",
		Example: `  raftkv cert ca --dir ./pki`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := s.checkDays(); err != nil {
				return err
			}
			a, err := issue.NewAuthority(s.name, time.Now(), s.valid())
			if err != nil {
				return exit.Fail(err)
			}
			return s.write(command.OutOrStdout(), "ca", a.CertPEM, a.KeyPEM)
		},
	}
	s.addTo(command, defaultCADays)
	command.Flags().StringVar(&s.name, "name", "raftkv CA", "name of the CA, for people")
	return command
}

func newCertNode() *cobra.Command {
	var s certSettings
	command := &cobra.Command{
		Use:   "node",
		Short: "Make the certificate of a node: node-ID.pem and node-ID-key.pem",
		Long: `Make the certificate by which a node proves to its peers which node of which
cluster it is (--peer-tls-cert). With --hosts it is good for the client port of
that node, too (--tls-cert).`,
		Example: `  raftkv cert node --dir ./pki --cluster-id raftkv --id n1 --hosts n1.example.org,10.0.0.1`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := address.CheckName(s.id); err != nil {
				return fmt.Errorf("--id %w", err)
			}
			if err := address.CheckName(s.clusterID); err != nil {
				return fmt.Errorf("--cluster-id %w", err)
			}
			identity, err := certs.ParseIdentity(s.identity, s.clusterID)
			if err != nil {
				return fmt.Errorf("--peer-identity: %w", err)
			}
			r := issue.Request{Name: s.id, Hosts: listOf(s.hosts), Server: true, Client: true}
			if name, dns := identity.Name(s.id); dns {
				r.Hosts = append(r.Hosts, name)
			} else if !identity.Any() {
				r.URIs = []string{name}
			}
			return s.issue(command.OutOrStdout(), "node-"+s.id, r)
		},
	}
	s.addTo(command, defaultCertDays)
	s.addSignerTo(command)
	command.Flags().StringVar(&s.clusterID, "cluster-id", defaultClusterID, "name of the cluster")
	command.Flags().StringVar(&s.id, "id", "", "name of the node")
	command.Flags().StringVar(&s.hosts, "hosts", "", "names and addresses by which clients reach the node: a,b")
	command.Flags().StringVar(&s.identity, "peer-identity", "", "how the certificate names the node, as with serve")
	return command
}

func newCertServer() *cobra.Command {
	var s certSettings
	command := &cobra.Command{
		Use:     "server",
		Short:   "Make a certificate for client ports: NAME.pem and NAME-key.pem",
		Example: `  raftkv cert server --dir ./pki --name server --hosts kv.example.org,10.0.0.1,10.0.0.2,10.0.0.3`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			hosts := listOf(s.hosts)
			if len(hosts) == 0 {
				return errors.New("--hosts is missing: name what clients call the server, host names or addresses")
			}
			// Nodes show it to each other where clients must show one, so it has both usages.
			return s.issue(command.OutOrStdout(), s.name, issue.Request{Name: s.name, Hosts: hosts, Server: true, Client: true})
		},
	}
	s.addTo(command, defaultCertDays)
	s.addSignerTo(command)
	command.Flags().StringVar(&s.name, "name", "server", "name of the files")
	command.Flags().StringVar(&s.hosts, "hosts", "", "names and addresses by which clients reach it: a,b")
	return command
}

func newCertClient() *cobra.Command {
	var s certSettings
	command := &cobra.Command{
		Use:     "client",
		Short:   "Make a certificate for clients: NAME.pem and NAME-key.pem",
		Long:    `Make a certificate for clients of nodes with --tls-client-ca. It says that a machine may connect; it gives no rights.`,
		Example: `  raftkv cert client --dir ./pki --name laptop`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return s.issue(command.OutOrStdout(), s.name, issue.Request{Name: s.name, Client: true})
		},
	}
	s.addTo(command, defaultCertDays)
	s.addSignerTo(command)
	command.Flags().StringVar(&s.name, "name", "client", "name of the files")
	return command
}

func newCertCRL() *cobra.Command {
	var s certSettings
	command := &cobra.Command{
		Use:   "crl",
		Short: "Make a revocation list, or add to it: crl.pem",
		Long: `Add certificates to the list of those of a CA that are to be refused from now on, for
--tls-crl and --peer-tls-crl. A list that is there keeps what it holds, and is dated anew;
where there is none, one is made: without --revoke an empty one, to begin with. Lists of
other CAs in the same file stay as they are.

A certificate is named by its file, or by its serial number as 'cert inspect' and the logs
of nodes print it, in hexadecimal. Digits alone can be either: write 0x before a number in
hexadecimal, or dec: before a decimal one.`,
		Example: `  raftkv cert crl --dir ./pki
  raftkv cert crl --dir ./pki --revoke ./pki/node-n2.pem
  raftkv cert crl --dir ./pki --revoke 1f3a90c2b7d4e65508d1c2a3b4c5d6e7
  raftkv cert inspect ./pki/crl.pem`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := s.checkDays(); err != nil {
				return err
			}
			a, err := s.authority()
			if err != nil {
				return err
			}
			var serials []*big.Int
			for _, name := range s.revoked {
				serial, err := serialOf(name, a.Cert)
				if err != nil {
					return err
				}
				serials = append(serials, serial)
			}
			list := target.File{Path: filepath.Join(s.dir, "crl.pem"), Force: true, Mode: 0o644}
			var old []*x509.RevocationList
			if !s.force {
				if old, err = listsOfRevoked(list.Path); err != nil {
					return exit.Fail(fmt.Errorf("%w; with --force a new list takes its place, which forgets what it held", err))
				}
			}
			text, err := a.ExtendAmong(old, serials, time.Now(), s.valid())
			if err != nil {
				return exit.Fail(fmt.Errorf("%s: %w; name its CA with --ca and --ca-key, or begin a new list with --force if no node trusts that CA any more", list.Path, err))
			}
			if err := list.Write(func(to io.Writer) error { _, err := to.Write(text); return err }); err != nil {
				return exit.Fail(err)
			}
			_, err = fmt.Fprintln(command.OutOrStdout(), list.Path)
			return err
		},
	}
	s.addTo(command, defaultCertDays)
	command.Flags().Lookup("days").Usage = "when the next list is due; one that is past that goes on to count"
	command.Flags().Lookup("force").Usage = "begin a new list, and forget what the file holds"
	s.addSignerTo(command)
	command.Flags().StringSliceVar(&s.revoked, "revoke", nil, "certificates to be refused: files, or serial numbers")
	return command
}

// listsOfRevoked reads the revocation lists in a file, of one CA or of several; none if there is
// no file.
func listsOfRevoked(path string) (lists []*x509.RevocationList, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for len(lists) == 0 || len(strings.TrimSpace(string(text))) > 0 {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "X509 CRL" {
			return nil, fmt.Errorf("%s holds something else than revocation lists in PEM", path)
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		lists, text = append(lists, list), rest
	}
	return lists, nil
}

// maxSerialDigits is more than any serial number has, which RFC 5280 bounds by 20 bytes.
const maxSerialDigits = 64

// clearSerialDigits is from how many digits on a number without letters is a decimal one: in
// hexadecimal one of that length has letters.
const clearSerialDigits = 33

// serialOf returns the serial number of the certificate in a file, which must be of the CA whose
// list is to hold it, or the one that a text is.
func serialOf(name string, ca *x509.Certificate) (*big.Int, error) {
	if _, err := os.Stat(name); err == nil {
		some, err := certificatesOf(name)
		if err != nil {
			return nil, err
		}
		if err := some[0].CheckSignatureFrom(ca); err != nil {
			return nil, exit.Fail(fmt.Errorf("--revoke %s: the certificate is of %q, and a list of %q does not revoke it; name its CA with --ca and --ca-key", name, some[0].Issuer, ca.Subject))
		}
		return some[0].SerialNumber, nil
	}
	digits, base := strings.ReplaceAll(name, ":", ""), 16
	switch decimal, isDecimal := strings.CutPrefix(name, "dec:"); {
	case isDecimal:
		digits, base = decimal, 10
	case strings.HasPrefix(strings.ToLower(digits), "0x"):
		digits = digits[2:]
	case digits != "" && strings.Trim(digits, "0123456789") == "" && len(digits) < clearSerialDigits:
		return nil, fmt.Errorf("--revoke %s: is that hexadecimal, as 'cert inspect' prints it, or decimal? Write 0x%s or dec:%s", name, digits, digits)
	case strings.Trim(digits, "0123456789") == "":
		base = 10
	}
	serial, is := new(big.Int).SetString(digits, base)
	if !is || serial.Sign() <= 0 || len(digits) > maxSerialDigits || strings.ContainsAny(digits, "+_") {
		return nil, fmt.Errorf("--revoke %s: there is no such file, and it is no serial number (hexadecimal, as 'cert inspect' prints it)", name)
	}
	return serial, nil
}

// showRevoked prints what is to be known of a revocation list.
func showRevoked(w io.Writer, name string, l *x509.RevocationList) {
	fmt.Fprintf(w, "%s\n  issuer   %s\n  number   %d\n  dates    %s, the next one is due %s\n", name, l.Issuer, l.Number, l.ThisUpdate.UTC().Format(time.RFC3339), l.NextUpdate.UTC().Format(time.RFC3339))
	for _, e := range l.RevokedCertificateEntries {
		fmt.Fprintf(w, "  revoked  %x (%s)\n", e.SerialNumber, e.RevocationTime.UTC().Format(time.RFC3339))
	}
	if len(l.RevokedCertificateEntries) == 0 {
		fmt.Fprintln(w, "  revoked  none")
	}
}

func newCertInspect() *cobra.Command {
	return &cobra.Command{
		Use:     "inspect FILE...",
		Short:   "Show what certificates and revocation lists say",
		Example: `  raftkv cert inspect ./pki/node-n1.pem`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			for _, name := range args {
				if lists, err := listsOfRevoked(name); err == nil && lists != nil {
					for _, list := range lists {
						showRevoked(command.OutOrStdout(), name, list)
					}
					continue
				}
				all, err := certificatesOf(name)
				if err != nil {
					return err
				}
				for _, c := range all {
					showCertificate(command.OutOrStdout(), name, c, time.Now())
				}
			}
			return nil
		},
	}
}

// showCertificate prints what is to be known of a certificate.
func showCertificate(w io.Writer, name string, c *x509.Certificate, now time.Time) {
	var names, uses []string
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	names = append(names, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if c.IsCA {
		uses = append(uses, "CA")
	}
	if slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		uses = append(uses, "server")
	}
	if slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		uses = append(uses, "client")
	}
	state := "valid"
	switch {
	case now.After(c.NotAfter):
		state = "expired"
	case now.Before(c.NotBefore):
		state = "not valid yet"
	}
	fmt.Fprintf(w, "%s\n  subject  %s\n  issuer   %s\n  names    %s\n  for      %s\n  dates    %s to %s (%s)\n  serial   %x\n",
		name, c.Subject, c.Issuer, strings.Join(names, ", "), strings.Join(uses, ", "),
		c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), state, c.SerialNumber)
}

func certificatesOf(name string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, exit.Fail(err)
	}
	all, err := certs.ParseCertificates(certs.File{Name: name, PEM: text})
	if err != nil {
		return nil, exit.Fail(err)
	}
	return all, nil
}

func (s *certSettings) valid() time.Duration { return time.Duration(s.days) * 24 * time.Hour }

func (s *certSettings) checkDays() error {
	if s.days < 1 || s.days > 36500 {
		return fmt.Errorf("--days is %d; choose 1 to 36500", s.days)
	}
	return nil
}

// authority reads the CA.
func (s *certSettings) authority() (*issue.Authority, error) {
	ca, key := s.ca, s.caKey
	if ca == "" {
		ca = filepath.Join(s.dir, "ca.pem")
	}
	if key == "" {
		key = filepath.Join(s.dir, "ca-key.pem")
	}
	certPEM, err := os.ReadFile(ca)
	if err != nil {
		return nil, exit.Fail(fmt.Errorf("the CA cannot be read: %w; make one with raftkv cert ca, or name it with --ca", err))
	}
	keyPEM, err := os.ReadFile(key)
	if err != nil {
		return nil, exit.Fail(fmt.Errorf("the key of the CA cannot be read: %w; name it with --ca-key", err))
	}
	a, err := issue.LoadAuthority(certPEM, keyPEM)
	if err != nil {
		return nil, exit.Fail(fmt.Errorf("%s and %s: %w; name the certificate and the key of one CA with --ca and --ca-key", ca, key, err))
	}
	return a, nil
}

// issue makes a certificate and writes it.
func (s *certSettings) issue(out io.Writer, name string, r issue.Request) error {
	if err := address.CheckName(name); err != nil {
		return fmt.Errorf("--name %w", err)
	}
	if err := s.checkDays(); err != nil {
		return err
	}
	a, err := s.authority()
	if err != nil {
		return err
	}
	cert, key, err := a.IssueFor(r, time.Now(), s.valid())
	if err != nil {
		return exit.Fail(err)
	}
	return s.write(out, name, cert, key)
}

// write writes a certificate and its key, each whole or not at all. The key comes first:
// what finds a certificate finds its key. What is no file is not replaced, --force or not.
func (s *certSettings) write(out io.Writer, name string, cert, key []byte) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return exit.Fail(err)
	}
	type piece struct {
		file    target.File
		content []byte
	}
	var pieces []piece
	for _, p := range []piece{
		{target.File{Path: filepath.Join(s.dir, name+"-key.pem"), Force: s.force}, key},
		{target.File{Path: filepath.Join(s.dir, name+".pem"), Force: s.force, Mode: 0o644}, cert},
	} {
		if p.content == nil {
			continue
		}
		// Both names are looked at before one of them is written.
		if err := p.file.Check(); err != nil {
			return exit.Fail(err)
		}
		pieces = append(pieces, p)
	}
	for _, p := range pieces {
		if err := p.file.Write(func(to io.Writer) error { _, err := to.Write(p.content); return err }); err != nil {
			return exit.Fail(err)
		}
		fmt.Fprintln(out, p.file.Path)
	}
	return nil
}
