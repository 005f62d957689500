#!/usr/bin/env bash
# Exactly once over plain HTTP, through the death of a leader.
#
# Three nodes. An append with an Idempotency-Key goes to node 1, which leads and
# is killed before it can answer. The same request goes to node 2: the log knows
# it, so it is not done a second time, and the answer is the first one's.
#
#   make build
#   docs/examples/exactly-once.sh
#
# Needs bash, curl and ps. RAFTKV names the program, PORT the first of six ports.
set -euo pipefail

program=${RAFTKV:-bin/raftkv}
port=${PORT:-8711}
if [ ! -x "$program" ]; then
	echo "there is no program $program: make build" >&2
	exit 2
fi
dir=$(mktemp -d)
declare -A pid
trap 'kill -CONT "${pid[@]}" 2>/dev/null || true; kill -9 "${pid[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT

cluster=n1=127.0.0.1:$((port + 3)),n2=127.0.0.1:$((port + 4)),n3=127.0.0.1:$((port + 5))
url() { echo "http://127.0.0.1:$((port + $1 - 1))$2"; }
start() {
	# A leader that hears of no majority for an election timeout gives leadership up. Two
	# seconds leave a busy machine the time to send it an append.
	"$program" serve --election-timeout 2s --id "n$1" --data-dir "$dir/n$1" --http "127.0.0.1:$((port + $1 - 1))" --cluster "$cluster" --log-level error &
	pid[$1]=$!
	disown # so that the shell does not report its death
}
# within SECONDS COMMAND... tries until the command succeeds, or fails in the end.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "not within the time: $*" >&2
			return 1
		fi
		sleep 0.05
	done
}
ready() { within 60 curl -sf -o "$dir/ready" "$(url "$1" /readyz)"; }
leads() { curl -sf --max-time 5 --json '{"to":"n1"}' "$(url 2 /v1/leader)" >"$dir/leader"; }
again() { "${append[@]}" "$(url 2 "/v1/kv/order?op=append")" >"$dir/second" && grep -q '^HTTP/1.1 200\|^HTTP/1.1 201' "$dir/second"; }
stopped() { case $(ps -o state= -p "$1") in *T*) ;; *) return 1 ;; esac; }
last_index() { curl -s --max-time 5 "$(url 1 /v1/status)" | sed 's/.*"last":\([0-9]*\).*/\1/'; }

for n in 1 2 3; do start $n; done
for n in 1 2 3; do ready $n; done

for try in 1 2 3 4 5 6 7 8 9 10; do
	echo "1. Node 1 is made the leader."
	within 60 leads
	cat "$dir/leader"

	echo "2. Nodes 2 and 3 are paused, so that node 1 can get no majority and give no answer."
	before=$(last_index)
	kill -STOP "${pid[2]}" "${pid[3]}"
	for n in 2 3; do within 10 stopped "${pid[$n]}"; done # on a busy machine that takes a while

	echo "3. An append with an Idempotency-Key goes to node 1."
	append=(curl -sS --max-time 30 -i -X POST --data-binary "paid;" -H "Idempotency-Key: order-$try")
	"${append[@]}" "$(url 1 "/v1/kv/order?op=append")" >"$dir/first" 2>"$dir/failure" &
	first=$!
	# Until the append is in the log of node 1, or its request has ended: if the
	# machine is so busy that node 1 has given leadership up meanwhile, it answers
	# that nothing was done, and there is nothing to show.
	while kill -0 "$first" 2>/dev/null && ! [ "$(last_index)" -gt "$before" ]; do sleep 0.01; done
	if ! [ "$(last_index)" -gt "$before" ]; then
		wait "$first" || true
		kill -CONT "${pid[2]}" "${pid[3]}"
		within 60 again # so that each try appends once
		echo "Node 1 had given leadership up; once more."
		continue
	fi
	sleep 0.05 # it is on its way to the others

	echo "4. Node 1 is killed: kill -9."
	kill -9 "${pid[1]}"
	wait "$first" || true
	cat "$dir/failure"
	kill -CONT "${pid[2]}" "${pid[3]}"

	echo "5. The same request goes to node 2."
	within 120 again
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
