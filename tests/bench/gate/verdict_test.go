package gate

import (
	"math"
	"math/rand/v2"
	"testing"
)

// rounds draws eight rounds in which the judged program needs factor as much, and each
// figure is off by up to noise either way.
func rounds(random *rand.Rand, factor, noise float64) (all []Round) {
	for range 8 {
		off := func() float64 { return math.Exp(noise * (2*random.Float64() - 1)) }
		hour := 50 * math.Exp(random.Float64()) // what all sides of a round share
		all = append(all, Round{Now: hour * factor * off(), Base: hour * off(), Second: hour * off()})
	}
	return all
}

// Goal: V9: eight percent more is caught, and the same program is not. Method: a thousand
// gates of each kind, with figures that are off by up to two percent and rounds that differ
// by a factor of e.
func TestEightPercentAreCaughtAndNothingElse(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	words := func(factor float64) (n map[Word]int) {
		n = map[Word]int{}
		for range 1000 {
			v, err := Judge(0.05, rounds(random, factor, 0.02))
			if err != nil {
				t.Fatal(err)
			}
			n[v.Word]++
		}
		return n
	}
	if n := words(1.08); n[Worse] < 990 {
		t.Errorf("8 %% more: %v", n)
	}
	for _, factor := range []float64{0.8, 1, 1.02} {
		if n := words(factor); n[Worse] > 0 {
			t.Errorf("%v times as much: %v", factor, n)
		}
	}
}

// Goal: a difference that luck explains, or a machine that is restless, is no verdict
// against a program. Method: rounds made by hand.
func TestWhatIsNotJudged(t *testing.T) {
	same := func(ratios ...float64) (all []Round) {
		for _, r := range ratios {
			all = append(all, Round{Now: r, Base: 1, Second: 1})
		}
		return all
	}
	for _, test := range []struct {
		name   string
		rounds []Round
		want   Word
		chance float64
	}{
		{"all alike", same(1, 1, 1, 1, 1, 1, 1, 1), Holds, 1},
		{"ten percent in every round", same(1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1), Worse, 1. / 256},
		{"ten percent in five of eight", same(1.1, 1.1, 1.1, 1.1, 1.1, 0.9, 0.9, 0.9), Holds, 0.33},
		{"four percent in every round", same(1.04, 1.04, 1.04, 1.04, 1.04, 1.04, 1.04, 1.04), Holds, 1. / 256},
		{"too few rounds to say", same(1.1, 1.1, 1.1, 1.1, 1.1, 1.1), Holds, 1. / 64},
		{"less", same(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9), Holds, 1},
		{"a restless machine", []Round{{1.1, 1, 1.03}, {1.1, 1, 1.03}, {1.1, 1, 1.03}, {1.1, 1, 1.03}, {1.1, 1, 1.03}, {1.1, 1, 1.03}, {1.1, 1, 1.03}, {1.1, 1, 1.03}}, CannotTell, 1. / 256},
		{"a machine that wavers", []Round{{1, 1, 1.2}, {1, 1, 0.8}, {1, 1, 1.15}, {1, 1, 0.9}, {1, 1, 1.1}, {1, 1, 0.85}, {1, 1, 1.2}, {1, 1, 0.9}}, CannotTell, 0.5},
		{"half as much again on a machine that wavers", []Round{{1.5, 1, 1.2}, {1.5, 1, 0.8}, {1.5, 1, 1.15}, {1.5, 1, 0.9}, {1.5, 1, 1.1}, {1.5, 1, 0.85}, {1.5, 1, 1.2}, {1.5, 1, 0.9}}, Worse, 1. / 256},
	} {
		v, err := Judge(0.05, test.rounds)
		if err != nil || v.Word != test.want || math.Abs(v.Chance-test.chance) > 0.05 {
			t.Errorf("%s: %v, %v; want %s, p = %.4f", test.name, v, err, test.want, test.chance)
		}
	}
	for _, bad := range [][]Round{nil, make([]Round, 21), same(1, 0), {{1, math.NaN(), 1}}} {
		if v, err := Judge(0.05, bad); err == nil {
			t.Errorf("%v are judged: %v", bad, v)
		}
	}
}
