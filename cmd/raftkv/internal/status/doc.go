// Package status is what the nodes of a cluster say of themselves, taken together.
//
// Survey asks all endpoints, Judge finds what no cluster in order shows, and Drawing
// draws a table with a line for each node.
package status
