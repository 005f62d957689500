package core

import (
	"fmt"
	"testing"
)

// BenchmarkReplicate measures the whole algorithm: three servers back to back
// on one thread, everything saved and applied at once, in proposals of the
// given batch size. It must stay linear in the log's length.
func BenchmarkReplicate(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			c := newCluster(b, 3, func(c *Config) { c.PreVote, c.CheckQuorum, c.Noop = true, true, true })
			c.elect("1")
			data := make([]byte, 256)
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += batch {
				for range batch {
					if _, _, err := c.servers["1"].Propose(data); err != nil {
						b.Fatal(err)
					}
				}
				c.flush("1")
				c.settle(nil)
			}
		})
	}
}
