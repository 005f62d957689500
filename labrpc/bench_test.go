package labrpc_test

import "testing"

// BenchmarkCall measures one call without any delay: mostly gob, which describes
// the types anew each time.
func BenchmarkCall(b *testing.B) {
	m := newMarket()
	defer m.Cleanup()
	b.ReportAllocs()
	for b.Loop() {
		var sum int
		if !m.end.Call("Shop.Sum", []int{1, 2, 3}, &sum) {
			b.Fatal("no reply")
		}
	}
}

// BenchmarkCallInParallel is BenchmarkCall from all processors at once.
func BenchmarkCallInParallel(b *testing.B) {
	m := newMarket()
	defer m.Cleanup()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var sum int
			if !m.end.Call("Shop.Sum", []int{1, 2, 3}, &sum) {
				b.Fatal("no reply")
			}
		}
	})
}
