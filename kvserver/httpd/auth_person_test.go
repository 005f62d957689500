package httpd

import (
	"errors"
	"testing"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// intruder makes an identity that may do everything.
var intruder = auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "intruder", Rules: []auth.Rule{adminRule}}}

// Goal (S17): whoever is on the leader's machine makes no admin while identities are observed,
// and so holds nothing when they are enforced. Where no admin is left that could do it, a
// person ends the observation. Method: changes by a person in the states of a table, with an
// admin and without.
func TestNobodyBecomesAdminDuringTheObservation(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.Level = 3 })
	by := func(c auth.Change) error { _, _, err := s.ChangeAuth(t.Context(), &person, &c, nil); return err }
	root := newIdentity(t, s, "root", "root0000", adminRule)
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.SetState, State: auth.Observing})
	for _, c := range []auth.Change{
		intruder, {Action: auth.DeleteIdentity, Name: "root"}, {Action: auth.SetState, State: auth.Off},
		{Action: auth.RevokeToken, Token: &auth.Token{ID: callerOf(t, s, root).Author().Token}},
	} {
		if err := by(c); !errors.Is(err, failure.Unauthenticated) {
			t.Errorf("a person makes the change %+v: %v", c, err)
		}
	}
	if s.Machine().Auth().Named("intruder") != nil {
		t.Error("there is another admin")
	}
	revoke(t, s, root, root)
	if err := by(intruder); err != nil {
		t.Errorf("there is no admin, and nobody can make one: %v", err)
	}
	if err := by(auth.Change{Action: auth.SetState, State: auth.Off}); err != nil {
		t.Errorf("the observation cannot be ended: %v", err)
	}
}

// Goal (S17): a change by a person that was on its way when identities became enforced is not
// made. One that met another change meanwhile is made all the same. Method: the log chooses an
// entry of an admin before that of the person.
func TestAPersonsChangeDoesNotOutliveTheStateOff(t *testing.T) {
	for _, state := range []auth.State{auth.Enforcing, auth.Off} {
		s, log := newServer(t, func(c *settings) { c.Level = 3 })
		root := callerOf(t, s, newIdentity(t, s, "root", "root0000", adminRule))
		first := true
		log.Decide(func(p *raft.Proposal) {
			if first {
				first = false
				log.Deliver(kv.EncodeCommand(kv.AuthCommand(root.Author(), &auth.Change{Action: auth.SetState, State: state})))
			}
			log.Choose(p)
		})
		_, _, err := s.ChangeAuth(t.Context(), &person, &intruder, nil)
		made := s.Machine().Auth().Named("intruder") != nil
		if state == auth.Enforcing && (made || !errors.Is(err, failure.Unauthenticated)) {
			t.Errorf("an admin was made behind the entry that enforces identities: %v, %v", made, err)
		}
		if state == auth.Off && (!made || err != nil) {
			t.Errorf("the change is lost to one that came between: %v", err)
		}
	}
}

// Goal (S17): the same for a person's change that names the revision which the table is going
// to have, by If-Match: what a person may is judged by the table that the change meets.
// Method: the log chooses an entry of an admin, which enforces identities, before that of the
// person, whose condition holds behind it. One whose condition holds now is made.
func TestAPersonsConditionDoesNotReachBehindTheStateOff(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.Level = 3 })
	root := callerOf(t, s, newIdentity(t, s, "root", "root0000", adminRule))
	conditional := func(revision uint64) error {
		c := intruder
		c.Match = revision + 1
		_, _, err := s.ChangeAuth(t.Context(), &person, &c, nil)
		return err
	}
	revision := s.Machine().Auth().Revision()
	if err := conditional(revision - 1); !errors.Is(err, failure.Precondition) {
		t.Errorf("a condition that does not hold any more: %v", err)
	}
	enforce := kv.EncodeCommand(kv.AuthCommand(root.Author(), &auth.Change{Action: auth.SetState, State: auth.Enforcing}))
	log.Decide(func(p *raft.Proposal) {
		if enforce != nil {
			log.Deliver(enforce)
			enforce = nil
		}
		log.Choose(p)
	})
	if err := conditional(revision + 1); err == nil || s.Machine().Auth().Named("intruder") != nil {
		t.Errorf("an admin was made behind the entry that enforces identities: %v", err)
	}
	other, _ := newServer(t, func(c *settings) { c.Level = 3 })
	newIdentity(t, other, "root", "root0000", adminRule)
	s = other
	if err := conditional(other.Machine().Auth().Revision()); err != nil {
		t.Errorf("a condition that holds: %v", err)
	}
}
