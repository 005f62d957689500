package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"raftkv/kvserver/api"
)

// A Clerk follows the members of its cluster. A server names the number of the newest
// configuration that it knows, in its greeting and again when there is another one. Once the
// Clerk has heard of a newer one than it goes by, it asks where clients are served, after a
// pause that keeps thousands of Clerks from asking in the same moment, and goes by that:
//
//   - an address that the caller named is never forgotten. Any other that the cluster no longer
//     names is tried only when no other server answers: its node may have come back, and all
//     others moved, before the Clerk heard of it;
//   - an address that has never answered is tried after all others, since it may be one of
//     a network that this client is not in, and for a while not again;
//   - another cluster's answer is none.
const (
	// refreshPause bounds the pause before servers are asked for addresses. It doubles with
	// each round in which none had what is wanted.
	refreshPause = time.Second
	// refreshRounds is after how many rounds the Clerk waits to hear of a configuration
	// again. The pauses before that make about two minutes.
	refreshRounds = 8
	// missedPause is for how long an address that has never answered, or that the cluster names
	// no more, is not tried again.
	missedPause = 10 * time.Second
	// maxEndpointsBytes bounds the answer that is read.
	maxEndpointsBytes = 64 << 10
)

// configured is told that a server knows a configuration of the members.
func (c *Clerk) configured(n api.ConfigurationNumber) {
	c.mu.Lock()
	if c.heard.Before(n) {
		c.heard = n
	}
	begin := !c.asking && !c.closed && !c.config.FixedEndpoints && c.known.Before(c.heard)
	c.asking = c.asking || begin
	c.mu.Unlock()
	if begin {
		c.start(c.refresh)
	}
}

// refresh asks for the addresses of the newest configuration that was heard of, until it
// has them.
func (c *Clerk) refresh() {
	for round := range refreshRounds {
		if !c.route.sleep(c.lifetime, rand.N(refreshPause<<round)+1) {
			return
		}
		for _, s := range c.candidates() {
			e, err := c.endpointsOf(s)
			if err == nil && c.follow(e) {
				return
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking = false
}

// candidates returns the servers to ask: those that the cluster names, then those that it names
// no more.
func (c *Clerk) candidates() (all []*server) {
	skip, late := c.worth()
	var last []*server
	for i, s := range *c.serverList.Load() {
		switch {
		case skip.has(i):
		case !late.has(i):
			all = append(all, s)
		case s.gone.Load():
			last = append(last, s)
		}
	}
	return append(all, last...)
}

// worth returns the servers that are not worth an attempt now, and those to be tried last.
func (c *Clerk) worth() (skip, late servers) {
	for i, s := range *c.serverList.Load() {
		unmet, gone := !s.seed && s.node.Load() == nil, s.gone.Load()
		missed := s.misses.Load() > 0 && time.Since(time.UnixMilli(s.missed.Load())) < missedPause
		if (unmet || gone) && missed || unmet && gone {
			skip.add(i)
		}
		if unmet || gone {
			late.add(i)
		}
	}
	return skip, late
}

// endpointsOf asks a server where clients are served.
func (c *Clerk) endpointsOf(s *server) (e api.Endpoints, err error) {
	ctx, cancel := context.WithTimeout(c.lifetime, c.config.DialTimeout+c.config.AttemptTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/v1/endpoints", nil)
	if err != nil {
		return e, err
	}
	request.Close = true
	token, failed := c.token(ctx, s.address)
	if failed != nil {
		return e, failed
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	conn, unhook, failed := s.dial(ctx)
	if failed != nil {
		return e, failed
	}
	defer conn.Close()
	defer unhook()
	if err := request.Write(conn); err != nil {
		return e, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return e, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return e, fmt.Errorf("it answered %q", response.Status)
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxEndpointsBytes)).Decode(&e)
	return e, err
}

// follow goes by what a server has said of the addresses. It reports whether the newest
// configuration that was heard of is known then.
func (c *Clerk) follow(e api.Endpoints) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.UID != c.uid || !c.known.Before(e.Number()) {
		return false
	}
	var named []string
	for _, given := range e.Addresses {
		if address, err := ParseEndpoint(Address(given)); err == nil {
			named = append(named, address)
		}
	}
	if len(named) == 0 {
		return false
	}
	for _, s := range *c.serverList.Load() {
		if !s.seed && !slices.Contains(named, s.address) {
			s.gone.Store(true)
			s.sendAway()
		}
	}
	for _, address := range named {
		c.addLocked(address)
	}
	c.known = e.Number()
	c.asking = c.known.Before(c.heard)
	return !c.asking
}

// addLocked adds a server, in the place of one that is gone if there is no other, and
// returns its index; below 0 if there is no room. c.mu is held.
func (c *Clerk) addLocked(address string) int {
	all := slices.Clone(*c.serverList.Load())
	place := len(all)
	for i, s := range all {
		if s.address == address {
			s.gone.Store(false)
			return i
		}
		if len(all) == maxServers && s.gone.Load() {
			place = i
		}
	}
	switch {
	case place < len(all):
		all[place] = newServer(c, place, address)
	case place == maxServers:
		return -1
	default:
		all = append(all, newServer(c, place, address))
	}
	c.serverList.Store(&all)
	return place
}

// sendAway ends the connections to a server when nothing waits on them any more.
func (s *server) sendAway() {
	for i := range s.slots {
		if c := s.slots[i].present.Load(); c != nil && c.sendAway() {
			c.fail(errGoodbye)
		}
	}
}
