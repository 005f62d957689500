// Package exit holds how the process ends: the codes that scripts test, and the errors
// that carry one.
package exit
