// Package inventory says what a directory holds before a command uses it: the data of
// one node, a cluster of 'raftkv dev', or something that is not ours.
//
// A directory that is given by mistake must not be used, and above all not be emptied.
// So Take looks at the names in it and changes nothing. CheckForServe and
// CheckForRestore decide from that whether the directory may be used. ReadDev, WriteDev
// and RemoveDev handle the data of a dev cluster, which consists of the directories of
// its nodes and of a mark that says that dev has made them (dev.go).
//
// Whether a directory is that of the node which wants to start on it is decided
// elsewhere (raft/datadir). Errors of type *datadir.Fault are about the disk or about
// damage; all others say that the directory is not the right one.
package inventory
