package lab

import (
	"fmt"
	"sync/atomic"

	"raftkv/labrpc"
)

// Wiring is the network between n servers: an end from each to each, renewed
// whenever a server starts. But for Connected its own methods belong to one
// goroutine.
type Wiring struct {
	*labrpc.Network
	names     [][]string // names[i][j]: the end with which i reaches j; nil before i first started
	connected []atomic.Bool
	sides     []int // of a partition, by server; ends lead to servers of the same side
}

// NewWiring returns a network for n servers, all of them disconnected.
func NewWiring(n int) *Wiring {
	return &Wiring{
		Network:   labrpc.MakeNetwork(),
		names:     make([][]string, n),
		connected: make([]atomic.Bool, n),
		sides:     make([]int, n),
	}
}

// NewEnds gives server i fresh ends, so that calls of an earlier life of it get
// nowhere, and returns them.
func (w *Wiring) NewEnds(i, life int) []*labrpc.ClientEnd {
	ends := make([]*labrpc.ClientEnd, len(w.names))
	w.names[i] = make([]string, len(w.names))
	for j := range ends {
		name := fmt.Sprintf("%d.%d-%d", i, life, j)
		ends[j] = w.MakeEnd(name)
		w.Network.Connect(name, j)
		w.names[i][j] = name
	}
	return ends
}

// SetConnected puts server i on the network or cuts it off, in both directions.
func (w *Wiring) SetConnected(i int, yes bool) {
	w.connected[i].Store(yes)
	for j := range w.names {
		w.enable(i, j)
		w.enable(j, i)
	}
}

// Connected reports whether server i is on the network.
func (w *Wiring) Connected(i int) bool { return w.connected[i].Load() }

// Partition lets servers reach those of their own side only: sides[i] is server
// i's. Without sides there is one.
func (w *Wiring) Partition(sides ...int) {
	clear(w.sides)
	copy(w.sides, sides)
	for i := range w.names {
		for j := range w.names {
			w.enable(i, j)
		}
	}
}

func (w *Wiring) enable(i, j int) {
	if w.names[i] != nil {
		w.Enable(w.names[i][j], w.Connected(i) && w.Connected(j) && w.sides[i] == w.sides[j])
	}
}
