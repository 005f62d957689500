package ask

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"raftkv/cmd/raftkv/internal/exit"
)

// Reasons are why each of several nodes did not do what it was asked for. The zero value is
// ready; it is an error once a reason was added.
type Reasons struct {
	texts []string
	from  [][]string // by text
	all   []error
}

// Add adds what an endpoint said.
func (r *Reasons) Add(endpoint string, err error) {
	r.all = append(r.all, err)
	for i, text := range r.texts {
		if text == err.Error() {
			r.from[i] = append(r.from[i], endpoint)
			return
		}
	}
	r.texts, r.from = append(r.texts, err.Error()), append(r.from, []string{endpoint})
}

// Error names the nodes, those with one reason together.
func (r *Reasons) Error() string {
	var clauses []string
	for i, text := range r.texts {
		clauses = append(clauses, strings.Join(r.from[i], ", ")+": "+text)
	}
	return strings.Join(clauses, "; ")
}

// Ended ends a command that no node did, with a sentence about that in front of the reasons. A
// node that may have done it all the same ends it with exit.Unknown, and not with the code that
// is given.
func (r *Reasons) Ended(code int, sentence string) error {
	if slices.ContainsFunc(r.all, MayBeDone) {
		return exit.With(exit.Unknown, fmt.Errorf("it is not known whether it was done: %w", r))
	}
	return exit.With(code, fmt.Errorf("%s%w%s", sentence, r, r.advice()))
}

// NobodyThere says what to do where nobody listens at any endpoint.
const NobodyThere = ". Does a cluster run there? `raftkv dev` starts one; --endpoints names another"

func (r *Reasons) advice() string {
	for _, err := range r.all {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return ""
		}
	}
	return NobodyThere
}

// Final is Ended behind the refusal of a node that holds for all of them: it alone is told,
// unless a node that was asked before may have done it.
func (r *Reasons) Final(code int, endpoint string, err error) error {
	if slices.ContainsFunc(r.all, MayBeDone) {
		r.Add(endpoint, err)
		return r.Ended(code, "")
	}
	return exit.With(code, fmt.Errorf("%s: %w", endpoint, err))
}

// Unwrap returns the reasons one by one.
func (r *Reasons) Unwrap() []error { return r.all }
