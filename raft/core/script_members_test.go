package core

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"raftkv/raft/members"
)

// clusterUID is the uid of the records of tests whose servers draw none.
var clusterUID = UID{0xc1}

// The words of the script language about members; script_test.go describes them.
func init() {
	commands["found"], commands["change"], commands["members"], commands["learners"] = cmdFound, cmdChange, cmdMembers, cmdLearners
}

// cmdFound lets a leader ask for the first record of the cluster.
func cmdFound(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	s.reconfigure(target, members.First(clusterUID, 3, target.core.log.static.Voters()), 0)
	return nil
}

// cmdChange lets a leader ask for a change of the newest record that it has.
func cmdChange(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	now := target.core.Configurations().Newest
	if now.Record == nil {
		return fmt.Errorf("there is no record: found comes first")
	}
	wanted := now.Record.Clone()
	if now.Record.Joint() { // as a caller that does not know of the change under way
		wanted = now.Record.Final()
	}
	if err := edit(&wanted, args[1:]); err != nil {
		return err
	}
	s.reconfigure(target, wanted, now.Index)
	return nil
}

// edit reads "voter 4", "learner 5", "replica 6", "remove 2" and "address 1".
func edit(r *members.Record, words []string) error {
	for ; len(words) > 1; words = words[2:] {
		id := ID(words[1])
		m := members.Member{ID: id}
		if known := r.Member(id); known != nil {
			m = *known
		}
		switch words[0] {
		case "voter":
			m.Role = members.Voter
		case "learner":
			m.Role = members.Learner
		case "replica":
			m.Role = members.Replica
		case "address":
			m.Peer += "x"
		case "remove":
			r.Delete(id)
			continue
		default:
			return fmt.Errorf("voter, learner, replica, address or remove expected, not %q", words[0])
		}
		r.Put(m)
	}
	return nil
}

func (s *script) reconfigure(target *server, wanted members.Record, from uint64) {
	s.input(target, func(r *Raft) {
		if index, term, err := r.Reconfigure(wanted, from); err != nil {
			s.printf("refused: %v", err)
		} else {
			s.printf("configuration at %d@%d", index, term)
		}
	})
}

// cmdMembers prints by which configuration every server counts.
func cmdMembers(s *script, _ []string) error {
	rows := tabwriter.NewWriter(&s.output, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "id\tentry\tmembers\tcommitted")
	for _, server := range s.servers {
		if r := server.core; r != nil {
			now := r.Configurations()
			fmt.Fprintf(rows, "%s\t%d\t%s\t%d\n", server.id, now.Newest.Index, memberText(r.configuration), now.Committed.Index)
		}
	}
	return rows.Flush()
}

// cmdLearners prints how a leader's learners catch up.
func cmdLearners(s *script, args []string) error {
	target, err := s.id(args, 0)
	if err != nil {
		return err
	}
	for _, p := range target.core.Status().Peers {
		if p.Votes == 0 {
			s.printf("%s: round %d, the last of %d ticks, this one of %d, silent for %d, caught up: %v", p.ID, p.Rounds, p.RoundTicks, p.RoundAge, p.Unheard, p.CaughtUp)
		}
	}
	return nil
}

// memberText writes a configuration as "1 2 3", a joint one as "1 2 3 => 1 2 4", and
// those that count in nothing in parentheses behind it.
func memberText(c *members.Configuration) string {
	if len(c.Places) == 0 {
		return "nobody"
	}
	text := JoinIDs(c.Voters(), " ")
	if c.Joint {
		text = JoinIDs(c.OldVoters(), " ") + " => " + text
	}
	var others []ID
	for _, p := range c.Places {
		if p.Votes == 0 {
			others = append(others, p.ID)
		}
	}
	if len(others) > 0 {
		text += " (" + JoinIDs(others, " ") + ")"
	}
	return text
}

// dataText is what a script shows of an entry's data.
func dataText(e Entry) string {
	if e.Kind != KindConfiguration {
		return string(e.Data)
	}
	record, err := members.Decode(e.Data)
	if err != nil {
		return err.Error()
	}
	return "[" + strings.TrimSpace(memberText(record.Configuration())) + "]"
}
