package rod

import "slices"

// Quantity is a figure of a Run that can be compared.
type Quantity struct {
	Name  string
	Value func(Run) float64
}

// The quantities.
var (
	Throughput = Quantity{"ops/s", func(r Run) float64 { return r.Ops }}
	Median     = Quantity{"p50", func(r Run) float64 { return r.P50 }}
	Tail       = Quantity{"p99", func(r Run) float64 { return r.P99 }}
	Processor  = Quantity{"CPU/op", func(r Run) float64 { return r.ServerCPU + r.ClientCPU }}
)

// Comparison is a ratio of two figures of the same round.
type Comparison struct {
	Word string // for its line: "ratio put256 0.62"
	Of   Quantity
	Row  Row
	Side string
	// To is the side to which it is compared, at the row ToRow.
	To    string
	ToRow Row
}

// Spreads are the values of some figure in all rounds, in order of size.
type Spreads []float64

// Median returns the value in the middle, 0 if there is none.
func (s Spreads) Median() float64 {
	switch n := len(s); {
	case n == 0:
		return 0
	case n%2 == 0:
		return (s[n/2-1] + s[n/2]) / 2
	default:
		return s[n/2]
	}
}

// Min returns the least value, 0 if there is none.
func (s Spreads) Min() float64 { return s.at(0) }

// Max returns the greatest value, 0 if there is none.
func (s Spreads) Max() float64 { return s.at(len(s) - 1) }

func (s Spreads) at(i int) float64 {
	if len(s) == 0 {
		return 0
	}
	return s[i]
}

// Ratios returns the comparison's ratio in each round that has both figures.
func (c Comparison) Ratios(runs []Run) (all Spreads) {
	for _, a := range runs {
		if a.Row != c.Row.Name || a.Side != c.Side {
			continue
		}
		for _, b := range runs {
			if b.Round == a.Round && b.Row == c.ToRow.Name && b.Side == c.To && c.Of.Value(b) > 0 {
				all = append(all, c.Of.Value(a)/c.Of.Value(b))
			}
		}
	}
	slices.Sort(all)
	return all
}

// spread returns a figure of a side at a row in all rounds.
func spread(runs []Run, side, row string, value func(Run) float64) (all Spreads) {
	for _, r := range runs {
		if r.Side == side && r.Row == row {
			all = append(all, value(r))
		}
	}
	slices.Sort(all)
	return all
}
