package system

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"raftkv/tests/cluster"
)

// pythonProgram uses examples/raftkv.py. Its arguments are an endpoint at which
// nobody listens, endpoints that lose every second answer, and one of a follower.
const pythonProgram = `
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from raftkv import Client, Conflict, Error, Item, OutcomeUnknown

nobody, losing, follower = sys.argv[2:5]
kv = Client([nobody, losing, follower], timeout=60)

# Values and keys are any bytes.
for key in ["greeting", "a//b/../c", "ä?x=1#y%20", b"\xff\x00", "."]:
    written = kv.put(key, b"\x00\xffv")
    assert written.created and written.version == 1, written
    item = kv.get(key)
    name = key.encode() if isinstance(key, str) else key
    assert item == Item(name, b"\x00\xffv", written.revision, 1), item
    assert kv.delete(key).found and not kv.delete(key).found
    assert kv.get(key) is None

# An append happens once, though every second answer is lost.
lossy = Client([nobody, losing], timeout=60)
for i in range(20):
    lossy.append("log", "%d;" % i)
assert kv.get("log").value == b"".join(b"%d;" % i for i in range(20)), kv.get("log")

# The same request by its name, sent again.
first = kv.append("order", "paid;", idempotency_key="order-17")
again = Client(follower, timeout=60).append("order", "paid;", idempotency_key="order-17")
assert again.replayed and again.revision == first.revision and kv.get("order").value == b"paid;"

# An append that makes the key says so; the next one does not.
assert kv.append("new", "a").created and not kv.append("new", "b").created

# What is no endpoint is refused before anything is asked.
for bad in ["", "localhost", "localhost:", ":8701", "localhost:0", "localhost:65536", "localhost:x", "http://localhost:8701", "::1:8701"]:
    try:
        Client([follower, bad] if bad else bad)
        raise AssertionError("an endpoint: %r" % bad)
    except ValueError:
        pass
Client(["[::1]:8701", "kv1:8701"])

# Conditions.
written = kv.put("job", "mine", if_absent=True)
for options in [{"if_absent": True}, {"if_revision": written.revision + 1}]:
    try:
        kv.put("job", "yours", **options)
        raise AssertionError("a condition that does not hold: %r" % options)
    except Conflict as conflict:
        assert conflict.outcome == "not_applied"
kv.put("job", "done", if_revision=written.revision)
kv.put("job", "again", if_present=True)
assert kv.get("job", min_revision=written.revision).value == b"again"
kv.get("job", stale=True)

# Lists, in the order of the bytes of the keys.
for key in ["l/b", "l/a", b"l/\xff"]:
    kv.put(key, key)
assert [(i.key, i.value) for i in kv.list("l/")] == [(b"l/a", b"l/a"), (b"l/b", b"l/b"), (b"l/\xff", b"l/\xff")]
assert kv.list("nothing/") == []

# What cannot be.
try:
    kv.put("", "v")
    raise AssertionError("an empty key")
except Error as error:
    assert error.outcome == "not_applied", error
try:
    kv.put("k", b"x" * ((1 << 20) + 1))
    raise AssertionError("a value that is too long")
except Error as error:
    assert error.code == "value_too_large", error

# Nobody answers: nothing was sent. Every answer is lost: nobody knows.
try:
    Client(nobody, timeout=0.3).put("k", "v")
    raise AssertionError("nobody answered and the put is done")
except OutcomeUnknown:
    raise AssertionError("nothing was sent, and the outcome is called unknown")
except Error as error:
    assert error.outcome == "not_applied" and "refuses connections" in str(error), error
try:
    Client(sys.argv[5], timeout=1).put("k", "v")
    raise AssertionError("no answer came and the put is done")
except OutcomeUnknown:
    pass
print("all is well")
`

// losingProxy passes requests on to a node and loses some of the answers.
func losingProxy(t *testing.T, node string, loses func(request int64) bool) (address string) {
	t.Helper()
	var requests atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lost := loses(requests.Add(1))
		r.URL.Scheme, r.URL.Host = "http", node
		forwarded, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+node+r.RequestURI, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		forwarded.Header, forwarded.ContentLength = r.Header, r.ContentLength
		response, err := http.DefaultTransport.RoundTrip(forwarded)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || lost {
			panic(http.ErrAbortHandler)
		}
		for name, values := range response.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(response.StatusCode)
		_, _ = w.Write(body) // the client may have gone
	}))
	t.Cleanup(proxy.Close)
	return proxy.Listener.Addr().String()
}

// Goal: the client in Python does what it says, through lost answers, and tells
// the outcome of what it cannot do.
// Method: a cluster of three; a program that uses every call through a proxy that
// loses every second answer. Without Python this is skipped.
func TestThePythonClient(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: there is no python3, so examples/raftkv.py is not tested")
	}
	c := cluster.Start(t, 3)
	leader := c.Leader()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	examples, err := filepath.Abs(filepath.Join("..", "..", "examples"))
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command(python, "-c", pythonProgram, examples, l.Addr().String(),
		losingProxy(t, leader.HTTP, func(n int64) bool { return n%2 == 0 }), c.Others(leader)[0].HTTP,
		losingProxy(t, leader.HTTP, func(int64) bool { return true }))
	program.Env = append(cluster.CleanEnvironment(), "no_proxy=*")
	output, err := program.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "all is well") {
		t.Errorf("%v: %s", err, output)
	}
}
