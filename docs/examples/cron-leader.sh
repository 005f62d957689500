#!/usr/bin/env bash
# A cron job on several machines, of which one at a time runs it.
#
# Each machine stands for election. The leader runs the schedule; when its machine dies,
# another one goes on within the TTL. Here two "machines" are two processes, the schedule
# writes its name every 0.1 s, and the leader is killed.
#
# A TTL of 1s, and a --delay of 0s between two leaders, keep this script short. A real job
# uses the defaults: a pause of the network is then no reason to begin anew elsewhere, and
# what an earlier leader still had under way has the delay to come to its end.
#
#   raftkv dev &
#   docs/examples/cron-leader.sh
#
# Needs bash. RAFTKV names the program, RAFTKV_ENDPOINTS the cluster.
set -euo pipefail
raftkv=${RAFTKV:-bin/raftkv}
election=cron-$$
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>"$dir/end" || true; wait; rm -rf "$dir"' EXIT

schedule='while sleep 0.1; do echo "$MACHINE $RAFTKV_TOKEN" >>"$RUNS"; done'
stand() {
	MACHINE=$1 RUNS=$dir/runs "$raftkv" elect "$election" "$1" --ttl 1s --delay 0s -- sh -c "$schedule" &
	pid=$!
}
runs() { grep -c "^$1 " "$dir/runs" 2>"$dir/none" || true; }
wait_for() { # MACHINE RUNS
	for _ in $(seq 600); do
		[ "$(runs "$1")" -ge "$2" ] && return
		sleep 0.1
	done
	echo "machine $1 does not run the job" >&2
	exit 1
}
touch "$dir/runs"
stand a
first=$pid
wait_for a 1 # so that it leads before b stands
stand b
wait_for a 3
kill -9 "$first" # and Linux ends its job with it, though not what that has started
wait_for b 3
# Tokens rise, so the job could refuse to run behind a later leader.
if ! sort -c -n -k 2 "$dir/runs"; then
	echo "a run of an earlier leader came behind one of a later" >&2
	exit 1
fi
echo "a ran the job $(runs a) times, then b did"
