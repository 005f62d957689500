package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/client"
)

// bank judges transactions by a bank: each moves money between two accounts, so their sum is
// the same in every state that anybody is shown, and in every change. What was refused has
// moved nothing, what was answered has moved it once. It is safe for concurrent use.
type bank struct {
	*ledger
	config *Config

	mu       sync.Mutex        // guards the fields below
	outcomes map[string]string // of transfers, by their names
	shown    map[string]bool   // those that the watch has brought
	balances map[string]int    // by account, as the watch brings them
	opened   bool              // the accounts are there
}

// balance0 is what each account begins with.
const balance0 = 100

func newBank(config *Config) *bank {
	return &bank{ledger: newLedger(), config: config, outcomes: map[string]string{}, shown: map[string]bool{}, balances: map[string]int{}}
}

func (b *bank) account(n int) string { return fmt.Sprintf("%sa%d", b.config.Prefix, n) }

// accounts is how many there are, all of which fit into one page of a list.
func (b *bank) accounts() int { return min(max(b.config.Keys, 4), 1000) }

// valueOf is what an account holds after a transfer.
func valueOf(balance int, transfer string) []byte {
	return []byte(strconv.Itoa(balance) + " " + transfer)
}

// balanceOf returns the balance in a value, and the transfer that made it.
func balanceOf(value []byte) (balance int, transfer string) {
	number, transfer, _ := strings.Cut(string(value), " ")
	balance, err := strconv.Atoi(number)
	if err != nil {
		balance = -1 << 40 // which no sum survives
	}
	return balance, transfer
}

// begun notes a transfer before it is made.
func (b *bank) begun(transfer string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outcomes[transfer] = Unknown
}

// ended notes how it ended.
func (b *bank) ended(transfer, outcome string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outcomes[transfer] = outcome
	b.count("transfers "+outcome, 1)
	if outcome == Refused && b.shown[transfer] {
		b.fault("the transfer %s was refused, and a watch has brought it (T6)", transfer)
	}
}

// saw judges the accounts as a read has shown them, at one moment.
func (b *bank) saw(how string, revision uint64, items []client.Item) {
	sum := 0
	for i := range items {
		balance, _ := balanceOf(items[i].Value)
		sum += balance
	}
	b.count(how, 1)
	if want := b.accounts() * balance0; len(items) != b.accounts() || sum != want {
		b.fault("%s at revision %d: %d accounts with %d, and there are %d with %d (T1)", how, revision, len(items), sum, b.accounts(), want)
	}
}

// take judges a change.
func (b *bank) take(revision uint64, changes []client.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.opened {
		b.opened = true
		if len(changes) != b.accounts() {
			b.fault("revision %d opens %d accounts, and the transaction %d (T1)", revision, len(changes), b.accounts())
		}
		for i := range changes {
			b.balances[changes[i].Key], _ = balanceOf(changes[i].Item.Value)
		}
		return
	}
	b.count("changes", 1)
	transfer, moved := "", 0
	for i := range changes {
		balance, by := balanceOf(changes[i].Item.Value)
		if i > 0 && by != transfer {
			b.fault("revision %d has parts of the transfers %s and %s (T1)", revision, transfer, by)
		}
		moved += balance - b.balances[changes[i].Key]
		transfer, b.balances[changes[i].Key] = by, balance
	}
	outcome, known := b.outcomes[transfer]
	switch {
	case !known:
		b.fault("revision %d is the transfer %q, which nobody made", revision, shorten(transfer))
	case outcome == Refused:
		b.fault("revision %d is the transfer %s, which was refused (T6)", revision, transfer)
	case b.shown[transfer]:
		b.fault("revision %d is the transfer %s once more (T5)", revision, transfer)
	case len(changes) != 2 || moved != 0:
		b.fault("revision %d is the transfer %s with %d events and a sum of %+d (T1, T3)", revision, transfer, len(changes), moved)
	}
	b.shown[transfer] = true
}

// judge says what came out, once the watch has brought everything.
func (b *bank) judge() Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	lost := ""
	for transfer, outcome := range b.outcomes {
		if outcome == Done && !b.shown[transfer] && b.whole() && (lost == "" || transfer < lost) {
			lost = transfer
		}
	}
	if lost != "" {
		b.fault("the transfer %s was answered, and no watch has brought it (T2)", lost)
	}
	return b.report("transfers " + Done)
}

// RunTransfers lets clients move money between accounts by transactions, and looks on, by
// reads of several kinds and by a watch. The cluster must work at level 3.
func RunTransfers(ctx context.Context, clerks []*client.Clerk, config Config) (Report, error) {
	b := newBank(&config)
	calls, endCalls := context.WithCancel(context.Background())
	defer endCalls()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(interruptGrace, endCalls) })()
	revision, err := b.open(calls, clerks[0])
	if err != nil {
		return Report{}, fmt.Errorf("opening the accounts: %w", err)
	}
	watching, endWatching := context.WithCancel(context.Background())
	defer endWatching()
	var looking sync.WaitGroup
	var end atomic.Uint64
	w := clerks[0].NewWatcher(client.Prefix(config.Prefix), client.AfterRevision(revision-1), client.ProgressEvery(500*time.Millisecond))
	looking.Go(func() {
		follow(watching, w, &end, b.ledger, func(e *client.WatchEvent) {
			if e.Kind == client.Changed {
				b.take(e.Revision, e.Changes)
			}
		})
	})
	drive(ctx, &config, func(driving context.Context, number int) {
		c := &customer{bank: b, clerk: clerks[number%len(clerks)], calls: calls, number: number, rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
		for driving.Err() == nil {
			if c.rand.IntN(3) > 0 {
				c.move()
			} else {
				c.look()
			}
			pause(driving, c.rand, &config)
		}
	})
	followed(ctx, watching, endWatching, w, &end, b.ledger, &config)
	looking.Wait()
	cleaning, cancel := context.WithTimeout(context.Background(), interruptedGrace)
	defer cancel()
	_, _ = clerks[0].DeletePrefix(cleaning, config.Prefix, client.Partially()) // keys that are left behind do no harm
	return b.judge(), nil
}

