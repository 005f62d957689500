package failure

import (
	"errors"
	"fmt"
	"time"
)

// failure is an error of a known kind, with a sentence for people.
type failure struct {
	kind   error
	cause  error // may be nil; kept for logs, not shown to clients
	detail string
	// retryAfter takes the place of the kind's own, if it is not 0.
	retryAfter time.Duration
	// oldest and revision are between which revisions the history is; see Gone.
	oldest, revision uint64
	operation        string // of a transaction; see InOperation
	crowded          bool   // see Crowded
}

// Of makes an error of a kind. The detail is shown to the client: it says what is
// wrong, the number, and what to do. The cause, which may be nil, is only logged.
func Of(kind, cause error, format string, args ...any) error {
	return &failure{kind: kind, cause: cause, detail: fmt.Sprintf(format, args...)}
}

// RetryAfter makes an error that tells the client when to send the request again,
// in place of the time that the kind's row has. The detail ends with that time, in
// whole seconds, as HTTP says it.
func RetryAfter(kind error, after time.Duration, format string, args ...any) error {
	detail := fmt.Sprintf(format+"; retry after %d s", append(args, int(after.Seconds()))...)
	return &failure{kind: kind, detail: detail, retryAfter: after}
}

// Crowded is RetryAfter with the kind Overloaded, for reads and writes that found no room
// among others: the node has more work than it can do. Where other things find no room, such
// as one viewer too many, that says nothing of the node.
func Crowded(after time.Duration, format string, args ...any) error {
	err := RetryAfter(Overloaded, after, format, args...)
	err.(*failure).crowded = true
	return err
}

// IsCrowded reports whether Crowded made an error.
func IsCrowded(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.crowded
}

// Gone makes an error of kind RevisionGone: changes behind a revision were asked for, and
// the history holds those from oldest on, up to the present revision.
func Gone(after, oldest, revision uint64) error {
	return &failure{
		kind: RevisionGone, oldest: oldest, revision: revision,
		detail: fmt.Sprintf("the changes behind revision %d are not all kept; the history goes from %d to %d: read the state and go on from its revision", after, oldest, revision),
	}
}

// Reach returns between which revisions the history is, for an error of Gone, and zeros
// for every other.
func Reach(err error) (oldest, revision uint64) {
	if f, ok := err.(*failure); ok {
		return f.oldest, f.revision
	}
	return 0, 0
}

// PastGone makes an error of kind RevisionGone: the store as it was at a revision was
// asked for, and the history goes from oldest to revision.
func PastGone(at, oldest, revision uint64) error {
	return &failure{
		kind: RevisionGone, oldest: oldest, revision: revision,
		detail: fmt.Sprintf("the store as it was at revision %d is not known any more; it is from revision %d to %d", at, oldest-1, revision),
	}
}

// InOperation makes an error of a kind about one operation of a transaction.
func InOperation(kind error, operation, detail string) error {
	return &failure{kind: kind, detail: detail, operation: operation}
}

// Operation returns the operation of a transaction that an error is about, "" if none.
func Operation(err error) string {
	if f, ok := err.(*failure); ok {
		return f.operation
	}
	return ""
}

func (f *failure) Error() string {
	if f.cause != nil {
		return f.detail + ": " + f.cause.Error()
	}
	return f.detail
}

// Unwrap gives the kind only: a cause may itself be of a kind, and two kinds
// would be two promises about one request.
func (f *failure) Unwrap() error { return f.kind }

// Detail returns the sentence for the client, "" for an error that Of did not make.
func Detail(err error) string {
	if f, ok := err.(*failure); ok {
		return f.detail
	}
	return ""
}

// Cause returns the cause of an error of Of, nil if it has none.
func Cause(err error) error {
	if f, ok := err.(*failure); ok {
		return f.cause
	}
	return nil
}

// RetryIn returns when the client may send the request again: the error's own
// time or that of its kind. 0: nothing is said.
func RetryIn(err error) time.Duration {
	if f, ok := err.(*failure); ok && f.retryAfter > 0 {
		return f.retryAfter
	}
	return KindOf(err).RetryAfter
}

// ErrReplaced is the cause of a context that ended because the leader on which its
// request depended had been replaced for some time. It is no kind: what it means
// for the outcome depends on how far the request had come.
var ErrReplaced = errors.New("the leader was replaced")
