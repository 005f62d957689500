// Package cluster runs clusters of real raftkv processes for tests. Main builds the
// program once per run of a test binary; Start starts a cluster of it, with data
// directories and ports on loopback.
//
// A Cluster has Nodes, a Node has a Process while it runs. A node is started,
// killed, sent signals, and asked over HTTP as a user would. Load and Proxy are
// clients and a network that keep account of what was promised; Drip is many clients
// that are slow.
//
// Whatever a test starts ends with the test. If the test failed, the last lines of
// every process are in its log. All methods fail the test themselves, unless they
// return an error. They are for the test's goroutine, unless their comment says more.
package cluster