// follow hands out what a watch brings, up to the end, which is known later. 0: not yet.
func follow(ctx context.Context, w *client.Watcher, end *atomic.Uint64, l *ledger, take func(*client.WatchEvent)) {
	for e, err := range w.Events(ctx) {
		if err != nil {
			l.missing("the watch has ended before its end: %v", err)
			return
		}
		take(&e)
		if last := end.Load(); last != 0 && e.Revision >= last {
			return
		}
	}
}

// followed tells a watch where its end is, when everything was done.
func followed(ctx, watching context.Context, endWatching func(), w *client.Watcher, end *atomic.Uint64, l *ledger, config *Config) {
	limit := endGrace + config.Timeout
	if ctx.Err() != nil {
		limit = interruptedGrace
	}
	time.AfterFunc(limit, endWatching)
	revision, err := w.Sync(watching)
	if err != nil {
		l.missing("the watch did not come to the end: %v", err)
		endWatching()
	}
	end.Store(max(revision, 1))
}

// open opens all accounts in one change.
func (b *bank) open(ctx context.Context, clerk *client.Clerk) (revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.config.Timeout)
	defer cancel()
	var ops []client.Op
	for n := range b.accounts() {
		ops = append(ops, client.OpPut(b.account(n), valueOf(balance0, "first")))
	}
	r, err := clerk.Txn(ctx).Then(ops...).Commit()
	return r.Revision, err
}

// customer is one client.
type customer struct {
	*bank
	clerk  *client.Clerk
	calls  context.Context
	number int
	rand   *rand.Rand
	made   int
}

// move moves money from one account to another, if neither has changed since it was read.
// Now and then the transaction has a part that cannot be done, so all of it is refused.
func (c *customer) move() {
	ctx, cancel := context.WithTimeout(c.calls, c.config.Timeout)
	defer cancel()
	from := c.rand.IntN(c.accounts())
	to := (from + 1 + c.rand.IntN(c.accounts()-1)) % c.accounts()
	read2, err := c.clerk.Txn(ctx).Then(client.OpGet(c.account(from)), client.OpGet(c.account(to))).Commit()
	if err != nil || len(read2.Results) != 2 || len(read2.Results[0].Items) != 1 || len(read2.Results[1].Items) != 1 {
		c.count("reads failed", 1)
		return
	}
	source, target := read2.Results[0].Items[0], read2.Results[1].Items[0]
	rich, _ := balanceOf(source.Value)
	poor, _ := balanceOf(target.Value)
	amount := c.rand.IntN(10)
	c.made++
	transfer := fmt.Sprintf("%d.%d", c.number, c.made)
	ops := []client.Op{client.OpPut(source.Key, valueOf(rich-amount, transfer)), client.OpPut(target.Key, valueOf(poor+amount, transfer))}
	if c.rand.IntN(10) == 0 {
		ops = append(ops, client.OpTouch(c.config.Prefix+"nobody", time.Minute))
	}
	c.begun(transfer)
	r, err := c.clerk.Txn(ctx).If(client.KeyRevision(source.Key, source.Revision), client.KeyRevision(target.Key, target.Revision)).Then(ops...).Commit()
	switch {
	case err == nil && r.Succeeded && len(ops) > 2:
		c.fault("the transfer %s was done, and its third operation cannot be done (T6)", transfer)
	case err == nil && r.Succeeded:
		c.ended(transfer, Done)
	case errors.Is(err, client.ErrOutcomeUnknown):
		c.ended(transfer, Unknown)
	default:
		c.ended(transfer, Refused)
	}
}

// look reads all accounts at one moment: now, or at the revision of a read before.
func (c *customer) look() {
	ctx, cancel := context.WithTimeout(c.calls, c.config.Timeout)
	defer cancel()
	page, err := c.clerk.List(ctx, c.config.Prefix)
	if err != nil {
		c.count("reads failed", 1)
		return
	}
	c.saw("lists", page.Revision, page.Items)
	switch c.rand.IntN(3) {
	case 0:
		past, err := c.clerk.List(ctx, c.config.Prefix, client.AtRevision(page.Revision))
		if err == nil {
			c.saw("lists of the past", page.Revision, past.Items)
		}
	case 1:
		var ops []client.Op
		for n := range c.accounts() {
			ops = append(ops, client.OpGet(c.account(n)))
		}
		r, err := c.clerk.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return
		}
		var items []client.Item
		for i := range r.Results {
			items = append(items, r.Results[i].Items...)
		}
		c.saw("transactions that read", r.Revision, items)
	}
}
