package main

import (
	"fmt"
	"reflect"
	"strings"
)

// counts says how often each interesting thing happened, so that a campaign in
// which something never did can be recognised as proving nothing about it.
type counts struct {
	Commits          int
	Acknowledged     int // writes
	Reads            int
	FollowerReads    int
	Refused          int // proposals that ended as definitely not done
	Lost             int // of these, those whose place another entry took
	TimedOut         int // operations whose outcome the client never learnt
	Replays          int // answers repeated from a session
	Elections        int // leaders
	Crashes          int
	PowerCuts        int
	TornWrites       int // crashes in the middle of a save
	CutTails         int // recoveries that threw away a batch nobody was told of
	KeptTails        int // recoveries that found a batch nobody was told of
	RecoveryCrashes  int // crashes during recovery
	DiskErrors       int
	Truncations      int // of a log that had entries
	DurableTruncated int // entries truncated that had been on the disk
	Messages         int
	LostMessages     int
	Duplicates       int
	Cuts             int
	Pauses           int
	Transfers        int
	Snapshots        int
	Installs         int // of another server's snapshot
	Unknown          int // proposals whose place a snapshot covers
	OldTermMajority  int // an entry of an earlier term stood on a majority, uncommitted (Figure 8)
	HeldAnswers      int // answers that left later than they were given
}

func (c *counts) add(o *counts) {
	a, b := reflect.ValueOf(c).Elem(), reflect.ValueOf(o).Elem()
	for i := range a.NumField() {
		a.Field(i).SetInt(a.Field(i).Int() + b.Field(i).Int())
	}
}

// missing names what never happened.
func (c *counts) missing() []string {
	var names []string
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if v.Field(i).Int() == 0 {
			names = append(names, v.Type().Field(i).Name)
		}
	}
	return names
}

func (c *counts) String() string {
	var b strings.Builder
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		fmt.Fprintf(&b, "  %-18s %d\n", v.Type().Field(i).Name, v.Field(i).Int())
	}
	return b.String()
}
