package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/client/bench"
	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// benchSettings are the flags of bench.
type benchSettings struct {
	clerkSettings
	clients, conns  int
	valueSize, keys int
	mix             string
	duration        time.Duration
	warmup          time.Duration
	rate            float64
	http            bool
	preload         bool
	pids            []int
}

const (
	mostBenchClients = 100_000
	mostBenchKeys    = 100_000_000
)

func newBenchCommand() *cobra.Command {
	var s benchSettings
	command := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a running cluster and measure it",
		Long: `Put load on a running cluster and measure throughput, latency and processor time.

In a closed loop (the default) every client asks again as soon as it is
answered. With --rate requests are due at a steady rate, whatever the servers
do, and a latency counts from when the request was due: a standstill shows.

Keys are bench/0000000 and so on. The processor time of the servers is known if
they run on this host: the processes that listen on the endpoints' ports, or
those of --pids.`,
		Example: `  raftkv bench
  raftkv bench --clients 256 --mix put=90,get=10 --duration 30s
  raftkv bench --rate 5000 --clients 64 --json
  raftkv bench --http --clients 64 --conns 64 --mix get=1 --preload`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			return s.run(command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	s.addTo(command)
	command.Flags().Lookup("timeout").Usage = "time for one request"
	flags := command.Flags()
	flags.IntVar(&s.clients, "clients", 64, "clients, each with one request outstanding")
	flags.IntVar(&s.conns, "conns", 0, "connections to each server (default: 1 by Clerk, as many as clients over HTTP)")
	flags.IntVar(&s.valueSize, "value-size", 256, "bytes of a value")
	flags.IntVar(&s.keys, "keys", 100_000, "number of different keys")
	flags.StringVar(&s.mix, "mix", "put=1", "weights of put, append, delete, get and stale (a get that any server may answer)")
	flags.DurationVar(&s.duration, "duration", 10*time.Second, "how long to measure")
	flags.DurationVar(&s.warmup, "warmup", time.Second, "load before that")
	flags.Float64Var(&s.rate, "rate", 0, "requests per second of an open loop; 0: closed loop")
	flags.BoolVar(&s.http, "http", false, "ask over HTTP instead of the Clerk's protocol")
	flags.BoolVar(&s.preload, "preload", false, "write every key once before")
	flags.IntSliceVar(&s.pids, "pids", nil, "the servers' processes, for their processor time (default: found by their ports)")
	return command
}

// config checks the flags.
func (s *benchSettings) config() (c bench.Config, err error) {
	c = bench.Config{
		Clients: s.clients, Keys: s.keys, ValueSize: s.valueSize, Duration: s.duration, Warmup: s.warmup,
		Rate: s.rate, Timeout: s.timeout, Preload: s.preload,
	}
	if s.conns == 0 {
		s.conns = 1
		if s.http {
			s.conns = s.clients
		}
	}
	switch {
	case s.clients < 1 || s.clients > mostBenchClients:
		err = fmt.Errorf("--clients is %d; choose 1 to %d", s.clients, mostBenchClients)
	case s.keys < 1 || s.keys > mostBenchKeys:
		err = fmt.Errorf("--keys is %d; choose 1 to %d", s.keys, mostBenchKeys)
	case s.valueSize < 0 || s.valueSize > host.MaxValueBytes:
		err = fmt.Errorf("--value-size is %d; choose 0 to %d", s.valueSize, host.MaxValueBytes)
	case s.duration <= 0 || s.warmup < 0 || s.timeout <= 0:
		err = fmt.Errorf("--duration and --timeout must be above 0, and --warmup not below")
	case s.conns < 0 || s.conns > mostBenchClients:
		err = fmt.Errorf("--conns is %d; choose 1 to %d, or 0 for the default", s.conns, mostBenchClients)
	default:
		err = checkRate(s.rate)
	}
	if err == nil {
		c.Mix, err = bench.ParseMix(s.mix)
	}
	return c, err
}

// mostRate is more than any client can ask for.
const mostRate = 1e8

// checkRate checks a flag --rate.
func checkRate(rate float64) error {
	if !(rate >= 0 && rate <= mostRate) { // and not NaN
		return fmt.Errorf("--rate is %g; choose 0 to %.0f", rate, mostRate)
	}
	return nil
}

func (s *benchSettings) run(out, stderr io.Writer) error {
	config, err := s.config()
	if err != nil {
		return err
	}
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	target, face, end, err := s.target(ctx)
	if err != nil {
		return err
	}
	defer end()
	const steps = 1000
	bar := terminal.StartProgress(stderr, "", steps)
	config.Progress = func(phase string, part float64) {
		bar.Describe(phase)
		bar.Set(int64(part * steps))
	}
	meter := s.newMeter(stderr)
	config.Begin, config.End = meter.begin, meter.end
	result := bench.Run(ctx, config, target)
	bar.Finish()
	report := bench.NewReport(face, s.conns, config, result)
	report.CPU, report.Host = meter.report(report.Done()), meter.host()
	if s.json {
		if err := terminal.PrintJSON(out, report); err != nil {
			return err
		}
	} else {
		fmt.Fprint(out, report.String())
	}
	if report.Done() == 0 {
		text := "nothing was done"
		for i, f := range report.Failures {
			text += fmt.Sprintf("%s %d × %s failed: %s", map[bool]string{true: ":", false: ";"}[i == 0], f.Count, f.Op, f.Code)
		}
		for _, f := range report.Failures {
			if code := api.Code(f.Code); code == api.CodeUnauthenticated || code == api.CodeForbidden {
				// The command gives it its exit code.
				return ask.Refused(code, text+"; the load needs the right to write its keys, and to read them")
			}
		}
		return exit.With(exit.Unavailable, errors.New(text+". Does a cluster run at these endpoints? `raftkv status` shows it"))
	}
	return nil
}

// target is what the load goes to, and what ends it.
func (s *benchSettings) target(ctx context.Context) (target bench.Target, face string, end func(), err error) {
	if s.http {
		endpoints, err := s.servers()
		if err != nil {
			return nil, "", nil, err
		}
		t := bench.NewHTTPTarget(endpoints, s.conns, s.trust)
		return t, "HTTP", t.Close, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	clerk, end, err := s.dial(ctx, client.Config{Connections: s.conns})
	if err != nil {
		return nil, "", nil, err
	}
	return bench.ClerkTarget{Clerk: clerk}, "Clerk", end, nil
}

// cpuMeter measures processor time.
type cpuMeter struct {
	servers        []int
	stderr         io.Writer
	server, client time.Duration
	total, idle    time.Duration // of this host
	failed         error
	hostFailed     error
}

func (s *benchSettings) newMeter(stderr io.Writer) *cpuMeter {
	m := &cpuMeter{servers: s.pids, stderr: stderr}
	if len(m.servers) == 0 {
		m.servers = bench.Listeners(s.ports())
	}
	return m
}

// ports returns the ports of the endpoints that are on this host.
func (s *benchSettings) ports() (ports []int) {
	endpoints, _ := s.servers() // they were checked before
	for _, e := range endpoints {
		host, port, err := net.SplitHostPort(client.Address(e))
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			continue
		}
		if n, err := strconv.Atoi(port); err == nil {
			ports = append(ports, n)
		}
	}
	return ports
}

func (m *cpuMeter) read(sign time.Duration) {
	server, err := bench.CPU(m.servers...)
	if err != nil {
		m.failed = err
	}
	self, err := bench.CPU(os.Getpid())
	if err != nil {
		m.failed = err
	}
	total, idle, err := bench.HostTimes()
	if err != nil {
		m.hostFailed = err
	}
	m.server += sign * server
	m.client += sign * self
	m.total += sign * total
	m.idle += sign * idle
}

// host is how busy this host was; nil if that is not known.
func (m *cpuMeter) host() *bench.HostReport {
	load, err := bench.Load()
	if err != nil || m.hostFailed != nil || m.total <= 0 {
		return nil
	}
	return &bench.HostReport{Processors: runtime.NumCPU(), Load: load, IdlePercent: 100 * float64(m.idle) / float64(m.total)}
}

func (m *cpuMeter) begin() { m.read(-1) }
func (m *cpuMeter) end()   { m.read(1) }

// report returns the processor time for one operation; nil if it is not known.
func (m *cpuMeter) report(operations uint64) *bench.CPUReport {
	if len(m.servers) == 0 || operations == 0 {
		return nil
	}
	if m.failed != nil {
		fmt.Fprintf(m.stderr, "raftkv: %v\n", m.failed)
		return nil
	}
	per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(operations) }
	return &bench.CPUReport{ServerUs: per(m.server), ClientUs: per(m.client), Servers: m.servers}
}
