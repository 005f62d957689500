"""A client of raftkv in one file, for Python 3.8 or later, standard library only.

    from raftkv import Client, Conflict, OutcomeUnknown

    kv = Client(["127.0.0.1:8701", "127.0.0.1:8702", "127.0.0.1:8703"])
    kv.put("greeting", "hello")
    kv.get("greeting").value                  # b"hello"
    kv.append("log", "paid;")                 # once, however often it had to be sent
    try:
        kv.put("job", "mine", if_absent=True)
    except Conflict:
        print("somebody else has it")

Copy the file into your program and change what you like. The HTTP API is
docs/http.md.

Every write carries an Idempotency-Key, so the client may send it again, to any
node, until one answers: the cluster makes it once. What cannot be done in time
raises an Error whose outcome says whether the write happened:

    not_applied   it did not happen and never will
    unknown       it may have happened, or may happen yet, once

Keys and values are bytes or str (which is sent as UTF-8); what comes back is
bytes. A Client may be used by several threads.
"""

import base64
import collections
import http.client
import json
import random
import re
import time
import urllib.parse
import uuid

Item = collections.namedtuple("Item", "key value revision version")
Written = collections.namedtuple("Written", "revision version length created replayed")
Deleted = collections.namedtuple("Deleted", "found revision")


class Error(Exception):
    """A call that failed. outcome is not_applied or unknown; code is the node's
    word for the error, "" if no node has answered."""

    def __init__(self, outcome, code, detail):
        super().__init__("%s (%s, outcome %s)" % (detail, code or "no answer", outcome))
        self.outcome, self.code, self.detail = outcome, code, detail


class Conflict(Error):
    """The condition of a write does not hold. It did not happen."""


class OutcomeUnknown(Error):
    """The write may have happened, or may happen yet, once."""


class _NotSent(Exception):
    """No connection could be made, so nothing was sent."""


class _NotANode(Exception):
    """Another server answers at the endpoint."""


