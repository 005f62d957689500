package stage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"raftkv/raft/core"
)

// Scenario is a play: what is done to the nodes, one after the other, with words about it.
type Scenario struct {
	Name  string
	About string
	Nodes int // the least number that it needs
	// Small says that nodes are to keep little of their logs, so that snapshots are needed.
	Small bool
	play  func(p *play)
}

// Scenarios are all plays, sorted by name.
var Scenarios = []Scenario{
	{Name: "figure8", About: "an entry that is on two of five nodes, and is not committed, is overwritten", Nodes: 5, play: figure8},
	{Name: "leader-crash", About: "the leader is killed, and another one takes over", Nodes: 3, play: leaderCrash},
	{Name: "partition", About: "the leader is on the smaller side of a cut", Nodes: 5, play: partition},
	{Name: "rejoin", About: "a node loses its disk, is refused, and comes back", Nodes: 3, play: rejoin},
	{Name: "snapshot", About: "a node was away for so long that it gets a snapshot in place of the log", Nodes: 3, Small: true, play: snapshot},
	{Name: "split-vote", About: "two nodes want to lead, and neither gets a majority", Nodes: 3, play: splitVote},
}

// FindScenario returns the play of a name.
func FindScenario(name string) (Scenario, error) {
	var names []string
	for _, s := range Scenarios {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("there is no scenario %.40q; choose one of %s", name, strings.Join(names, ", "))
}

// Write makes a node write a value of some length under a key, and reports what it answered.
type Write func(ctx context.Context, node core.ID, key string, length int) error

// play is a scenario that is under way.
type play struct {
	ctx    context.Context
	stage  *Stage
	write  Write
	say    func(text string)
	failed error
}

// Play plays a scenario until its end or that of ctx. say is called with each caption.
func (s *Stage) Play(ctx context.Context, of Scenario, write Write, say func(text string)) error {
	if n := len(s.Nodes()); n < of.Nodes {
		return fmt.Errorf("the scenario %s needs %d nodes, and there are %d", of.Name, of.Nodes, n)
	}
	p := &play{ctx: ctx, stage: s, write: write, say: say}
	of.play(p)
	if p.failed == nil {
		return ctx.Err()
	}
	return p.failed
}

// tell says a caption, unless the play has failed.
func (p *play) tell(format string, args ...any) {
	if p.failed == nil && p.ctx.Err() == nil {
		p.say(fmt.Sprintf(format, args...))
	}
}

// do does something to a node.
func (p *play) do(verb string, node core.ID) {
	if p.failed == nil && p.ctx.Err() == nil {
		p.failed = p.stage.Do(Fault{Do: verb, Node: node})
	}
}

// cut cuts all ways between two groups of nodes.
func (p *play) cut(one, other []core.ID) {
	for _, a := range one {
		for _, b := range other {
			for _, f := range []Fault{{Do: "cut", Node: a, To: b}, {Do: "cut", Node: b, To: a}} {
				if p.failed == nil && p.ctx.Err() == nil {
					p.failed = p.stage.Do(f)
				}
			}
		}
	}
}

// wait lets time pass.
func (p *play) wait(d time.Duration) {
	if p.failed != nil {
		return
	}
	select {
	case <-time.After(d):
	case <-p.ctx.Done():
	}
}

// leader waits for a leader that is none of some nodes.
func (p *play) leader(but ...core.ID) (leader core.ID) {
	p.until("there is no leader", func() bool {
		leader = p.stage.Leader()
		return leader != core.None && !slices.Contains(but, leader)
	})
	return leader
}

// patience bounds how long a play waits for something.
const patience = time.Minute

// until waits until something is so. If it is not in time, the play fails with the sentence
// that says what is so in its place.
func (p *play) until(sentence string, is func() bool) {
	for begun := time.Now(); p.failed == nil && p.ctx.Err() == nil && !is(); p.wait(10 * time.Millisecond) {
		if time.Since(begun) > patience {
			p.failed = fmt.Errorf("%s after %v", sentence, patience)
		}
	}
}

// others returns all nodes but some.
func (p *play) others(but ...core.ID) []core.ID {
	return slices.DeleteFunc(p.stage.Nodes(), func(id core.ID) bool { return slices.Contains(but, id) })
}

// try writes, and says how that ended. The node has a second.
func (p *play) try(node core.ID, key string) {
	if p.failed != nil || p.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, time.Second)
	defer cancel()
	if err := p.write(ctx, node, key, 10); err != nil {
		p.tell("%s is asked to write %q, and does not acknowledge it.", node, key)
		return
	}
	p.tell("%s is asked to write %q, and acknowledges it.", node, key)
}

func leaderCrash(p *play) {
	old := p.leader()
	p.try(old, "before")
	p.tell("%s leads. It is killed: its connections end at once, so the others need not wait for a timeout (§5.2).", old)
	p.do("kill", old)
	next := p.leader(old)
	p.tell("%s was elected: the votes of two of three are a majority (§5.2).", next)
	p.try(next, "after")
	p.wait(3 * time.Second)
	p.tell("%s is started again. It follows, and gets what it has missed (§5.3).", old)
	p.do("start", old)
	p.wait(3 * time.Second)
}

