// Package address reads addresses as they are typed, opens the ports of a node, and warns
// of addresses that mean another machine to whoever gets them.
package address
