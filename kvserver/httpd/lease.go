package httpd

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// leaseRoutes are the routes about leases.
func leaseRoutes() []route {
	reads := []string{"consistency", "min_revision", "redirect"}
	afterRead := []int{200, 307, 400, 404, 429, 500, 501, 503, 504}
	afterKeep := []int{200, 307, 400, 404, 413, 415, 429, 500, 501, 503, 504}
	return []route{
		{Route{"POST", "/v1/leases", kvserver.Writes, auth.Lease, []string{"redirect"}, []string{"Content-Type", api.HeaderIdempotencyKey},
			[]int{201, 307, 400, 409, 413, 415, 422, 429, 500, 501, 503, 504, 507}}, ofSystem, (*Door).serveGrant},
		{Route{"GET", "/v1/leases", kvserver.Reads, auth.Lease, append([]string{"after", "limit"}, reads...), nil, afterRead}, ofSystem, (*Door).serveLeases},
		{Route{"POST", "/v1/leases/keepalive", kvserver.KeepAlives, auth.Lease, []string{"redirect"}, []string{"Content-Type"}, afterKeep}, ofSystem, (*Door).serveKeepAlives},
		{Route{"POST", "/v1/leases/{id}/keepalive", kvserver.KeepAlives, auth.Lease, []string{"redirect"}, nil, afterKeep}, ofSystem, (*Door).serveKeepAlive},
		{Route{"GET", "/v1/leases/{id}", kvserver.Reads, auth.Lease, append([]string{"keys"}, reads...), nil, afterRead}, ofSystem, (*Door).serveLease},
		{Route{"DELETE", "/v1/leases/{id}", kvserver.Deletes, auth.Lease, []string{"redirect"}, []string{api.HeaderIdempotencyKey},
			[]int{204, 307, 400, 404, 422, 429, 500, 501, 503, 504}}, ofSystem, (*Door).serveRevoke},
	}
}

const grantExample = `{"ttl":"15s","note":"worker 7"}`

// maxGrantBytes and maxKeepAlivesBytes bound the bodies about leases.
const (
	maxGrantBytes      = 4 << 10
	maxKeepAlivesBytes = 32 << 10
)

// serveGrant grants a lease.
func (d *Door) serveGrant(x *exchange) error {
	var asked api.Grant
	key, err := x.idempotencyKey()
	if err != nil {
		return err
	}
	x.repeatable = key != ""
	if sent, err := d.redirect(x); sent || err != nil {
		return err
	}
	body, err := x.jsonBody(maxGrantBytes, grantExample)
	if err == nil {
		err = strictJSON(body, &asked, grantExample)
	}
	if err != nil {
		return err
	}
	ttl, err := parseTTL(`field "ttl"`, asked.TTL)
	if err != nil {
		return err
	}
	if len(asked.Note) > kvserver.MaxNoteBytes || !utf8.ValidString(asked.Note) {
		return failure.Of(failure.BadRequest, nil, "the note has %d bytes; the longest may have %d, of UTF-8", len(asked.Note), kvserver.MaxNoteBytes)
	}
	c := kv.Grant(asked.Lease, ttl, asked.Note)
	c.IdempotencyKey = key
	x.aboutLease(asked.Lease)
	err = x.serveOnLease(c, body, func(x *exchange, _ string, r kv.Result) {
		x.aboutLease(r.Lease())
		_ = x.answerJSON(http.StatusCreated, api.Granted{Lease: r.Lease(), TTLMs: ttl})
	})
	if granted := (api.Granted{}); x.relayed != nil && json.Unmarshal(x.relayed.body, &granted) == nil {
		x.aboutLease(granted.Lease) // a problem names none
	}
	return err
}

// aboutLease says for the audit which lease the request is about; 0: that is not known.
func (x *exchange) aboutLease(id int64) {
	if id != 0 {
		x.about = strconv.FormatInt(id, 10)
	}
}

// serveOnLease takes a grant or revocation through the log, in its turn.
func (x *exchange) serveOnLease(c kv.Command, body []byte, answer answerWrite) error {
	d, size := x.door, int64(len(body))
	ctx, cancel := x.context()
	defer cancel()
	if err := d.server.Wait(ctx, x.route.Class, size); err != nil {
		return err
	}
	defer d.server.Leave(x.route.Class, size)
	return d.serveCommandWith(ctx, x, c, body, "", answer)
}

