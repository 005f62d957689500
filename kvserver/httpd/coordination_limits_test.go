package httpd

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/client"
	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
)

// Goal: what leases, locks, ranges and transactions refuse has one code and one outcome at both
// doors, and the error of the Clerk that its documents name. Method: a store in which each
// limit is reached; each request over HTTP, and by a Clerk.
func TestBothDoorsRefuseByTheSameCodes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		run := func(c kv.Command) { log.Deliver(kv.EncodeCommand(c)) }
		run(kv.Grant(1, 1<<30, ""))
		run(kv.AcquireCommand(kv.Acquire{Lock: "held", Lease: 1, Limit: 1}))
		for i := range int64(1024) {
			run(kv.Grant(10+i, 1<<30, ""))
			run(kv.AcquireCommand(kv.Acquire{Lock: "held", Lease: 10 + i, Limit: 1, Queue: true}))
		}
		for i := range 9 {
			run(kv.Command{Op: kv.OpPut, Key: fmt.Appendf(nil, "big/%02d", i), Value: make([]byte, 1<<20)})
		}
		run(kv.Grant(2, 1<<30, ""))
		run(kv.AcquireCommand(kv.Acquire{Lock: "wide", Lease: 2, Limit: 2}))
		synctest.Wait()
		c := dialPipes(t, s)
		ctx := t.Context()
		mine, err := c.Grant(ctx, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		lease := fmt.Sprintf(`{"lease":%d}`, mine.ID())
		for code, refused := range map[api.Code]struct {
			status               int
			method, target, body string
			clerk                func() error
			is                   error
		}{
			api.CodeLockQueueFull: {409, "POST", "/v1/locks/held?wait=1s", lease, func() error { _, err := mine.Lock(ctx, "held"); return err }, nil},
			api.CodeLockHeld:      {409, "POST", "/v1/locks/held", lease, func() error { _, err := mine.TryLock(ctx, "held"); return err }, client.ErrLockHeld},
			api.CodeLimitMismatch: {409, "POST", "/v1/locks/wide", lease, func() error { _, err := mine.TryLock(ctx, "wide"); return err }, nil},
			api.CodeLeaseExists:   {409, "POST", "/v1/leases", `{"lease":1,"ttl":"10s"}`, func() error { _, err := c.Grant(ctx, time.Hour, client.LeaseID(1)); return err }, client.ErrLeaseExists},
			api.CodeLeaseNotFound: {404, "DELETE", "/v1/leases/9", "", func() error { return c.Revoke(ctx, 9) }, client.ErrLeaseLost},
			api.CodeTooManyKeys: {413, "DELETE", "/v1/kv?prefix=big%2F&at_most=8", "", func() error {
				_, err := c.DeletePrefix(ctx, "big/", client.AtMost(8))
				return err
			}, client.ErrTooManyKeys},
			api.CodeResultTooLarge: {413, "POST", "/v1/txn", `{"then":[{"op":"put","key":"x","text":"y"},{"op":"list","prefix":"big/"},{"op":"list","prefix":"big/"}]}`, func() error {
				_, err := c.Txn(ctx).Then(client.OpPut("x", nil), client.OpList("big/", 100), client.OpList("big/", 100)).Commit()
				return err
			}, client.ErrTooLarge},
		} {
			header := []string{"Content-Type", api.MediaJSON}
			if refused.body == "" {
				header = nil
			}
			wantProblem(t, ask(s, refused.method, refused.target, refused.body, header...), refused.status, code, api.OutcomeNotApplied)
			err := refused.clerk()
			var e *client.Error
			if !errors.As(err, &e) || e.Code != code || e.Outcome != api.OutcomeNotApplied || refused.is != nil && !errors.Is(err, refused.is) {
				t.Errorf("a Clerk is refused by %v, want %s and %v", err, code, refused.is)
			}
		}
	})
}
