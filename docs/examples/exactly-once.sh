#!/usr/bin/env bash
# Exactly once over plain HTTP, through the death of a leader.
#
# Three nodes. An append with an Idempotency-Key goes to node 1, which leads and
# is killed before it can answer. The same request goes to node 2: the log knows
# it, so it is not done a second time, and the answer is the first one's.
#
#   go build -o bin/raftkv ./cmd/raftkv
#   docs/examples/exactly-once.sh
#
# Needs bash and curl. RAFTKV names the program, PORT the first of six ports.
set -euo pipefail

program=${RAFTKV:-bin/raftkv}
port=${PORT:-8711}
if [ ! -x "$program" ]; then
	echo "there is no program $program: go build -o bin/raftkv ./cmd/raftkv" >&2
	exit 2
fi
dir=$(mktemp -d)
declare -A pid
trap 'kill -9 "${pid[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT

cluster=n1=127.0.0.1:$((port + 3)),n2=127.0.0.1:$((port + 4)),n3=127.0.0.1:$((port + 5))
url() { echo "http://127.0.0.1:$((port + $1 - 1))$2"; }
start() {
	"$program" serve --id "n$1" --data-dir "$dir/n$1" --http "127.0.0.1:$((port + $1 - 1))" --cluster "$cluster" --log-level error &
	pid[$1]=$!
	disown # so that the shell does not report its death
}
ready() { until curl -sf -o "$dir/ready" "$(url "$1" /readyz)"; do sleep 0.05; done; }
last_index() { curl -s "$(url 1 /v1/status)" | sed 's/.*"last":\([0-9]*\).*/\1/'; }

for n in 1 2 3; do start $n; done
for n in 1 2 3; do ready $n; done

for try in 1 2 3 4 5 6 7 8 9 10; do
	echo "1. Node 1 is made the leader."
	curl -sf --json '{"to":"n1"}' "$(url 2 /v1/leader)"

	echo "2. Nodes 2 and 3 are paused, so that node 1 can get no majority and give no answer."
	before=$(last_index)
	kill -STOP "${pid[2]}" "${pid[3]}"

	echo "3. An append with an Idempotency-Key goes to node 1."
	append=(curl -sS -i -X POST --data-binary "paid;" -H "Idempotency-Key: order-$try")
	"${append[@]}" "$(url 1 "/v1/kv/order?op=append")" >"$dir/first" 2>"$dir/failure" &
	first=$!
	until [ "$(last_index)" -gt "$before" ]; do :; done
	sleep 0.05 # it is on its way to the others

	echo "4. Node 1 is killed: kill -9."
	kill -9 "${pid[1]}"
	wait "$first" || true
	cat "$dir/failure"
	kill -CONT "${pid[2]}" "${pid[3]}"

	echo "5. The same request goes to node 2."
	until "${append[@]}" "$(url 2 "/v1/kv/order?op=append")" >"$dir/second" && grep -q '^HTTP/1.1 200' "$dir/second"; do sleep 0.05; done
	tr -d '\r' <"$dir/second" | grep -E '^(HTTP|Idempotency|\{)'

	value=$(curl -sf "$(url 3 /v1/kv/order)")
	copies=$(grep -o 'paid;' <<<"$value" | wc -l)
	echo "6. The value is now: $value"
	start 1
	ready 1
	if [ "$copies" -ne "$try" ]; then
		echo "There are $copies copies after $try appends."
		exit 1
	fi
	if grep -qi '^Idempotency-Replayed: true' "$dir/second"; then
		echo "One copy, though it was sent twice."
		exit 0
	fi
	# The dead leader took the append with it before another node had it, so that
	# the second request was the first to succeed. That is exactly once, too.
	echo "The first request was lost with node 1; once more."
done
echo "The first request was lost each time."
exit 1