// serveRevoke ends a lease now.
func (d *Door) serveRevoke(x *exchange) error {
	id, err := x.leaseID()
	if err != nil {
		return err
	}
	c := kv.Revoke(id)
	if c.IdempotencyKey, err = x.idempotencyKey(); err != nil {
		return err
	}
	x.repeatable = c.IdempotencyKey != ""
	if sent, err := d.redirect(x); sent || err != nil {
		return err
	}
	return x.serveOnLease(c, nil, func(x *exchange, _ string, r kv.Result) {
		x.stampNumber(api.HeaderRevision, r.Revision)
		x.stampNumber(api.HeaderDeleted, r.Length)
		x.answer(http.StatusNoContent, nil)
	})
}

// serveKeepAlive keeps one lease alive.
func (d *Door) serveKeepAlive(x *exchange) error {
	id, err := x.leaseID()
	if err != nil {
		return err
	}
	if x.hasBody() {
		x.w.Header().Set("Connection", "close") // what comes is not waited for
		return failure.Of(failure.BadRequest, nil, "the request takes no body: the lease stands in the path; for several use /v1/leases/keepalive")
	}
	if sent, err := d.redirect(x); sent || err != nil {
		return err
	}
	return x.keepAlive([]int64{id}, nil, func(ttls []uint64) error {
		if ttls[0] == 0 {
			return failure.Of(failure.LeaseGone, nil, "there is no lease %d, or not any more: grant another one", id)
		}
		return x.answerJSON(http.StatusOK, api.KeptAlive{Lease: id, TTLMs: ttls[0], RemainingMs: ttls[0]})
	})
}

const keepAlivesExample = `{"leases":[10482,10483]}`

// serveKeepAlives keeps several leases alive.
func (d *Door) serveKeepAlives(x *exchange) error {
	if sent, err := d.redirect(x); sent || err != nil {
		return err
	}
	var asked api.KeepAlives
	body, err := x.jsonBody(maxKeepAlivesBytes, keepAlivesExample)
	if err == nil {
		err = strictJSON(body, &asked, keepAlivesExample)
	}
	switch {
	case err != nil:
		return err
	case len(asked.Leases) == 0 || len(asked.Leases) > kvserver.MaxKept:
		return failure.Of(failure.BadRequest, nil, "the body names %d leases; name 1 to %d", len(asked.Leases), kvserver.MaxKept)
	}
	return x.keepAlive(asked.Leases, body, func(ttls []uint64) error {
		kept := api.KeptAlives{Alive: []int64{}, Gone: []int64{}}
		for i, id := range asked.Leases {
			if ttls[i] == 0 {
				kept.Gone = append(kept.Gone, id)
			} else {
				kept.Alive = append(kept.Alive, id)
			}
		}
		return x.answerJSON(http.StatusOK, kept)
	})
}

// keepAlive keeps leases alive, wherever the leader is. answer gets the TTL of each.
func (x *exchange) keepAlive(ids []int64, body []byte, answer func(ttls []uint64) error) error {
	mayForward, err := x.mayForward()
	if err != nil {
		return err
	}
	x.repeatable = true
	ctx, cancel := x.context()
	defer cancel()
	ttls, elsewhere, err := x.door.server.KeepAlive(ctx, &x.who, ids, x.remote(mayForward, body))
	switch {
	case err != nil:
		return err
	case elsewhere:
		x.relay()
		return nil
	}
	return answer(ttls)
}

// serveLease shows one lease.
func (d *Door) serveLease(x *exchange) error {
	id, err := x.leaseID()
	if err != nil {
		return err
	}
	withKeys, err := x.flag("keys")
	if err != nil {
		return err
	}
	f, sent, err := x.freshness()
	if sent || err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	l, err := d.server.Lease(ctx, &x.who, id, withKeys, f)
	if err != nil {
		return err
	}
	x.stampConsistency(f)
	shown := showLease(l)
	for _, key := range l.Keys {
		shown.Keys = append(shown.Keys, api.NameKey(key))
	}
	if withKeys && shown.Keys == nil {
		shown.Keys = []api.KeyName{}
	}
	return x.answerJSON(http.StatusOK, shown)
}

func showLease(l kvserver.Lease) api.Lease {
	return api.Lease{Lease: l.ID, TTLMs: l.TTL, RemainingMs: l.Remaining, Note: l.Note}
}

