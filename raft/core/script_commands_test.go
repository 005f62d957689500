package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
)

// commands are the words of the script language; script_test.go describes them.
var commands map[string]func(s *script, args []string) error

func init() {
	commands = map[string]func(s *script, args []string) error{
		"new": cmdNew, "log": cmdLog, "term": cmdTerm, "restart": cmdRestart, "crash": cmdCrash, "wipe": cmdWipe, "keep": cmdKeep, "putback": cmdPutBack, "compact": cmdCompact,
		"campaign": cmdCampaign, "timeout": cmdTimeout, "tick": cmdTick, "elect": cmdElect,
		"propose": cmdPropose, "read": cmdRead, "suspect": cmdSuspect, "transfer": cmdTransfer,
		"deliver": cmdDeliver, "save": cmdSave, "settle": cmdSettle,
		"hold": cmdHold, "release": cmdRelease, "cut": cmdCut, "heal": cmdHeal,
		"heartbeat": cmdHeartbeat, "again": cmdAgain, "unheard": cmdUnheard, "check": cmdCheck, "late": cmdLate,
		"show": cmdShow, "progress": cmdProgress, "flight": cmdFlight,
	}
}

func cmdNew(s *script, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > 9 {
		return fmt.Errorf("1 to 9 servers expected")
	}
	limit := func(name string) int {
		if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
			value, _ := strconv.Atoi(args[i+1])
			return value
		}
		return 0
	}
	s.reads, s.names, s.kept = 0, map[Tag]string{}, map[ID]State{}
	s.cluster = newCluster(n, func(c *Config) {
		c.Noop, c.PreVote, c.CheckQuorum = has(args, "noop"), has(args, "prevote"), has(args, "checkquorum")
		c.MaxAppendBytes, c.Window, c.TrailingBytes = limit("bytes"), limit("window"), limit("trailing")
		c.StallTicks, c.BatchBytes = limit("stall"), 1
		if first := limit("voters"); first > 0 {
			c.Peers = membersFrom(first, c.ID)
		}
		c.Rand = rand.New(rand.NewPCG(uint64(c.ID[0]), 1))
	})
	s.listen()
	return nil
}

// listen makes everything that happens part of the output.
func (s *script) listen() {
	s.note = func(format string, args ...any) {
		for i, arg := range args {
			if done, ok := arg.(readDone); ok {
				args[i] = done.text(s.names[done.Tag])
			}
		}
		s.printf(format, args...)
	}
}

// fresh starts a server anew with a changed disk.
func (s *script) fresh(args []string, change func(*State, []uint64) error) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	list, err := numbers(args[1:])
	if err != nil {
		return err
	}
	if err := change(&target.disk, list); err != nil {
		return err
	}
	s.start(target)
	return nil
}

func cmdLog(s *script, args []string) error {
	return s.fresh(args, func(disk *State, terms []uint64) error {
		disk.Snapshot, disk.Entries = Snapshot{}, nil
		for i, term := range terms {
			disk.Entries = append(disk.Entries, NewEntry(uint64(i+1), term, KindCommand, nil))
			disk.Term = max(disk.Term, term)
		}
		return nil
	})
}

func cmdTerm(s *script, args []string) error {
	vote := None
	if len(args) == 4 && args[2] == "vote" {
		vote, args = ID(args[3]), args[:2]
	}
	return s.fresh(args, func(disk *State, list []uint64) error {
		if len(list) != 1 {
			return fmt.Errorf("one term expected")
		}
		disk.Term, disk.VotedFor = list[0], vote
		return nil
	})
}

func cmdRestart(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err == nil {
		s.crash(target, false)
		s.start(target)
	}
	return err
}

func cmdCrash(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err == nil {
		s.crash(target, has(args, "written"))
	}
	return err
}

func cmdWipe(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err == nil {
		s.wipe(target, false)
	}
	return err
}

func cmdKeep(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err == nil {
		kept := target.disk
		kept.Entries = slices.Clone(kept.Entries)
		s.kept[target.id] = kept
	}
	return err
}

func cmdPutBack(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err == nil {
		s.crash(target, false)
		target.disk, target.putBack = s.kept[target.id], true
		s.start(target)
	}
	return err
}

func cmdCompact(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err == nil {
		s.compact(target)
	}
	return err
}

func cmdCampaign(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err == nil {
		s.input(target, (*Raft).startCampaign)
	}
	return err
}

func cmdTimeout(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	before := target.core.campaign
	for range 2 * target.config.ElectionTicks {
		if s.input(target, (*Raft).Tick); target.core.campaign != before {
			return nil
		}
	}
	return fmt.Errorf("it does not stand")
}

func cmdTick(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	n, err := numbers(args[1:])
	if err != nil || len(n) != 1 {
		return fmt.Errorf("number of ticks expected")
	}
	s.tick(target.id, int(n[0]))
	return nil
}

func cmdElect(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err == nil {
		s.quietly(func() { s.elect(target.id) })
		s.printf("%s leads term %d", target.id, target.core.currentTerm)
	}
	return err
}

// quietly keeps what happens out of the output.
func (s *script) quietly(do func()) {
	s.note = nil
	do()
	s.listen()
}