class Client:
    """A client of the nodes at endpoints, "host:port" each. timeout is how many
    seconds one call goes on trying, attempt_timeout how long one node may take.
    ValueError if an endpoint is no host:port."""

    def __init__(self, endpoints, timeout=10.0, attempt_timeout=3.0):
        if isinstance(endpoints, str):
            endpoints = endpoints.split(",")
        self._endpoints = [e.strip() for e in endpoints if e.strip()]
        if not self._endpoints:
            raise ValueError("no endpoint is given")
        for endpoint in self._endpoints:
            _check_endpoint(endpoint)
        self._timeout, self._attempt_timeout = timeout, attempt_timeout
        self._first = 0  # the endpoint that answered last

    def get(self, key, stale=False, min_revision=0):
        """The Item of a key, None if there is no such key. It shows every write that
        was answered before, unless stale lets a node answer from what it has."""
        query = {}
        if stale:
            query["consistency"] = "stale"
        if min_revision:
            query["min_revision"] = min_revision
        status, headers, body = self._call("GET", _path(key, query))
        if status == 404:
            return None
        return Item(_bytes(key), body, int(headers["Etag"].strip('"')), int(headers["Kv-Version"]))

    def put(self, key, value, **options):
        """Set the value of a key. options: if_revision=N, if_absent=True or
        if_present=True, and idempotency_key="…" to name the request yourself."""
        return self._write("PUT", key, {}, _bytes(value), options)

    def append(self, key, value, **options):
        """Add to the end of a value; a key that does not exist counts as empty. The
        options are those of put."""
        return self._write("POST", key, {"op": "append"}, _bytes(value), options)

    def delete(self, key, **options):
        """Remove a key. That there was none is no error. The options are those of
        put."""
        status, headers, _ = self._call("DELETE", _path(key, {}), None, _headers(options), write=True)
        return Deleted(headers.get("Kv-Deleted") == "1", int(headers["Kv-Revision"]))

    def list(self, prefix=""):
        """All Items whose keys begin with prefix, in the order of their bytes, as they
        were at one moment."""
        path = "/v1/kv?prefix=" + urllib.parse.quote(_bytes(prefix), safe="")
        _, _, body = self._call("GET", path, None, {"Accept": "application/x-ndjson"})
        items = []
        for line in body.splitlines():
            v = json.loads(line)
            key = base64.b64decode(v["key_base64"]) if "key_base64" in v else v["key"].encode()
            items.append(Item(key, base64.b64decode(v["value"]), v["revision"], v["version"]))
        return items

    def _write(self, method, key, query, value, options):
        _, headers, body = self._call(method, _path(key, query), value, _headers(options), write=True)
        answer = json.loads(body)
        replayed = headers.get("Idempotency-Replayed") == "true"
        return Written(answer["revision"], answer["version"], answer.get("length", len(value)), answer["version"] == 1, replayed)

    def _call(self, method, path, body=None, headers=None, write=False):
        """Ask one node after the other until one has done it, refuses it for good, or
        the time is over."""
        deadline = time.monotonic() + self._timeout
        doubt = False  # an attempt may have had an effect
        best = ("", "no node answered: ")
        reasons, turn, pause = {}, self._first, 0.01
        while True:
            endpoint = self._endpoints[turn % len(self._endpoints)]
            left = deadline - time.monotonic()
            rest = 0
            try:
                status, answer, content = self._ask(endpoint, method, path, body, headers, min(self._attempt_timeout, max(left, 0.01)))
                code, _, outcome = answer.get("Kv-Error", "").partition("; outcome=")
                if status < 300 or code == "key_not_found":
                    self._first = turn % len(self._endpoints)
                    return status, answer, content
                problem = json.loads(content or b"{}")
                reasons[endpoint] = problem.get("detail", code)
                if outcome == "unknown":
                    doubt = True
                if not problem.get("retryable"):
                    unknown = write and doubt and code != "precondition_failed"
                    kind = Conflict if code == "precondition_failed" else OutcomeUnknown if unknown else Error
                    raise kind("unknown" if unknown else "not_applied", code, problem.get("detail", code))
                best = (code, "")
                rest = float(answer.get("Retry-After", 0) or 0) if code == "overloaded" else 0
            except _NotSent as error:
                reasons.setdefault(endpoint, str(error))
            except (OSError, http.client.HTTPException, _NotANode, ValueError) as error:
                doubt = doubt or write  # it may have been sent
                reasons.setdefault(endpoint, str(error) or type(error).__name__)
            turn += 1
            if (turn - self._first) % len(self._endpoints) == 0:
                rest, pause = max(rest, random.uniform(0, pause)), min(pause * 2, 0.3)
            if time.monotonic() + rest >= deadline:
                detail = best[1] + "; ".join("%s: %s" % pair for pair in reasons.items())
                if write and doubt:
                    raise OutcomeUnknown("unknown", best[0], detail)
                raise Error("not_applied", best[0], detail)
            time.sleep(rest)

    def _ask(self, endpoint, method, path, body, headers, timeout):
        host, _, port = endpoint.rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout)
        try:
            connection.connect()
        except ConnectionRefusedError:
            raise _NotSent("refuses connections")
        except OSError as error:
            raise _NotSent("cannot be reached: %s" % error)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            answer = {name.title(): value for name, value in response.getheaders()}
            content = response.read()  # raises if the answer is cut short
        finally:
            connection.close()
        if "Kv-Request-Id" not in answer and "Kv-Error" not in answer:
            raise _NotANode("answers %d, and not like a node" % response.status)
        return response.status, answer, content


def _check_endpoint(endpoint):
    """Raise ValueError unless endpoint is host:port. An IPv6 address stands in
    brackets."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\s/:@\[\]]+):([0-9]{1,5})", endpoint)
    if not match or not 1 <= int(match.group(2)) <= 65535:
        raise ValueError("endpoint %r is not host:port" % endpoint)


def _bytes(text):
    return text.encode() if isinstance(text, str) else bytes(text)


def _path(key, query):
    path = "/v1/kv/" + urllib.parse.quote(_bytes(key), safe="")
    return path + ("?" + urllib.parse.urlencode(query) if query else "")


def _headers(options):
    """The headers of a write. A request that names no idempotency key gets one, so
    that it can be sent again."""
    options = dict(options)
    headers = {"Idempotency-Key": options.pop("idempotency_key", None) or uuid.uuid4().hex}
    conditions = [(name, options.pop(name)) for name in ("if_revision", "if_absent", "if_present") if name in options]
    if options:
        raise TypeError("unknown option: " + ", ".join(options))
    conditions = [(name, value) for name, value in conditions if value is not None and value is not False]
    if len(conditions) > 1:
        raise ValueError("a write takes one condition")
    for name, value in conditions:
        if name == "if_revision":
            if not isinstance(value, int) or value < 1:
                raise ValueError("if_revision is %r; revisions begin at 1" % (value,))
            headers["If-Match"] = '"%d"' % value
        elif name == "if_absent":
            headers["If-None-Match"] = "*"
        else:
            headers["If-Match"] = "*"
    return headers
