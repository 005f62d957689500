package main

import (
	"crypto/tls"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
)

// Goal: raftkv cert makes what serve and clients take, in files that nobody else can read,
// replaces nothing unless told to, and says what a certificate holds; a list of what was
// revoked only grows, by files and by serial numbers.
// Method: all of its commands, in a directory.
func TestCertificatesAreMade(t *testing.T) {
	dir := t.TempDir()
	cert := func(want int, words string) string {
		t.Helper()
		var said strings.Builder
		if code := run(append([]string{"cert"}, strings.Fields(strings.ReplaceAll(words, "DIR", dir))...), &said, &said); code != want {
			t.Errorf("cert %s: code %d, want %d: %s", words, code, want, said.String())
		}
		return said.String()
	}
	if said := cert(exit.Failed, "node --dir DIR --id n1"); !strings.Contains(said, "raftkv cert ca") {
		t.Errorf("without a CA: %s", said)
	}
	cert(exit.Done, "ca --dir DIR")
	cert(exit.Done, "node --dir DIR --cluster-id kv --id n1 --hosts localhost,127.0.0.1")
	cert(exit.Done, "node --dir DIR --cluster-id kv --id n2 --peer-identity dns:{id}.peers.example.org")
	cert(exit.Done, "server --dir DIR --hosts kv.example.org")
	cert(exit.Done, "client --dir DIR --name laptop")
	cert(exit.Done, "crl --dir DIR --revoke DIR/node-n1.pem")
	inspect := func() string { t.Helper(); return cert(exit.Done, "inspect DIR/crl.pem") }
	serial := func(name string) string {
		_, after, _ := strings.Cut(cert(exit.Done, "inspect DIR/"+name+".pem"), "serial   ")
		return strings.TrimSpace(after)
	}
	n1, laptop, server := serial("node-n1"), serial("laptop"), serial("server")
	cert(exit.Done, "crl --dir DIR --revoke "+laptop)
	bytes, _ := new(big.Int).SetString(server, 16)
	cert(exit.Done, "crl --dir DIR --revoke dec:"+bytes.String()+",0x1000,"+n1)
	if said := inspect(); strings.Count(said, "revoked  ") != 4 || !strings.Contains(said, n1) || !strings.Contains(said, laptop) || !strings.Contains(said, server) || !strings.Contains(said, "revoked  1000 (") {
		t.Errorf("revoked are %s, %s, %s and 1000, and the list is\n%s", n1, laptop, server, said)
	}
	before := inspect()
	for _, wrong := range []string{"4097", "nosuch.pem", "-1", "0x", "dec:1f", "00"} {
		if said := cert(exit.Usage, "crl --dir DIR --revoke="+wrong); !strings.Contains(said, wrong) {
			t.Errorf("--revoke %s: %s", wrong, said)
		}
	}
	cert(exit.Done, "ca --dir DIR/other")
	Must(t, os.WriteFile(filepath.Join(dir, "other", "crl.pem"), []byte("x"), 0o600))
	if said := cert(exit.Failed, "crl --dir DIR/other"); !strings.Contains(said, "--force") {
		t.Errorf("something else is in place of a list: %s", said)
	}
	if said := cert(exit.Failed, "crl --dir DIR --ca DIR/other/ca.pem --ca-key DIR/other/ca-key.pem --revoke 0x1"); !strings.Contains(said, "none is of this CA") || !strings.Contains(said, "--force") || inspect() != before {
		t.Errorf("a list of another CA: %s", said)
	}
	if said := cert(exit.Failed, "node --dir DIR --id n9 --ca DIR/other/ca.pem"); !strings.Contains(said, filepath.Join(dir, "ca-key.pem")) || !strings.Contains(said, filepath.Join(dir, "other", "ca.pem")) || !strings.Contains(said, "--ca-key") {
		t.Errorf("the key of one CA and the certificate of another: %s", said)
	}
	cert(exit.Done, "crl --dir DIR/other --force")
	if said := cert(exit.Done, "inspect DIR/other/crl.pem"); !strings.Contains(said, "revoked  none") {
		t.Errorf("a list to begin with: %s", said)
	}
	Must(t, os.RemoveAll(filepath.Join(dir, "other")))
	if said := cert(exit.Failed, "ca --dir DIR"); !strings.Contains(said, "--force") {
		t.Errorf("a CA is replaced: %s", said)
	}
	for _, wrong := range []string{"node --dir DIR --id .x", "node --dir DIR", "server --dir DIR", "client --dir DIR --name ../x", "ca --dir DIR/other --days 0", "node --dir DIR --id n9 --peer-identity x"} {
		cert(exit.Usage, wrong)
	}
	names, err := os.ReadDir(dir)
	Must(t, err)
	var found []string
	for _, entry := range names {
		info, err := entry.Info()
		Must(t, err)
		found = append(found, entry.Name())
		if secret := strings.Contains(entry.Name(), "-key"); secret && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", entry.Name(), info.Mode())
		}
	}
	if want := "ca-key.pem ca.pem crl.pem laptop-key.pem laptop.pem node-n1-key.pem node-n1.pem node-n2-key.pem node-n2.pem server-key.pem server.pem"; strings.Join(found, " ") != want {
		t.Errorf("%v, want %s", found, want)
	}
	for _, name := range []string{"ca", "node-n1", "laptop", "server"} {
		if _, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	said := cert(exit.Done, "inspect DIR/node-n1.pem DIR/node-n2.pem DIR/ca.pem DIR/laptop.pem")
	for _, want := range []string{"raftkv://kv/node/n1, localhost, 127.0.0.1", "n2.peers.example.org", "server, client", "CN=raftkv CA", "(valid)"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
	if code := run([]string{"cert", "inspect", filepath.Join(dir, "ca-key.pem")}, io.Discard, io.Discard); code != exit.Failed {
		t.Errorf("a key is inspected: code %d", code)
	}
}

// Goal: while one CA takes the place of another, a file holds the lists of both, and each can be
// added to: the other one stays as it is, two of one CA become one, and a certificate of another
// CA is refused. Method: the commands, in two directories.
func TestAFileOfTwoRevocationLists(t *testing.T) {
	dir := t.TempDir()
	cert := func(want int, words string) string {
		t.Helper()
		var said strings.Builder
		if code := run(append([]string{"cert"}, strings.Fields(strings.ReplaceAll(words, "DIR", dir))...), &said, &said); code != want {
			t.Errorf("cert %s: code %d, want %d: %s", words, code, want, said.String())
		}
		return said.String()
	}
	for _, of := range []string{"old", "new"} {
		cert(exit.Done, "ca --dir DIR/"+of+" --name "+of)
		cert(exit.Done, "crl --dir DIR/"+of)
		cert(exit.Done, "node --dir DIR/"+of+" --id n1")
	}
	file := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		Must(t, err)
		return string(text)
	}
	for _, name := range []string{"ca.pem", "crl.pem"} {
		Must(t, os.WriteFile(filepath.Join(dir, "old", name), []byte(file("old/"+name)+file("new/"+name)), 0o600))
	}
	const byNew = " --ca DIR/new/ca.pem --ca-key DIR/new/ca-key.pem"
	cert(exit.Done, "crl --dir DIR/old --revoke DIR/old/node-n1.pem")
	if !strings.Contains(file("old/crl.pem"), file("new/crl.pem")) {
		t.Error("the list of the other CA is another one now")
	}
	cert(exit.Done, "crl --dir DIR/old --revoke 0x2000"+byNew)
	Must(t, os.WriteFile(filepath.Join(dir, "old", "crl.pem"), []byte(file("old/crl.pem")+file("new/crl.pem")), 0o600))
	cert(exit.Done, "crl --dir DIR/old --revoke DIR/new/node-n1.pem"+byNew)
	said := cert(exit.Done, "inspect DIR/old/crl.pem")
	if strings.Count(said, "issuer   CN=old") != 1 || strings.Count(said, "issuer   CN=new") != 1 || strings.Count(said, "revoked  ") != 3 || strings.Contains(said, "none") {
		t.Errorf("the lists are\n%s", said)
	}
	before := file("old/crl.pem")
	if said := cert(exit.Failed, "crl --dir DIR/old --revoke DIR/new/node-n1.pem"); !strings.Contains(said, "name its CA with --ca") || file("old/crl.pem") != before {
		t.Errorf("a certificate of the other CA: %s", said)
	}
}
