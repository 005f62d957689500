package main

import "math/rand/v2"

// dice is one stream of chance. Each part of a world has its own, so that taking
// one kind of trouble away leaves the draws of the others as they were for as
// long as the two runs go together.
type dice struct{ *rand.Rand }

// The streams of a seed.
const (
	streamOptions = iota + 1
	streamPlan
	streamNetwork
	streamDisk
	streamServers
	streamClients
	streamIdentity
	streamMembers
	streamCoordination
	streamCoordinators // and more, by steps of 256
)

// These lie between the steps of streamCoordinators.
const (
	streamUnwilling = 128 + iota
	streamLevels
	streamUpgrades
)

func newDice(seed, stream uint64) dice { return dice{rand.New(rand.NewPCG(seed, stream))} }

// chance is true with probability p.
func (d dice) chance(p float64) bool { return p > 0 && d.Float64() < p }

// between draws from [low, high].
func (d dice) between(low, high int64) int64 {
	if high <= low {
		return low
	}
	return low + d.Int64N(high-low+1)
}

// pick draws one of the values.
func (d dice) pick(values ...int64) int64 { return values[d.IntN(len(values))] }

// about draws a time with the given mean, between half and three halves of it.
func (d dice) about(mean int64) int64 { return d.between(mean/2, mean*3/2) }
