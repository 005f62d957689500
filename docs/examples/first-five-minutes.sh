#!/usr/bin/env bash
# The first five minutes of a new user, typed by a script: what README.md says,
# in its order, against a cluster that begins empty. Prints a transcript in
# Markdown; docs/first-five-minutes.md is one.
#
#   docs/examples/first-five-minutes.sh > docs/first-five-minutes.md
#
# The page is never mended by hand: what is put in between has the time of another run.
# Needs Go, bash and curl. It runs from the top of the repository. RAFTKV names a
# program that is built already, PORT the first of the HTTP ports (8701).
set -euo pipefail
cd "$(dirname "$0")/../.."

port=${PORT:-8701}
dir=$(mktemp -d)
begun=$SECONDS
cluster=
end() {
	[ -z "$cluster" ] || kill -9 "$cluster" 2>"$dir/end" || true
	rm -rf "$dir"
}
trap end EXIT

printf 'silent\nshow-error\n' >"$dir/.curlrc" # curl draws no progress into the transcript
export CURL_HOME=$dir

say() { printf '\n%s\n' "$*"; }
step() { printf '\n## %d:%02d %s\n' $(((SECONDS - begun) / 60)) $(((SECONDS - begun) % 60)) "$1"; }

# type shows a command and what it prints, as code. The ports shown are README's,
# and the program is shown under README's name.
type() {
	printf '\n    $ %s\n' "$1"
	local command=${1//bin\/raftkv/$program} i
	for i in 0 1 2; do command=${command//localhost:$((8701 + i))/localhost:$((port + i))}; done
	(cd "$dir" && bash -c "$command" 2>&1 || echo "(exit code $?)") | shown
}
# What was printed, indented. The last line may lack its end.
shown() {
	sed -e 's/\r$//' -e "s#$program#bin/raftkv#g" \
		-e "s/:$port\b/:8701/g" -e "s/:$((port + 1))\b/:8702/g" -e "s/:$((port + 2))\b/:8703/g" -e '$a\' | sed 's/^/    /'
}
# start starts the cluster as make run does, and waits until it serves.
start() {
	printf '\n    $ bin/raftkv dev\n'
	(cd "$dir" && exec "$program" dev --port "$port" >"$dir/dev" 2>&1) &
	cluster=$!
	until grep -q 'Ctrl-C ends it' "$dir/dev"; do
		kill -0 "$cluster" || { cat "$dir/dev" >&2; exit 1; }
		sleep 0.05
	done
	shown <"$dir/dev"
}
stop() {
	kill -INT "$cluster"
	wait "$cluster"
	cluster=
	printf '\n    ^C\n'
	tail -n 1 "$dir/dev" | shown
}

endpoints=127.0.0.1:$port,127.0.0.1:$((port + 1)),127.0.0.1:$((port + 2))
[ "$port" = 8701 ] || export RAFTKV_ENDPOINTS=$endpoints

echo "# The first five minutes"
say "[docs/examples/first-five-minutes.sh](examples/first-five-minutes.sh) produced this page; it types
the commands of the [README](../README.md).
Each heading says how much time has passed."

step "Build"
say "On a fresh machine this is most of the first five minutes: it downloads the modules and compiles
them and the standard library.
Here all of that was there already."
if [ -n "${RAFTKV:-}" ]; then
	program=$RAFTKV
else
	program=$PWD/bin/raftkv
	printf '\n    $ make build\n'
	make build | shown
fi

step "A cluster of three"
say "\`make run\` does the same.
It stays in its terminal; the rest is typed in another one."
start

step "Write and read, with curl, at any node"
type "curl -X PUT --data-binary 'hello' localhost:8701/v1/kv/greeting"
type "curl localhost:8702/v1/kv/greeting"
type "curl -X POST --data-binary ', world' 'localhost:8703/v1/kv/greeting?op=append'"
type "curl localhost:8701/v1/kv/greeting"
type "curl -i -X DELETE localhost:8702/v1/kv/greeting"
type "curl localhost:8701/v1/kv/greeting"

step "An append that can be sent twice"
type "curl -X POST -H 'Idempotency-Key: order-17' --data-binary 'paid;' 'localhost:8701/v1/kv/order?op=append'"
type "curl -i -X POST -H 'Idempotency-Key: order-17' --data-binary 'paid;' 'localhost:8702/v1/kv/order?op=append'"
type "curl localhost:8703/v1/kv/order"

step "The same from the command line"
type "bin/raftkv put greeting hello"
type "bin/raftkv append greeting ', world'"
type "bin/raftkv get greeting"
type "bin/raftkv put greeting mine --if-absent"
type "bin/raftkv list --values"
type "bin/raftkv get nothing"
type "bin/raftkv export"

step "Who leads?"
type "bin/raftkv status"
type "bin/raftkv leader"
type "bin/raftkv health"

step "A key that ends by itself, and a watch that sees it"
type "curl -X PUT --data-binary 'up' 'localhost:8701/v1/kv/services%2Fa?ttl=1s'"
type "curl -N -H 'Accept: application/x-ndjson' 'localhost:8702/v1/watch?prefix=services/&after=7&text' 2>/dev/null | grep -m 2 '\"change\"'"
say "A program that lost its watch goes on behind the last \`id\`, at any node."

step "A lock"
type "curl --json '{\"ttl\":\"60s\",\"text\":\"worker 7\"}' localhost:8703/v1/locks/jobs"
type "curl -w '%{http_code}\\n' -o /dev/null --json '{\"ttl\":\"60s\"}' localhost:8701/v1/locks/jobs"
say "Its token is a revision.
A write that carries it is refused when the lock has gone on to somebody else:"
type "curl -X PUT -H 'If-Lock: jobs;token=10' --data-binary 'half' localhost:8702/v1/kv/result"
type "curl -X DELETE 'localhost:8701/v1/locks/jobs?token=10'"
type "curl -X PUT -H 'If-Lock: jobs;token=10' --data-binary 'all' localhost:8702/v1/kv/result"

step "A transaction"
type "curl --json '{\"if\":[{\"key\":\"a\",\"absent\":true}],\"then\":[{\"op\":\"put\",\"key\":\"a\",\"text\":\"70\"},{\"op\":\"put\",\"key\":\"b\",\"text\":\"30\"}]}' localhost:8701/v1/txn"
type "curl --json '{\"then\":[{\"op\":\"get\",\"key\":\"a\"},{\"op\":\"get\",\"key\":\"b\"}]}' 'localhost:8703/v1/txn?text'"

step "How fast is it?"
type "bin/raftkv bench --clients 64 --duration 5s --mix put=1"
type "bin/raftkv bench --clients 64 --duration 5s --mix get=1"

step "Is it right?"
type "bin/raftkv verify --duration 5s"
say "Does that find anything?
One read is made to lie:"
type "bin/raftkv verify --duration 3s --stale-read"

step "The data is still there"
say "Ctrl-C in the first terminal, and the cluster once more:"
stop
start
type "bin/raftkv get greeting"
stop

step "The end"
say "Where to read on: the [HTTP API](http.md), [watches, leases, locks and transactions](coordination.md),
the [Go client](go-client.md), a [client for Python](../examples/raftkv.py), a real cluster in the
[README](../README.md), [how it works](architecture.md)."
