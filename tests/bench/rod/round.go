package rod

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"raftkv/client/bench"
)

// Run is what was measured in one turn of one side. Figures per operation are of
// operations that were done.
type Run struct {
	Round       int     `json:"round"` // from 1
	Row         string  `json:"row"`
	Side        string  `json:"side"`
	Clients     int     `json:"clients"`
	Ops         float64 `json:"ops_per_second"`
	P50         float64 `json:"p50_us"`
	P99         float64 `json:"p99_us"`
	Failures    int     `json:"failures"`
	ServerCPU   float64 `json:"server_us_per_op"` // of all server processes
	ClientCPU   float64 `json:"client_us_per_op"`
	Switches    float64 `json:"switches_per_op"`
	Messages    float64 `json:"messages_per_op"`     // from the leader to each follower
	DeviceBytes float64 `json:"device_bytes_per_op"` // of all servers together
	Others      float64 `json:"others_processors"`   // that other programs have used
}

// Plan is what to measure.
type Plan struct {
	Sides    []Side
	Rows     []Row
	Rounds   int
	Keys     int           // number of keys, all of which exist
	Warmup   time.Duration // before each turn
	Duration time.Duration // of each turn
	Dir      string        // on the device of the data
	Log      io.Writer     // gets each Run as a line of JSON; nil: nobody does
}

// Preload writes every key once by Clerk to the sides that can be read.
func (p *Plan) Preload(ctx context.Context) error {
	for _, s := range p.Sides {
		if !s.Serves(GetRow(1)) {
			continue
		}
		target, end, err := s.Load(PutRow(1))
		if err != nil {
			return err
		}
		config := p.config(PutRow(256), time.Millisecond)
		config.Preload = true
		bench.Run(ctx, config, target)
		end()
	}
	return ctx.Err()
}

// config returns the load of a row.
func (p *Plan) config(r Row, duration time.Duration) bench.Config {
	return bench.Config{Clients: r.Clients, Keys: p.Keys, ValueSize: ValueBytes, Mix: r.Mix, Duration: duration, Timeout: 10 * time.Second}
}

// Measure runs all rounds. All sides stand still when it begins to measure, and go on
// when it returns.
func (p *Plan) Measure(ctx context.Context) (runs []Run, err error) {
	for _, s := range p.Sides {
		if err := Stop(s); err != nil {
			return nil, err
		}
	}
	for round := 1; round <= p.Rounds; round++ {
		// Every second round goes the other way, so that no side always follows the same.
		sides := slices.Clone(p.Sides)
		if round%2 == 0 {
			slices.Reverse(sides)
		}
		for _, r := range p.Rows {
			for _, s := range sides {
				if !s.Serves(r) {
					continue
				}
				run, err := p.turn(ctx, r, s)
				if err != nil {
					return runs, fmt.Errorf("%s of %s: %w", r.Name, s.Name(), err)
				}
				run.Round = round
				runs = append(runs, run)
				p.log(run)
			}
		}
	}
	for _, s := range p.Sides {
		if err := Continue(s); err != nil {
			return runs, err
		}
	}
	return runs, nil
}

// turn lets a side go on, measures one row, and stops it again.
func (p *Plan) turn(ctx context.Context, r Row, s Side) (Run, error) {
	if err := Continue(s); err != nil {
		return Run{}, err
	}
	if l, is := s.(*Library); is {
		run, err := l.turn(order{Row: r.Name, Mix: r.Mix.String(), Clients: r.Clients, Keys: p.Keys, Warmup: p.Warmup, Duration: p.Duration, Device: p.Dir})
		if err == nil {
			err = Stop(s)
		}
		return run, err
	}
	target, end, err := s.Load(r)
	if err != nil {
		return Run{}, err
	}
	var before, after sample
	config := p.config(r, p.Duration)
	config.Warmup = p.Warmup
	var failed error
	config.Begin = func() { before, failed = take(s, p.Dir) }
	result := bench.Run(ctx, config, target)
	if after, err = take(s, p.Dir); err == nil {
		err = failed
	}
	end()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = Stop(s)
	}
	return newRun(r, s.Name(), result, after.minus(before)), err
}

// newRun sums up the load's result and what was used meanwhile.
func newRun(r Row, side string, result bench.Result, used sample) Run {
	run := Run{Row: r.Name, Side: side, Clients: r.Clients}
	var all bench.Histogram
	for _, m := range result.ByOp {
		all.Merge(&m.Latency)
		for _, n := range m.Failures {
			run.Failures += n
		}
	}
	done := max(float64(all.Count()), 1)
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	run.Ops = float64(all.Count()) / result.Elapsed.Seconds()
	run.P50, run.P99 = us(all.Percentile(50)), us(all.Percentile(99))
	run.ServerCPU, run.ClientCPU = us(used.servers)/done, us(used.client)/done
	run.Switches, run.Messages, run.DeviceBytes = used.switches/done, used.messages/done, used.deviceBytes/done
	run.Others = max(0, float64(used.busy-used.servers-used.client)/float64(result.Elapsed))
	return run
}

func (p *Plan) log(run Run) {
	if p.Log == nil {
		return
	}
	line, _ := json.Marshal(run)                                // numbers and words
	_, _ = io.Copy(p.Log, strings.NewReader(string(line)+"\n")) // it is a copy of what is printed in the end
}
