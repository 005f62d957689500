// Package arch holds the source of this module to its own rules: which package
// may import which, what the pure packages may not touch, how long a file may
// be, what must be documented, and that the documents name what exists.
//
// Each rule is a function from a parsed tree to complaints. The tests run every
// rule over the module and, so that a rule that sees nothing is not taken for a
// tree without faults, over small sources that break it.
//
// It reads source and does not import what it judges: a tree that no longer
// builds, because an arrow closed a circle, still gets its complaints.
package arch
