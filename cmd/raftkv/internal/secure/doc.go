// Package secure is the certificates of one running node: which files they are in, what
// they must be, and how they are replaced while the node runs. It also holds the rule that
// a node speaks in clear beyond its own machine only if that was said.
//
// # Mental model
//
// A Plan is what the settings say. Open reads the files that it names and makes Keys of
// them, or says in a sentence what is wrong with them. From then on the files are looked
// at every ten seconds, by their content: orchestrators replace files in ways of which the
// system tells nobody. Files that changed are taken whole or not at all: Keys has two
// groups, the client port's and the peer port's, and a group whose new files are wrong in
// any way stays as it was.
//
// # The parts
//
//	settings.go    the settings, and the plan that they make
//	files.go       reading files, and which users may read a key
//	keys.go        the two groups, and what each must be
//	reload.go      looking at the files while the node runs
//	dial.go        calling the client port of another node
//	exposure.go    what is in clear beyond this machine, and whether that was said
//	mark.go        what a data directory remembers of these rules and of identities
//
// # Goroutines and locks
//
// Watch is the one goroutine, the caller's. Keys.mu guards what is known of the files; it
// is held while they are read, and no other lock is taken meanwhile but those of
// certs.Store.
package secure
