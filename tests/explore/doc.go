// Package explore visits every state that a system can reach within bounds, and asks
// at each of them whether the system keeps its promises. A simulator draws some runs;
// the explorer leaves out none.
//
// A system is given as a World: what may happen next, what comes of it, a canonical
// form by which equal states are known to be equal, and the promises. A world is a
// value: Do makes another one and leaves its receiver as it is.
//
//	search.go    Search: all states, depth first, with little memory
//	shortest.go  Shortest: breadth first, for a short way to a broken promise
//	key.go       the canonical form, hashed; the set of those seen
//
// Nothing here draws or looks at a clock, and the hash has a fixed seed. So the same
// world under the same bounds gives the same counts for ever, and a change that
// changes no behaviour changes no count.
//
// The canonical form is kept as 128 bits. Two different states with equal bits would
// hide one of them; among 10^9 states the probability of that is below 10^-20.
package explore
