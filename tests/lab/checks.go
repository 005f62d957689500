package lab

import (
	"fmt"
	"slices"
	"time"
)

// Times of the courses' checks.
const (
	ElectionTimeout = time.Second // within which every scenario expects a leader

	leaderLooks   = 10
	agreeLimit    = 10 * time.Second
	agreePatience = 2 * time.Second // for one attempt
	agreePoll     = 20 * time.Millisecond
	noLeaderPause = 50 * time.Millisecond
	awaitPolls    = 30
	awaitLongest  = time.Second // the poll after one that was longer than this is as long again
)

// OneLeader waits until exactly one connected server leads the latest term and
// returns it. More than one leader in a term, or none in about five seconds,
// ends the test.
func (c *Cluster) OneLeader() int {
	c.t.Helper()
	for range leaderLooks {
		time.Sleep(time.Duration(450+c.Rand.IntN(100)) * time.Millisecond)
		c.check()
		leaders := map[int][]int{} // by term
		latest := 0
		for i := range c.servers {
			if !c.Connected(i) {
				continue
			}
			if term, leads := c.State(i); leads {
				leaders[term] = append(leaders[term], i)
				latest = max(latest, term)
			}
		}
		for term, who := range leaders {
			if len(who) > 1 {
				c.Fatalf("servers %v all lead term %d", who, term)
			}
		}
		if len(leaders) > 0 {
			return leaders[latest][0]
		}
	}
	c.Fatalf("no leader among the connected servers in %d looks", leaderLooks)
	return -1
}

// SameTerm returns the term that all connected servers are in.
func (c *Cluster) SameTerm() int {
	c.t.Helper()
	c.check()
	terms := []int{}
	for i := range c.servers {
		if c.Connected(i) {
			term, _ := c.State(i)
			terms = append(terms, term)
		}
	}
	slices.Sort(terms)
	if terms = slices.Compact(terms); len(terms) > 1 {
		c.Fatalf("connected servers are in terms %v", terms)
	}
	return terms[0]
}

// NoLeader ends the test if a connected server claims to lead.
func (c *Cluster) NoLeader() {
	c.t.Helper()
	c.check()
	for i := range c.servers {
		if _, leads := c.State(i); leads && c.Connected(i) {
			c.Fatalf("server %d claims to lead without a majority", i)
		}
	}
}

// Committed returns how many servers have delivered index, and what.
func (c *Cluster) Committed(index int) (servers int, command interface{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.servers {
		if index >= 1 && index <= len(s.applied) {
			servers++
			command = s.applied[index-1]
		}
	}
	return servers, command
}

// Uncommitted ends the test if anybody has delivered index.
func (c *Cluster) Uncommitted(index int) {
	c.t.Helper()
	c.check()
	if n, command := c.Committed(index); n > 0 {
		c.Fatalf("%d servers delivered %v at index %d, which nobody may have committed", n, command, index)
	}
}

// Agree has a command agreed on: it looks for a leader among the connected
// servers, and waits until at least n servers have delivered the command. If
// that takes two seconds it begins anew with retry, else ends the test, as ten
// seconds do in any case. It returns the command's index.
func (c *Cluster) Agree(command interface{}, n int, retry bool) int {
	c.t.Helper()
	index, err := c.TryAgree(command, n, retry)
	c.check()
	if err != nil {
		c.Fatalf("%v", err)
	}
	return index
}

// TryAgree is Agree for any goroutine: it returns an error where that ends the
// test.
func (c *Cluster) TryAgree(command interface{}, n int, retry bool) (int, error) {
	began := time.Now()
	for next := 0; time.Since(began) < agreeLimit && !c.failed(); {
		index := -1
		for range c.servers {
			next = (next + 1) % c.Servers()
			if !c.wires.Connected(next) {
				continue
			}
			if i, _, leads := c.Start(next, command); leads {
				index = i
				break
			}
		}
		if index == -1 {
			time.Sleep(noLeaderPause)
			continue
		}
		if c.agreed(index, command, n) {
			c.mu.Lock()
			c.agreements++
			c.mu.Unlock()
			return index, nil
		}
		if !retry {
			break
		}
	}
	return -1, fmt.Errorf("%v was not agreed on by %d servers in %v", command, n, time.Since(began).Round(time.Millisecond))
}

// agreed waits for n servers to deliver command at index.
func (c *Cluster) agreed(index int, command interface{}, n int) bool {
	for began := time.Now(); time.Since(began) < agreePatience && !c.failed(); time.Sleep(agreePoll) {
		if got, what := c.Committed(index); got >= n && got > 0 && what == command {
			return true
		}
	}
	return false
}

// Await waits until n servers have delivered index and returns what. It gives
// up without a failure when a server shows a later term than startTerm, unless
// that is negative. After some thirty seconds it ends the test.
func (c *Cluster) Await(index, n, startTerm int) (command interface{}, ok bool) {
	c.t.Helper()
	pause := 10 * time.Millisecond
	for range awaitPolls {
		if got, _ := c.Committed(index); got >= n {
			break
		}
		c.check()
		time.Sleep(pause)
		if pause < awaitLongest {
			pause *= 2
		}
		if startTerm < 0 {
			continue
		}
		for i := range c.servers {
			if term, _ := c.State(i); term > startTerm {
				return nil, false
			}
		}
	}
	got, command := c.Committed(index)
	if got < n {
		c.Fatalf("only %d servers delivered index %d, where %d should have", got, index, n)
	}
	return command, true
}
