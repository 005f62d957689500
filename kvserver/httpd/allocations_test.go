package httpd

import (
	"testing"

	"raftkv/tests/bench/allocations"
)

// Goal: a request takes no more memory than it did. Method: the handler's benchmarks,
// over a log that chooses at once. Their requests count, too: see "request".
func TestAllocations(t *testing.T) {
	allocations.Check(t, "kvserver/httpd", []allocations.Loop{
		{Name: "put", Run: BenchmarkHandlerPut},
		{Name: "get", Run: BenchmarkHandlerGet},
		{Name: "request", Run: BenchmarkRequest},
	})
}
