// Package credential reads what proves an identity: the token that a command sends,
// and the identities of a node's own file. It never takes a token from a command line,
// where other people on the machine would see it.
package credential
