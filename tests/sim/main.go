package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"time"
)

func main() { os.Exit(command(os.Args[1:])) }

// command runs the simulator as the arguments say; the result is the exit
// status: 0 if every promise was kept, 1 if one was broken, 2 for bad arguments.
func command(args []string) int {
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	seed := flags.Uint64("seed", 0, "run this seed only")
	text := flags.String("options", "", "with -seed: in the world that this JSON describes, not in the one that the seed draws")
	traced := flags.Bool("trace", false, "with -seed: print every event")
	small := flags.Bool("shrink", false, "with -seed: if it fails, look for the smallest world in which it does")
	seconds := flags.Int("seconds", 10, "run fresh seeds for this many seconds")
	seeds := flags.Int("seeds", 0, "run this many fresh seeds, however long it takes")
	first := flags.Uint64("first", uint64(time.Now().UnixNano()), "the first of the fresh seeds")
	again := flags.Int("again", 0, "run this many random seeds twice and compare the trace hashes")
	stop := flags.Bool("stop", false, "begin no more seeds after the first that fails")
	patience := flags.Duration("patience", 30*time.Second, "how long to shrink each failure")
	profile := flags.String("profile", "", "write a CPU profile to this file")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		defer pprof.StopCPUProfile()
	}
	named := false
	flags.Visit(func(f *flag.Flag) { named = named || f.Name == "seed" })
	if named {
		o := drawOptions(*seed)
		if *text != "" {
			var err error
			if o, err = parseOptions(*text, true); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 2
			}
		}
		return single(*seed, o, *traced, *small, *patience)
	}
	c := campaign{first: *first, length: time.Duration(*seconds) * time.Second, twice: 100, shrink: *patience, stop: *stop}
	switch {
	case *again > 0:
		c.seeds, c.length, c.twice = *again, 0, 1
	case *seeds > 0:
		c.seeds, c.length = *seeds, 0
	}
	c.run()
	fmt.Print(c.report())
	if *again > 0 {
		fmt.Printf("%d of %d seeds run twice gave equal trace hashes\n", c.repeated-c.totals.failed, c.repeated)
	}
	if len(c.failures) > 0 {
		return 1
	}
	return 0
}

// single runs one seed and says how it went.
func single(seed uint64, o options, traced, small bool, patience time.Duration) int {
	t := &trace{}
	if traced {
		t.out = os.Stdout
	}
	r := run(seed, o, t)
	fmt.Printf("seed %d: %s simulated, %d events, %d of %d faults, trace hash %016x\noptions %s\n%s",
		seed, clock(r.virtual), r.events, len(r.began), r.faults, r.hash, r.options, r.counts)
	if r.err == nil {
		return 0
	}
	fmt.Println(r.err)
	if small {
		fmt.Print(explain(r, patience))
	}
	return 1
}