func cmdPropose(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	s.input(target, func(r *Raft) {
		for _, data := range args[1:] {
			if index, term, err := r.Propose([]byte(data)); err != nil {
				s.printf("refused: %v", err)
			} else {
				s.printf("%s at %d@%d", data, index, term)
			}
		}
	})
	return nil
}

func cmdRead(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	count := 1
	if len(args) > 1 {
		if count, err = strconv.Atoi(args[1]); err != nil {
			return err
		}
	}
	s.lazy = true // all of them in one turn
	for range count {
		s.reads++
		name := fmt.Sprintf("r%d", s.reads)
		s.names[s.lastTag+1] = name
		s.printf("%s", name)
		if _, err := s.read(target.id); err != nil {
			s.printf("refused: %v", err)
		}
	}
	s.lazy = false
	s.flush(target)
	return nil
}

func cmdSuspect(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	peer, err := s.id(args, 1)
	if err == nil {
		s.input(target, func(r *Raft) { r.Suspect(peer.id) })
	}
	return err
}

func cmdTransfer(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	to := None
	if len(args) > 1 {
		to = ID(args[1])
	}
	s.input(target, func(r *Raft) {
		if err := r.Transfer(to); err != nil {
			s.printf("refused: %v", err)
		}
	})
	return nil
}

func cmdDeliver(s *script, args []string) error {
	ways, err := s.ways(args)
	if err != nil {
		return err
	}
	var due []*message
	for _, m := range s.flight {
		if m.from == ways[0][0] && m.to == ways[0][1] {
			due = append(due, m)
		}
	}
	switch {
	case len(due) == 0:
		return fmt.Errorf("nothing is on its way there")
	case has(args, "last"):
		due = due[len(due)-1:]
	case len(args) > 1 && args[1] >= "1" && args[1] <= "99":
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 1 || n > len(due) {
			return fmt.Errorf("message %s of %d on that way", args[1], len(due))
		}
		due = due[n-1 : n]
	case !has(args, "all"):
		due = due[:1]
	}
	for _, m := range due {
		switch {
		case has(args, "drop"):
			s.take(m)
			s.lost(m)
		case has(args, "vanish"):
			s.take(m)
		case has(args, "told"):
			s.lost(m)
		case has(args, "copy"):
			if m.reply != nil {
				return fmt.Errorf("only requests may arrive twice")
			}
			s.request(m)
		default:
			s.deliver(m)
		}
	}
	return nil
}

// cmdHeartbeat lets a heartbeat to one follower be due.
func cmdHeartbeat(s *script, args []string) error {
	ways, err := s.ways(args)
	if err != nil {
		return err
	}
	leader := s.server(ways[0][0])
	if leader.core == nil || leader.core.role != Leader {
		return fmt.Errorf("%s does not lead", leader.id)
	}
	s.input(leader, func(r *Raft) { r.member(ways[0][1]).progress.heartbeat() })
	return nil
}

func cmdAgain(s *script, args []string) error   { return s.timer(args, (*Raft).askAgain) }
func cmdUnheard(s *script, args []string) error { return s.timer(args, (*Raft).loseTouch) }
func cmdCheck(s *script, args []string) error   { return s.timer(args, (*Raft).checkNow) }
func cmdLate(s *script, args []string) error    { return s.timer(args, (*Raft).waitForRound) }

// timer lets one timer of a server run out, and no other.
func (s *script) timer(args []string, runOut func(*Raft)) error {
	target, err := s.id(args, 0)
	if err == nil {
		s.input(target, runOut)
	}
	return err
}

func cmdSave(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err == nil && !s.save(target) {
		return fmt.Errorf("no write is under way")
	}
	return err
}

// cmdSettle prints only changes of role, commits and reads, and what it took.
func cmdSettle(s *script, args []string) error {
	var among []ID
	for i := range args {
		server, err := s.id(args, i)
		if err != nil {
			return err
		}
		among = append(among, server.id)
	}
	note := s.note
	s.note = func(format string, args ...any) {
		if _, isMessage := args[0].(*message); !isMessage && format != noteWrite && format != noteApply {
			note(format, args...)
		}
	}
	messages, writes := s.settle(among...)
	s.listen()
	s.printf("settled: %d messages, %d writes", messages, writes)
	return nil
}

func cmdHold(s *script, args []string) error    { return delay(s, args, true) }
func cmdRelease(s *script, args []string) error { return delay(s, args, false) }

// delay keeps settle from what is on its way, or from a disk; or no longer.
func delay(s *script, args []string, held bool) error {
	ways, err := s.ways(args)
	if err != nil {
		return err
	}
	if target, err := s.id(args, 0); err == nil {
		target.held = held
		return nil
	}
	for _, m := range s.flight {
		if slices.Contains(ways, [2]ID{m.from, m.to}) {
			m.held = held
		}
	}
	return nil
}

func cmdCut(s *script, args []string) error {
	ways, err := s.ways(args)
	for _, way := range ways {
		s.cut[way] = true
	}
	return err
}

func cmdHeal(s *script, args []string) error {
	if len(args) == 0 {
		clear(s.cut)
		return nil
	}
	ways, err := s.ways(args)
	for _, way := range ways {
		delete(s.cut, way)
	}
	return err
}
