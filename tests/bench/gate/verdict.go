package gate

import (
	"fmt"
	"math"
	"slices"
)

// Chance is the probability below which a difference counts as more than luck: that of the
// sums of the rounds' differences, with their signs drawn anew, at least as large as the one
// measured.
const Chance = 0.01

// mostRounds bounds the rounds, since Judge tries all signs of them.
const mostRounds = 20

// Word says how a quantity was judged.
type Word string

// The words.
const (
	Holds      Word = "holds"
	Worse      Word = "worse"
	CannotTell Word = "cannot tell"
)

// Round is one quantity in one round, in any unit: more is worse.
type Round struct {
	Now          float64 // of the program that is judged
	Base, Second float64 // of the earlier program, by two clusters of it
}

// ratio is the judged program's figure by the geometric mean of the earlier one's.
func (r Round) ratio() float64 { return r.Now / math.Sqrt(r.Base*r.Second) }

// Verdict is what Judge says of a quantity.
type Verdict struct {
	Ratio  float64 // the median: 1.08 is eight percent more
	Chance float64 // see the constant; 1 if there is no difference at all
	Noise  float64 // what the earlier program differs from itself by, or how far it wavers, a ratio of at least 1
	Word   Word
}

// String returns the verdict in a line: the word, the ratio, the noise and the chance.
func (v Verdict) String() string {
	return fmt.Sprintf("%s: %.3f of the earlier program, which is %.3f of itself (p = %.4f)", v.Word, v.Ratio, v.Noise, v.Chance)
}

// Judge decides on a quantity that may grow by limit, 0.05 for five percent. It is worse if
// the median of the ratios is above that and the rounds agree so far that luck is not the
// reason. If the earlier program differs from itself by more than half the limit, or wavers
// so much that the rounds cannot say, the machine is too restless for either word, unless the
// difference is far beyond that. There must be 1 to 20 rounds, and no figure may
// be 0 or less.
func Judge(limit float64, rounds []Round) (v Verdict, err error) {
	if len(rounds) == 0 || len(rounds) > mostRounds {
		return v, fmt.Errorf("gate: %d rounds; there must be 1 to %d", len(rounds), mostRounds)
	}
	var ratios, same []float64
	for i, r := range rounds {
		if !(r.Now > 0 && r.Base > 0 && r.Second > 0) {
			return v, fmt.Errorf("gate: round %d has the figures %v, %v and %v; each must be more than 0", i+1, r.Now, r.Base, r.Second)
		}
		ratios = append(ratios, math.Log(r.ratio()))
		same = append(same, math.Log(r.Second/r.Base))
	}
	v = Verdict{Ratio: math.Exp(median(ratios)), Chance: chance(ratios), Noise: math.Exp(max(math.Abs(median(same)), wavering(same))), Word: Holds}
	restless := v.Noise > 1+limit/2
	switch worse := v.Ratio > 1+limit && v.Chance < Chance; {
	case worse && (!restless || v.Ratio > (1+limit)*v.Noise*v.Noise):
		v.Word = Worse
	case restless:
		v.Word = CannotTell
	}
	return v, nil
}

// wavering returns the standard error of the median of some values, by their median distance
// from it, which a few far values do not move.
func wavering(values []float64) float64 {
	middle := median(values)
	var apart []float64
	for _, v := range values {
		apart = append(apart, math.Abs(v-middle))
	}
	const ofSigma, ofMedian = 1.4826, 1.2533 // for values that are distributed normally
	return ofSigma * ofMedian * median(apart) / math.Sqrt(float64(len(values)))
}

// chance returns the share of all signs of the values under which their sum is at least as
// large as it is: the sign-flip test for one side.
func chance(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	const dust = 1e-12 // sums of the same values in another order may differ by this
	all, atLeast := 1<<len(values), 0
	for signs := range all {
		var other float64
		for i, v := range values {
			if signs>>i&1 != 0 {
				v = -v
			}
			other += v
		}
		if other >= sum-dust {
			atLeast++
		}
	}
	return float64(atLeast) / float64(all)
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
