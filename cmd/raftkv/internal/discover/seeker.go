package discover

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// The pauses between two rounds: the first, and the longest. Each is up to twice as long as
// the one before; how long exactly is chance, so that nodes that lost each other together do
// not ask together.
const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// A round takes roundTimeout at most, and asks maxAsked addresses at one time.
const (
	roundTimeout = 10 * time.Second
	maxAsked     = 8
)

// Seeker looks for members that a node cannot reach. ID is how the caller names members. All
// fields but DNS, Pause and Logger must be set.
type Seeker[ID cmp.Ordered] struct {
	Sources Sources
	DNS     Resolver // nil: no source needs it
	// Missing returns the members with whom the node is not connected, and none of them
	// while it needs nobody more.
	Missing func() []ID
	// Ask asks an address which member is there.
	Ask func(ctx context.Context, address string) (ID, error)
	// Found is told where a missing member was found.
	Found func(id ID, address string)
	// Pause is the first pause between two rounds; 0: one second.
	Pause  time.Duration
	Logger *slog.Logger // nil: nothing is logged
}

// Run looks until ctx ends.
func (s *Seeker[ID]) Run(ctx context.Context) {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	first := cmp.Or(s.Pause, firstPause)
	for pause := first; ; {
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		missing := s.Missing()
		if len(missing) == 0 {
			pause = first
			continue
		}
		s.round(ctx, missing)
		pause = min(2*pause, longestPause)
	}
}

// round asks all addresses once.
func (s *Seeker[ID]) round(ctx context.Context, missing []ID) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	addresses, err := s.Sources.Addresses(ctx, s.DNS)
	if err != nil {
		s.Logger.Warn("discovery: names could not be resolved; they are tried again", "error", err)
	}
	var all sync.WaitGroup
	room := make(chan struct{}, maxAsked)
	for _, address := range addresses {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			id, err := s.Ask(ctx, address)
			switch {
			case err != nil:
				s.Logger.Debug("discovery: nobody of this cluster answered", "address", address, "error", err)
			case slices.Contains(missing, id):
				s.Logger.Info("discovery: a member was found", "peer", id, "address", address)
				s.Found(id, address)
			}
		})
	}
	all.Wait()
}
