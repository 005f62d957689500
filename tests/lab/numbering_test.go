package lab

import "testing"

// Goal: every scenario runs under one name, the one that was asked for. Method:
// what each pattern leaves out.
func TestRunPatternPicksOneNumbering(t *testing.T) {
	all := Numberings{{Pattern: "2[ABCD]"}, {Pattern: "3[ABCD]"}, {Names: []string{"Election", "ReElection", "Figure8", "Backup"}}}
	two, three, old := all[0].tests(), all[1].tests(), all[2].tests()
	for pattern, want := range map[string]string{
		"":                   three + "|" + old,
		".":                  three + "|" + old,
		"Snapshot":           three + "|" + old,
		"2A":                 three + "|" + old,
		"2A|2B|2C|2D":        three + "|" + old,
		"TestFigure82C":      three + "|" + old,
		"3C":                 two + "|" + old,
		"TestPersist33C$":    two + "|" + old,
		"Election":           two + "|" + three,
		"TestFigure8$":       two + "|" + three,
		"TestBackup2B|3[AB]": old,
	} {
		if got := all.others(pattern); got != want {
			t.Errorf("-run %q leaves out %q, not %q", pattern, got, want)
		}
	}
}
