package explain

import (
	"strings"
	"testing"
)

// Goal (section 5 of the contract): the way of a request is told with what is known of it,
// and what became of its entry only where an event shows it.
// Method: a request that waited for a slow disk; one whose leader was lost, and whose entry
// was dropped; one that was committed though its client was told nothing; one that was
// passed on.
func TestTheWayOfARequestIsTold(t *testing.T) {
	const at = base/1_000_000 + 10_000
	for _, c := range []struct {
		name, script string
		request      Request
		want, never  []string
	}{
		{"slow disk", "n1 11.3s slow_save a=1.3s b=200us\n", Request{Node: "n1", Method: "PUT", At: at, Placed: 100_000, Ended: 1_300_000_000, Index: 50, Term: 1, Status: 201},
			[]string{"The PUT came to n1, which led term 1 and put it into its log as entry 50, 0.1 ms after it came.", "Writes to n1's disk took up to 1.3 s meanwhile (usually 0.2 ms).", "It was answered after 1.3 s, with status 201."}, []string{"dropped", "happened"}},
		{"dropped", deadLeader + "n1 20s truncated peer=n2 term=2 index=50 a=52 b=1\n", Request{Node: "n1", At: at - 100, Placed: 1, Ended: 5_000_000_000, Index: 51, Term: 1, Status: 504, Code: "leadership_lost", Unknown: true},
			[]string{"status 504 (leadership_lost); its outcome was not known then", "n1 dropped the entry afterwards", "leader_"}, []string{"happened:"}},
		{"committed", "n1 60s minute term=1 index=70\n", Request{Node: "n1", At: at, Ended: 1, Index: 51, Term: 1, Status: 504, Code: "timeout", Unknown: true},
			[]string{"It happened: n1 committed up to entry 70 in term 1."}, []string{"dropped"}},
		{"committed in another term", "n1 60s minute term=2 index=70\n", Request{Node: "n1", At: at, Ended: 1, Index: 51, Term: 1, Status: 504, Unknown: true},
			[]string{"What became of the entry is not recorded"}, []string{"It happened"}},
		{"passed on", "", Request{Node: "n2", Method: "DELETE", Leader: "n1", At: at, Ended: 5_000_000_000, Status: 504, Code: "timeout", Unknown: true},
			[]string{"The DELETE came to n2, which passed it on to n1."}, []string{"entry"}},
	} {
		sentences, meanwhile := OfRequest(rings(t, among+c.script), &c.request)
		told := strings.Join(sentences, " ") + " " + text(meanwhile)
		for _, words := range c.want {
			if !strings.Contains(told, words) {
				t.Errorf("%s: %q is missing in %s", c.name, words, told)
			}
		}
		for _, words := range c.never {
			if strings.Contains(told, words) {
				t.Errorf("%s: %q is in %s", c.name, words, told)
			}
		}
	}
}
