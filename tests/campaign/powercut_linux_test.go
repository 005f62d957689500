package campaign

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

var powerCuts = flag.Int("powercuts", 0, "how many times TestCampaignOfPowerCuts cuts the power of all nodes; 0 skips it")

// cutFigures is what a campaign of power cuts counted.
type cutFigures struct {
	cuts, replayed, checked int
	trims                   int // cuts before which a node had removed some of its log
	acknowledged, unknown   int
	under                   time.Duration // from the first start to the last check
	cut, serving            []time.Duration
	appendersAtOnce         int
}

// Goal: nothing acknowledged is lost when the power of all nodes fails at one
// moment.
// Method: three nodes, each on an ext4 of its own. Under appends all three file
// systems are shut down at once without flushing their journals; then the
// processes are killed, the disks mounted again, which replays the journals, and
// the nodes started. Every acknowledged append must be there once and in order,
// on every node, what is in doubt at most once, and nothing else; after each cut
// for its own appends and the last ones before, and in the end for all. Large
// values go in between the appends, so that the log rolls, snapshots are written
// all the time and what they replace is removed.
func TestCampaignOfPowerCuts(t *testing.T) {
	if *powerCuts == 0 {
		t.Skip("say -powercuts")
	}
	need(t, "mkfs.ext4", "losetup", "mount", "e2fsck")
	u := newUndo(t)
	c := cluster.New(t, 3, "--snapshot-bytes", "262144", "--log-level", "warn")
	disks := onDisks(t, u, c)
	u.killLater(c)
	c.Start()
	f := cutFigures{appendersAtOnce: 8}
	var rounds []*cluster.Load
	b := &ballast{}
	oldest := oldestSegments(t, c)
	begun := time.Now()
	for round := range *powerCuts {
		b.begin(c.Nodes)
		l := cluster.StartLoad(fmt.Sprintf("cut%d", round), f.appendersAtOnce, cluster.Addresses(c.Nodes), nil)
		l.AwaitProgress(t, 20+rand.IntN(400))
		cutBegun := time.Now()
		cutAll(t, disks)
		l.End()
		b.end()
		c.KillAll()
		f.replayed += remount(t, disks, round%20 == 19)
		starting := time.Now()
		c.Start()
		f.cuts++
		if now := oldestSegments(t, c); now != oldest {
			oldest = now
			f.trims++
		}
		f.cut, f.serving = append(f.cut, time.Since(cutBegun)), append(f.serving, time.Since(starting))
		rounds = append(rounds, l)
		b.verify(t, c.Nodes[round%3])
		for _, recent := range rounds[max(0, round-2):] {
			recent.Verify(t, c.Nodes[round%3])
		}
		if t.Failed() {
			break
		}
		f.acknowledged, f.unknown = f.acknowledged+l.Acknowledged(), f.unknown+l.Unknown()
	}
	for _, l := range rounds {
		for _, s := range c.Nodes {
			l.Verify(t, s)
			f.checked++
		}
	}
	cluster.AwaitEqual(t, c)
	f.under = time.Since(begun)
	f.print(t, b)
	if t.Failed() {
		keepData(u.dir, disks)
	}
	if f.replayed == 0 {
		t.Error("void: no journal had anything to replay")
	}
}

// ballast puts large values, one after the other, into one key. Each begins with
// its number.
type ballast struct {
	stop    context.CancelFunc
	running sync.WaitGroup
	sent    int // the number of the last that was sent
	acked   int // the number of the last that was acknowledged
	puts    int // how many were acknowledged
}

func (b *ballast) begin(through []*cluster.Node) {
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	padding := strings.Repeat("v", 128<<10)
	b.running.Go(func() {
		for ctx.Err() == nil {
			b.sent++
			status, _, _, err := through[b.sent%len(through)].Ask("PUT", "/v1/kv/ballast", fmt.Sprintf("%d %s", b.sent, padding))
			if err == nil && status/100 == 2 {
				b.acked = b.sent
				b.puts++
			}
		}
	})
}

func (b *ballast) end() {
	b.stop()
	b.running.Wait()
}

// verify wants the last acknowledged value, or one that was sent later and whose
// outcome is in doubt.
func (b *ballast) verify(t *testing.T, s *cluster.Node) {
	t.Helper()
	value := s.Must(200, "GET", "/v1/kv/ballast", "")
	var got int
	if _, err := fmt.Sscan(value, &got); err != nil || got < b.acked || got > b.sent || len(value) < 128<<10 {
		t.Errorf("%s holds number %d with %d bytes (%v); %d was acknowledged and %d sent", s.ID, got, len(value), err, b.acked, b.sent)
	}
}

// oldestSegments names the first file of every node's log.
func oldestSegments(t *testing.T, c *cluster.Cluster) (names string) {
	t.Helper()
	for _, s := range c.Nodes {
		segments, err := filepath.Glob(filepath.Join(s.Dir, "wal", "*.wal"))
		if err != nil || len(segments) == 0 {
			t.Fatalf("%s has no log: %v", s.ID, err)
		}
		names += filepath.Base(slices.Min(segments)) + " "
	}
	return names
}

// cutAll cuts the power of all disks at the same moment.
func cutAll(t *testing.T, disks []*disk) {
	t.Helper()
	var all sync.WaitGroup
	for _, d := range disks {
		all.Go(func() {
			if err := d.cutPower(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// remount mounts the disks again and returns how many had a journal to replay.
// It can have the file systems checked before, which replays the journal, too.
func remount(t *testing.T, disks []*disk, check bool) (replayed int) {
	t.Helper()
	for _, d := range disks {
		if err := d.unmountNow(); err != nil {
			t.Fatal(err)
		}
		needed, err := d.needsRecovery()
		if err != nil {
			t.Fatal(err)
		}
		if needed {
			replayed++
		}
		if check {
			_, _ = run("e2fsck", "-p", d.device) // it replays, and calls that an error
			if _, err := run("e2fsck", "-p", "-f", d.device); err != nil {
				t.Fatalf("the file system is damaged, which no power cut explains: %v", err)
			}
		}
		if err := d.mountNow(); err != nil {
			t.Fatal(err)
		}
	}
	return replayed
}

func (f *cutFigures) print(t *testing.T, b *ballast) {
	lost := "none"
	if t.Failed() {
		lost = "SEE ABOVE"
	}
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
	t.Logf(`
power cuts of all three nodes   %d in %s
journals replayed by mounts     %d of %d
cuts after a log was trimmed    %d
appends acknowledged            %d by %d clients at a time; %d more in doubt
large puts acknowledged         %d, of 128 KiB
lost, doubled or out of order   %s (%d keys read on every node in the end)
cut to serving again            p50 %s, p90 %s, max %s
of which starting the nodes     p50 %s, p90 %s, max %s`,
		f.cuts, f.under.Round(time.Second), f.replayed, 3*f.cuts, f.trims, f.acknowledged, f.appendersAtOnce, f.unknown, b.puts,
		lost, f.checked/3*f.appendersAtOnce,
		seconds(percentile(f.cut, 50)), seconds(percentile(f.cut, 90)), seconds(percentile(f.cut, 100)),
		seconds(percentile(f.serving, 50)), seconds(percentile(f.serving, 90)), seconds(percentile(f.serving, 100)))
}
