package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// report prints what happens and keeps the figures.
type report struct {
	json bool

	mu        sync.Mutex // guards what follows
	begun     time.Time
	times     []time.Duration
	survivors []string
	unlikely  []string // caught, but not by the first oracle
	undecided []string // an oracle did not end, and no other one caught it
	unbuilt   []string // did not compile
	cleanRuns int
	alarms    []string
}

// line is a result as JSON.
type line struct {
	ID      string  `json:"id,omitempty"`
	Bug     string  `json:"bug,omitempty"`
	File    string  `json:"file,omitempty"`
	Clean   bool    `json:"clean,omitempty"` // no bug was planted
	Failed  bool    `json:"failed"`
	Oracle  string  `json:"oracle,omitempty"`
	Witness string  `json:"witness,omitempty"`
	Message string  `json:"message,omitempty"`
	Timeout bool    `json:"timeout,omitempty"`
	Seconds float64 `json:"seconds"`
	Built   float64 `json:"built_seconds"`
}

func (r *report) began(mutants int) {
	r.begun = time.Now()
	if !r.json {
		fmt.Printf("%d mutants\n", mutants)
	}
}

// clean notes an oracle on clean source.
func (r *report) clean(oracle string, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanRuns++
	if a.failed {
		r.alarms = append(r.alarms, oracle+": "+a.witness)
	}
	r.print(line{Clean: true, Failed: a.failed, Oracle: oracle, Witness: a.witness, Message: a.message, Timeout: a.timeout, Seconds: a.took.Seconds(), Built: a.built.Seconds()})
}

// mutant notes what became of a mutant.
func (r *report) mutant(m mutant, caught finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := line{ID: m.id, Bug: m.bug, File: m.file}
	switch {
	case caught.oracle == "" && caught.timeout:
		l.Timeout = true
		r.undecided = append(r.undecided, m.id)
	case caught.oracle == "":
		r.survivors = append(r.survivors, m.id)
	default:
		l.Failed, l.Oracle, l.Witness, l.Message, l.Timeout = true, caught.oracle, caught.witness, caught.message, caught.timeout
		l.Seconds, l.Built = caught.took.Seconds(), caught.built.Seconds()
		r.times = append(r.times, caught.took)
		if caught.oracle != m.oracles[0] {
			r.unlikely = append(r.unlikely, m.id)
		}
	}
	r.print(l)
}

// broken notes a mutant that is none.
func (r *report) broken(m mutant, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unbuilt = append(r.unbuilt, m.id)
	fmt.Fprintf(os.Stderr, "mutants: %s: %v\n", m.id, why)
}

func (r *report) print(l line) {
	switch {
	case r.json:
		text, err := json.Marshal(l)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	case l.Clean && l.Failed:
		fmt.Printf("FALSE ALARM  %s: %s: %s\n", l.Oracle, l.Witness, short(l.Message))
	case l.Clean:
		fmt.Printf("clean        %s in %.1f s\n", l.Oracle, l.Seconds)
	case !l.Failed && l.Timeout:
		fmt.Printf("%-12s UNDECIDED: a test did not end: %s\n", l.ID, l.Bug)
	case !l.Failed:
		fmt.Printf("%-12s SURVIVES: %s\n", l.ID, l.Bug)
	default:
		fmt.Printf("%-12s %-28s %s in %.1f s: %s\n%12s %s\n", l.ID, l.Oracle, l.Witness, l.Seconds, short(l.Message), "", l.Bug)
	}
}

func short(s string) string {
	if len(s) > 120 {
		return s[:117] + "..."
	}
	return s
}

// ended prints the figures and reports whether all is as it should be.
func (r *report) ended() bool {
	good := len(r.survivors)+len(r.undecided)+len(r.alarms)+len(r.unbuilt) == 0
	if r.json {
		return good
	}
	slices.Sort(r.times)
	median := time.Duration(0)
	if n := len(r.times); n > 0 {
		median = r.times[n/2]
	}
	fmt.Printf("\n%d caught, median %.1f s; %d survived%s; %d clean runs with %d false alarms%s; %.0f min in all\n",
		len(r.times), median.Seconds(), len(r.survivors), listed(r.survivors), r.cleanRuns, len(r.alarms), listed(r.alarms), time.Since(r.begun).Minutes())
	if len(r.unlikely) > 0 {
		fmt.Printf("not by the expected oracle:%s\n", listed(r.unlikely))
	}
	if len(r.undecided) > 0 {
		fmt.Printf("undecided, as a test did not end; try them again with a higher -patience:%s\n", listed(r.undecided))
	}
	if len(r.unbuilt) > 0 {
		fmt.Printf("did not compile:%s\n", listed(r.unbuilt))
	}
	return good
}

func listed(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

func printTable(mutants []mutant) {
	for _, m := range mutants {
		fmt.Printf("%-12s %s: %s\n%12s %s\n", m.id, m.file, m.bug, "", strings.Join(m.oracles, "; "))
	}
}