// serveLeases lists leases in the order of their ids.
func (d *Door) serveLeases(x *exchange) error {
	from := int64(math.MinInt64)
	if text, given := x.query["after"]; given {
		after, err := strconv.ParseInt(text, 10, 64)
		if err != nil || after == math.MaxInt64 {
			return failure.Of(failure.BadRequest, err, "the parameter after is %.40q; it must be the id of a lease", text)
		}
		from = after + 1
	}
	limit, err := x.number("limit", 1, kvserver.MaxLeasePage, 100)
	if err != nil {
		return err
	}
	f, sent, err := x.freshness()
	if sent || err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	page, next, more, err := d.server.Leases(ctx, &x.who, from, int(limit), f)
	if err != nil {
		return err
	}
	x.stampConsistency(f)
	shown := api.LeasePage{Leases: []api.Lease{}}
	for _, l := range page {
		shown.Leases = append(shown.Leases, showLease(l))
	}
	if more {
		query := url.Values{}
		for name, value := range x.query {
			query.Set(name, value)
		}
		query.Set("after", strconv.FormatInt(next-1, 10)) // next is not the least id, for there is one before it
		shown.Next = "/v1/leases?" + query.Encode()
	}
	return x.answerJSON(http.StatusOK, shown)
}

// leaseID returns the id in the path.
func (x *exchange) leaseID() (int64, error) { return parseLease("id in the path", x.rawKey) }

func parseLease(what, text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id == 0 || strconv.FormatInt(id, 10) != text {
		return 0, failure.Of(failure.BadRequest, err, "the %s is %.40q; a lease is a whole number of 64 bits, and not 0", what, text)
	}
	return id, nil
}

// parseTTL returns milliseconds.
func parseTTL(what, text string) (uint64, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < kvserver.MinTTL*time.Millisecond || d > kvserver.MaxTTL*time.Millisecond {
		return 0, failure.Of(failure.BadRequest, err, "the %s is %.40q; it must be a duration from 1s to 9000000000s, such as 30s", what, text)
	}
	return uint64((d + time.Millisecond - 1) / time.Millisecond), nil
}

// keepTie is the ttl of a put that leaves the key tied to what it is tied to.
const keepTie = "keep"

// tie returns how long the key of a write is to live.
func (x *exchange) tie(op kv.Op) (t kv.Tie, err error) {
	ttl, timed := x.query["ttl"]
	id, leased := x.query["lease"]
	switch {
	case op == kv.OpTouch && !timed:
		return t, failure.Of(failure.BadRequest, nil, "op=touch needs the parameter ttl, as in ?op=touch&ttl=30s")
	case !timed && !leased:
		return t, nil
	case op == kv.OpAppend:
		return t, failure.Of(failure.BadRequest, nil, "an append keeps what the key is tied to; use op=touch, or PUT")
	case timed && leased:
		return t, failure.Of(failure.BadRequest, nil, "there are both ttl and lease; a key lives with one of them")
	case leased:
		t.Lease, err = parseLease("parameter lease", id)
	case ttl == keepTie && op == kv.OpPut:
		t.Keep = true
	default:
		t.TTL, err = parseTTL("parameter ttl", ttl)
	}
	return t, err
}

// serveTouch gives a key another deadline.
func (d *Door) serveTouch(x *exchange) error {
	command, err := x.command(kv.OpTouch)
	if err != nil {
		return err
	}
	switch {
	case command.Condition != (kv.Condition{}), command.IdempotencyKey != "":
		return failure.Of(failure.BadRequest, nil, "op=touch takes no condition and no %s: repeating it is harmless", api.HeaderIdempotencyKey)
	case command.Previous:
		return failure.Of(failure.BadRequest, nil, "op=touch takes no prev: the value stays as it is")
	case x.hasBody():
		x.w.Header().Set("Connection", "close") // what comes is not waited for
		return failure.Of(failure.BadRequest, nil, "op=touch takes no body")
	}
	x.repeatable = true
	if sent, err := d.redirectCommand(x, &command); sent || err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	if err := d.server.Wait(ctx, x.route.Class, 0); err != nil {
		return err
	}
	defer d.server.Leave(x.route.Class, 0)
	return d.serveCommand(ctx, x, command, string(command.Key), func(x *exchange, key string, r kv.Result) {
		// The change is an earlier one: the store's revision is not told.
		x.stampItem(r.Revision, r.Version)
		x.w.Header()["Content-Type"] = valueJSON
		x.answer(http.StatusOK, appendWritten(x.answerRoom(key), key, r))
	})
}

// stampTie says how long a key that was read lives.
func (x *exchange) stampTie(r kvserver.Reading) {
	h := x.w.Header()
	if r.Lease != 0 {
		h.Set(api.HeaderLease, strconv.FormatInt(r.Lease, 10))
	}
	if r.Ends {
		h.Set(api.HeaderExpiresIn, strconv.FormatUint(r.Remaining/1000, 10))
	}
}
