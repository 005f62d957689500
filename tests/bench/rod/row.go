package rod

import (
	"fmt"

	"raftkv/client/bench"
)

// Face is the door of a service by which a row's clients ask.
type Face string

// The faces.
const (
	Clerk        Face = "clerk"         // a service's own client, 8 connections
	HTTP         Face = "http"          // at the leader, one connection for each client
	HTTPFollower Face = "http-follower" // the same at a follower
	InProcess    Face = "in-process"    // by calls of a library in the leader's process
)

// Row is one kind of load.
type Row struct {
	Name    string
	Face    Face
	Mix     bench.Mix
	Clients int
}

// row returns a row whose name ends with the number of its clients.
func row(name string, face Face, mix string, clients int) Row {
	m, err := bench.ParseMix(mix)
	if err != nil {
		panic(err) // the mixes are below
	}
	return Row{fmt.Sprintf("%s%d", name, clients), face, m, clients}
}

// httpClients is the number of connections of all rows over HTTP.
const httpClients = 64

// PutRow returns the row of clients that put by a Clerk.
func PutRow(clients int) Row { return row("put", Clerk, "put=1", clients) }

// GetRow returns the row of clients that read by a Clerk, linearizably.
func GetRow(clients int) Row { return row("get", Clerk, "get=1", clients) }

// StaleRow returns the row of clients that read from any server by a Clerk.
func StaleRow(clients int) Row { return row("stale", Clerk, "stale=1", clients) }

// MixRow returns the row of clients that read nine times for each put.
func MixRow(clients int) Row { return row("mix", Clerk, "get=9,put=1", clients) }

// ProposeRow returns the row of callers that propose puts to a library.
func ProposeRow(clients int) Row { return row("propose", InProcess, "put=1", clients) }

// ReadIndexRow returns the row of callers that read by a library, linearizably.
func ReadIndexRow(clients int) Row { return row("readindex", InProcess, "get=1", clients) }

// Rows over HTTP. Those at a follower have an f in their names.
var (
	HTTPGet         = row("hget", HTTP, "get=1", httpClients)
	HTTPPut         = row("hput", HTTP, "put=1", httpClients)
	HTTPGetFollower = row("hgetf", HTTPFollower, "get=1", httpClients)
	HTTPPutFollower = row("hputf", HTTPFollower, "put=1", httpClients)
	HTTPStale       = row("hstalef", HTTPFollower, "stale=1", httpClients)
)
