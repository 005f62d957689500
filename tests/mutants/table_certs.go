package main

// Certificates (raft/certs).
var certsMutants = []mutant{
	inTests("TLS5b", "TestBothSides|TestADialler", "the server that answers may be another one than was called", "raft/certs/config.go",
		"if err == nil && !identity.any && is != id && id != \"\" {", "if err == nil && !identity.any && is == \"\" {"),
	inTests("TLS9", "TestANodeVerifies|TestBothSides", "revocation lists are read by listeners only", "raft/certs/verify.go",
		"\t\tif revoked = s.revoked.in(chain); revoked == nil {", "\t\tif revoked = s.revoked.in(chain); revoked == nil || usage == x509.ExtKeyUsageServerAuth {"),
	inTests("TLS10", "TestNoSessionIsResumed", "sessions are resumed", "raft/certs/config.go",
		"\t\t// A resumed session would skip the chain and the revocation lists.\n\t\tSessionTicketsDisabled: true,\n", ""),
	inTests("TLS11", "TestATemplate|TestBothSides|TestThePeerPortIsFor", "of two nodes that a certificate names the first counts", "raft/certs/node.go",
		"\tcase 1:\n", "\tcase 1, 2:\n"),
	inTests("TLS12", "TestStandingConnections|TestARevokedPeer", "connections that stand are not judged again", "raft/certs/store.go",
		"\t\terr := set.stands(t.chain, t.usage, t.handshake, now)\n", "\t\terr := set.stands(t.chain, t.usage, t.handshake, now)\n\t\terr = nil\n"),
	inTests("TLS13", "TestExpiryEnds", "an expired certificate ends the connections that stand", "raft/certs/verify.go",
		"[]time.Time{handshake, now, chain[0].NotAfter}", "[]time.Time{now}"),
	inTests("TLS20", "TestOldClients", "clients of TLS 1.2 get ciphers without authenticated encryption", "raft/certs/config.go",
		"minVersion, []string{ClientProtocol}, authenticated", "minVersion, []string{ClientProtocol}, nil"),
	inTests("TLS40", "TestARevokedPeer|TestThePeerPortIsFor|TestBothSides", "the peers' listener reads no revocation list", "raft/certs/verify.go",
		"\t\tif revoked = s.revoked.in(chain); revoked == nil {", "\t\tif revoked = s.revoked.in(chain); revoked == nil || usage == x509.ExtKeyUsageClientAuth {"),
	inTests("TLS41", "TestANodeVerifies", "a node calls a client port whose certificate is a client's", "raft/certs/config.go",
		"\tc.MinVersion, c.NextProtos, c.ServerName = tls.VersionTLS12, []string{ClientProtocol}, host\n\tc.VerifyConnection = func(cs tls.ConnectionState) error {\n\t\tif err := checkTerms(cs, ClientProtocol, true); err != nil {\n\t\t\treturn err\n\t\t}\n\t\tif err := store.Set().verify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth,", "\tc.MinVersion, c.NextProtos, c.ServerName = tls.VersionTLS12, []string{ClientProtocol}, host\n\tc.VerifyConnection = func(cs tls.ConnectionState) error {\n\t\tif err := checkTerms(cs, ClientProtocol, true); err != nil {\n\t\t\treturn err\n\t\t}\n\t\tif err := store.Set().verify(cs.PeerCertificates, x509.ExtKeyUsageAny,"),
	inFile("TLS42", "clients may show a server's certificate", "raft/certs/config.go",
		"err != nil || !demand {\n\t\t\treturn err\n\t\t}\n\t\treturn store.Set().verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth,", "err != nil || !demand {\n\t\t\treturn err\n\t\t}\n\t\treturn store.Set().verify(cs.PeerCertificates, x509.ExtKeyUsageAny,", "test ./kvserver/port TestClientsWithTheWrong", "test ./raft/certs"),
	inTests("AU153", "TestAFileThatIsHalfThere", "a file of certificates that is half written is taken for a shorter one", "raft/certs/set.go",
		"\tif begun != len(all) {\n", "\tif false {\n"),
	inFile("TLS45", "every revocation list is one of another CA", "raft/certs/revoked.go",
		"if !known && !slices.Contains(issuers, issuer) {", "if known || !slices.Contains(issuers, issuer) {", "test ./cmd/raftkv/internal/secure TestAListOfAnotherCA"),
}