// rejoin is what the paper takes for granted: state on stable storage does not go away
// (Figure 2). Where it does, the server must not go on as if it had never promised anything.
func rejoin(p *play) {
	leader := p.leader()
	lost := p.others(leader)[0]
	p.try(leader, "before")
	p.tell("%s leads. %s is killed, and its disk is lost, with its term, its vote and its log (Figure 2, persistent state).", leader, lost)
	p.do("kill", lost)
	p.do("lose", lost)
	p.tell("%s is started on the empty directory. If it took part, it could vote twice in a term (§5.2), or for a leader that lacks what it had confirmed itself (§5.4.1).", lost)
	p.do("start", lost)
	p.until(fmt.Sprintf("%s was not refused", lost), func() bool { return p.stage.Node(lost) == nil })
	p.tell("The others know that it had another directory. They refuse it, and it has ended.")
	p.wait(2 * time.Second)
	p.tell("%s is started with --rejoin: it takes entries and has no vote until it has the whole log, as a server that is new (§6).", lost)
	p.do("rejoin", lost)
	p.until(fmt.Sprintf("%s has not come back", lost), func() bool {
		n := p.stage.Node(lost)
		return n != nil && !n.ComesBack()
	})
	p.tell("%s votes again. To show it, %s is killed: without the vote of %s nobody could lead.", lost, leader, lost)
	p.wait(time.Second)
	p.do("kill", leader)
	next := p.leader(leader)
	p.tell("%s leads.", next)
	p.try(next, "after")
	p.wait(time.Second)
	p.do("start", leader)
	p.wait(3 * time.Second)
}

func splitVote(p *play) {
	old := p.leader()
	rest := p.others(old)
	p.tell("%s leads. The others are cut off from each other, and then it is killed.", old)
	p.cut(rest[:1], rest[1:])
	p.do("kill", old)
	p.tell("Now each of the others would vote for itself, and that is no majority. Each asks first who would vote for it, so terms do not rise (§9.6 of the dissertation).")
	p.wait(4 * time.Second)
	p.tell("They hear each other again. Their timeouts are drawn at random, so one of them is first (§5.2).")
	p.do("heal", "")
	next := p.leader(old)
	p.tell("%s leads.", next)
	p.do("start", old)
	p.wait(3 * time.Second)
}

func partition(p *play) {
	old := p.leader()
	rest := p.others(old)
	minority, majority := append([]core.ID{old}, rest[0]), rest[1:]
	p.tell("%s leads five nodes. It and %s are cut off from the three others.", old, rest[0])
	p.cut(minority, majority)
	p.try(old, "smaller side")
	p.tell("That write is in two logs of five, so it is not committed (§5.3).")
	next := p.leader(minority...)
	p.tell("%s leads on the larger side. %s has heard no majority, and has given up.", next, old)
	p.try(next, "larger side")
	p.wait(2 * time.Second)
	p.tell("The cut is healed. %s follows %s, and what it could not commit is overwritten (§5.3).", old, next)
	p.do("heal", "")
	p.wait(8 * time.Second)
}

// figure8 is the danger that Figure 8 of the paper shows: an entry in several logs is not
// committed for that, and may be overwritten; so nobody may have been told that it was.
func figure8(p *play) {
	old := p.leader()
	rest := p.others(old)
	with, far := rest[:1], rest[1:]
	p.tell("%s leads five nodes. Only %s still hears it.", old, with[0])
	p.cut([]core.ID{old, with[0]}, far)
	p.try(old, "figure 8")
	p.tell("The entry is in the logs of %s and %s. %s is killed.", old, with[0], old)
	p.do("kill", old)
	next := p.leader(old)
	p.tell("%s leads a later term, and does not have the entry: three logs of five without it elected it (§5.4.1).", next)
	p.try(next, "later term")
	p.wait(time.Second)
	p.tell("%s is started, and all hear each other. The entry is in two logs and is overwritten: it was never committed, so nobody was told that it was (§5.4.2, Figure 8).", old)
	p.do("start", old)
	p.do("heal", "")
	p.wait(10 * time.Second)
}

func snapshot(p *play) {
	leader := p.leader()
	away := p.others(leader)[0]
	p.tell("%s leads. %s is killed, and meanwhile 6 MiB are written.", leader, away)
	p.do("kill", away)
	for i := range 400 {
		if p.failed != nil || p.ctx.Err() != nil {
			return
		}
		if err := p.write(p.ctx, p.leader(), fmt.Sprint("filling ", i%50), 16<<10); err != nil {
			p.failed = fmt.Errorf("a write failed: %w", err)
		}
	}
	p.wait(2 * time.Second)
	p.tell("The others have taken snapshots and forgotten the log behind them. %s is started, and gets a snapshot (§7).", away)
	p.do("start", away)
	p.wait(5 * time.Second)
}
