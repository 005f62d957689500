package explain

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkStories tells of five nodes whose connections break and come back 4,000 times each:
// most kinds of stories look at them.
func BenchmarkStories(b *testing.B) {
	var script strings.Builder
	script.WriteString(among)
	const breaks = 4000
	for i := range breaks {
		for n := 1; n <= 5; n++ {
			peer, at := n%5+1, 10_000+i*1000+n
			fmt.Fprintf(&script, "n%d %dms ended reset peer=n%d\nn%[1]d %[4]dms unreachable no_answer peer=n%[3]d\nn%[1]d %[5]dms connected peer=n%[3]d a=1\n", n, at, peer, at+20, at+500)
		}
	}
	all := rings(b, script.String())
	b.ResetTimer()
	for range b.N {
		Stories(all, Span{From: wholeScript.From, To: wholeScript.To})
	}
	b.ReportMetric(float64(15*breaks), "events")
}
