package credential

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver/api"
)

// Use is the last use of a token that some node remembers.
type Use struct {
	At   time.Time
	Node string
}

// LastUses returns the last uses of tokens by their ids, as far as the nodes at endpoints
// remember them, and the nodes that were asked, for people: since when each node remembers, and why
// others did not answer. It asks all at once, so one that hangs costs nobody's answer; ask
// must end by itself. What nodes say is not made harmless for a terminal.
func LastUses(endpoints []string, ask func(endpoint string, of *api.AuthTokens) error) (uses map[string]Use, asked string) {
	all, failed := make([]api.AuthTokens, len(endpoints)), make([]error, len(endpoints))
	var asking sync.WaitGroup
	for i, endpoint := range endpoints {
		asking.Go(func() { failed[i] = ask(endpoint, &all[i]) })
	}
	asking.Wait()
	uses = map[string]Use{}
	var names []string
	for i, endpoint := range endpoints {
		of := &all[i]
		if err := failed[i]; err != nil {
			names = append(names, endpoint+" gave none: "+err.Error())
			continue
		}
		names = append(names, fmt.Sprintf("%s since %s", of.Node, of.UsedSince.Format(time.DateTime)))
		for _, k := range of.Tokens {
			if k.LastUsed != nil && k.LastUsed.After(uses[k.ID].At) {
				uses[k.ID] = Use{*k.LastUsed, of.Node}
			}
		}
	}
	return uses, strings.Join(names, ", ")
}
