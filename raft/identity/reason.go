package identity

import (
	"fmt"

	"raftkv/raft/core"
)

// Reason names why a server turns down another one that says hello. Values travel in
// refusals between servers, so they are only ever added to. The reasons that concern
// the connection instead of the identity are in raft/wire.
type Reason string

// The reasons that follow from an Identity. All but the first are about the data
// directory of the server that says hello.
const (
	OtherCluster Reason = "cluster"     // it belongs to another cluster
	Wiped        Reason = "wiped"       // its directory is another one than before
	RolledBack   Reason = "rolled-back" // its directory is in an earlier state than before
	Copied       Reason = "copied"      // its directory is a copy of one that is in use
	Replaced     Reason = "replaced"    // a newer directory has taken the place of its own
)

// sentences describe what happened to a data directory. %q is its server.
var sentences = map[Reason]string{
	Wiped:      "server %q has another data directory than the one we know: it was emptied or replaced, and what the server had promised went with it; empty it and start the server with --rejoin",
	RolledBack: "the data directory of server %q was put back to an earlier state, or a copy of it was started since: what the server has promised since then is not in it; empty it and start the server with --rejoin",
	Copied:     "the data directory of server %q is in use twice: this is the copy that came second; stop it",
	Replaced:   "the data directory of server %q has been replaced by a newer one: this is the old one, which must not be used again",
}

// Fences reports whether a server that is turned down for r must not go on with its
// data directory.
func (r Reason) Fences() bool { return sentences[r] != "" }

// Describe returns a sentence for people that says what happened to the data
// directory of a server, and what to do. It is empty unless r fences.
func (r Reason) Describe(server core.ID) string {
	if !r.Fences() {
		return ""
	}
	return fmt.Sprintf(sentences[r], server)
}
