package kv

import "fmt"

// UnknownError says that a command or a snapshot holds something that a later
// version of raftkv may have put there: a number or a name without a meaning in
// this version. It may be a change that other servers make or a promise that they
// keep. So a server must not go on without it: it stops, and starts again with a
// version that knows it.
//
// Malformed bytes of a known version are another matter. They mean the same on
// every server, so a command made of them gets a Status; see ErrMalformed.
type UnknownError struct {
	What   string // such as "operation" or "flag"
	Number uint64 // the number that was found
	Name   string // the name that was found, where names are used instead of numbers
}

func (e *UnknownError) Error() string {
	found := fmt.Sprint(e.Number)
	if e.Name != "" {
		found = fmt.Sprintf("%q", e.Name)
	}
	return fmt.Sprintf("this raftkv does not know the %s %s; a newer one wrote it: upgrade this node", e.What, found)
}
