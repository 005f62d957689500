package client

import (
	"net"
	"sync"
)

// StartExampleServers starts servers in this process for the examples, and
// returns where they take clients.
func StartExampleServers() (endpoints []string) {
	f := newFakeCluster(nil, "n1")
	for _, name := range []string{"n1", "n2", "n3"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		endpoints = append(endpoints, l.Addr().String())
		go f.acceptFor(name, l)
	}
	return endpoints
}

// acceptFor serves the connections to one server. It ends with the process.
func (f *fakeCluster) acceptFor(name string, l net.Listener) {
	var serving sync.WaitGroup
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		c := &fakeConn{Conn: conn, cluster: f, server: name}
		serving.Go(c.serve)
	}
}
