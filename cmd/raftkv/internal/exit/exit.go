package exit

import "fmt"

// Exit codes. They are part of the command line's promise.
const (
	Done        = 0  // it ended as it was asked to
	Failed      = 1  // a node could not start or failed; a key does not exist, a condition did not hold; a history is not linearizable
	Usage       = 2  // what was asked for cannot be: flags, settings, another node's data directory
	Unavailable = 3  // no server could do it in time; nothing was changed
	Unknown     = 4  // a write may have happened or not
	Undecided   = 5  // the search for an order of a history did not end in time
	Removed     = 6  // serve: the cluster has removed this node
	Refused     = 7  // a guard refused the change: one of the membership, or one that would leave the cluster without an admin
	HistoryGone = 8  // watch: the cluster does not keep the changes any more behind which it is to go on
	ElseBranch  = 9  // txn: a compare did not hold, and the else branch was done
	LeaseGone   = 10 // the lease is gone
	LockLost    = 11 // lock: the lock was lost
	LockNotGot  = 12 // lock: the lock was not got in time
	Output      = 13 // it was done, and what it printed could not be written
	Denied      = 14 // the servers refused the caller: its token is missing or opens nothing, or its identity lacks a right

	// ReaderGone is what shells show for a program that ends because nobody
	// reads it any more; nothing is said then.
	ReaderGone = 141
)

// Failure is an error of the world, not of the command line: a disk, a port, a
// lock. It ends the process with Failed; every other error of a command is
// the user's to mend and ends it with Usage.
type Failure struct{ err error }

func (f *Failure) Error() string { return f.err.Error() }

func (f *Failure) Unwrap() error { return f.err }

// Fail returns err as a failure.
func Fail(err error) error { return &Failure{err} }

// Ending is an error that ends the process with a code of its own.
type Ending struct {
	Code int
	err  error
}

func (e *Ending) Error() string { return e.err.Error() }

func (e *Ending) Unwrap() error { return e.err }

// Silent is the end of a command of the user's, which has said why itself.
type Silent struct{ Code int }

func (s *Silent) Error() string { return fmt.Sprintf("exit code %d", s.Code) }

// Silently returns an error that ends the process with a code and says nothing; nil for
// Done.
func Silently(code int) error {
	if code == Done {
		return nil
	}
	return &Silent{code}
}

// With returns err as an error that ends the process with a code.
func With(code int, err error) error { return &Ending{code, err} }

// LastCause returns the innermost error: the rest repeats the address.
func LastCause(err error) error {
	for {
		u, wraps := err.(interface{ Unwrap() error })
		if !wraps || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}
