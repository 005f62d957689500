package main

// The certificates of a running node (cmd/raftkv/internal/secure).
var secureMutants = []mutant{
	inTests("TLS8", "TestFilesAreTakenWhole", "new files are in use before the pair was checked: the key of one and the certificate of another", "cmd/raftkv/internal/secure/keys.go",
		"\tis = digestOf(f.Cert, f.Key, f.CA, f.CRL)\n\tset, err := certs.Parse(f, now)\n",
		"\tis = digestOf(f.Cert, f.Key, f.CA, f.CRL)\n\tif old := k.peer.Set(); old != nil {\n\t\tk.peer.Swap(new(certs.Set), nil)\n\t}\n\tset, err := certs.Parse(f, now)\n"),
	inTests("TLS16", "TestNothingIsPassedOn", "what came by TLS is passed on in clear", "cmd/raftkv/internal/secure/dial.go",
		"!to.Secret && k.plan.Client != Require {", "!to.Secret {"),
	inTests("TLS17", "TestWhatIsOpen", "a port on which TLS may be left out does not count as open", "cmd/raftkv/internal/secure/exposure.go",
		"\t\tif p.Client != Require {", "\t\tif p.Client == Off {"),
	inFile("AU31", "a data directory of before the rule is held to it once identities are enforced", "cmd/raftkv/internal/secure/mark.go",
		"\tm.Older, m.Identities = !m.Holds(), is\n", "\tm.Identities = is\n", "test ./cmd/raftkv/internal/secure TestADirectory"),
	inTests("TLS44", "TestAListOfAnotherCA", "a list that revokes nothing is taken without a word", "cmd/raftkv/internal/secure/keys.go",
		"\t\tk.warnOfLists(g, p.crl, now, own, others)\n", ""),
	inTests("AU163", "TestACAWithoutAList", "an earlier lack of a list is shown for ever", "cmd/raftkv/internal/secure/keys.go",
		"\tg.unlisted.Store(int64(len(unlisted)))\n", "\tg.unlisted.Add(int64(len(unlisted)))\n"),
}
