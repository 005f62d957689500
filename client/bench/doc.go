// Package bench puts load on a running cluster and measures the cluster's
// performance.
//
// # Mental model
//
// Clients, each a goroutine with one request outstanding, draw operations from a
// mix and hand them to a [Target], which is the Clerk or HTTP. In a closed loop a
// client asks again as soon as it is answered. In an open loop requests have
// times at which they are due, whatever the servers do. A request that finds all
// clients busy waits, and its wait is part of its latency. (A closed loop hides
// exactly that: while the servers stand still, it does not ask.)
//
// Latencies go into a [Histogram] whose buckets are so narrow that a percentile
// is right to one in a hundred.
//
// # What it does not know
//
// The package does not know how a Target makes its requests, nor how a report is
// shown.
package bench
