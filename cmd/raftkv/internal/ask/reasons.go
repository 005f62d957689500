package ask

import "strings"

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

// Unwrap returns the reasons one by one.
func (r *Reasons) Unwrap() []error { return r.all }
