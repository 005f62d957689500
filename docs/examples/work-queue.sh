#!/usr/bin/env bash
# A queue of jobs that outlives its workers.
#
# A job is a key under queue/, and stays there until it is done. A worker claims it by a key
# under claims/, in a transaction that does nothing if another worker was faster. The claim
# is tied to the worker's lease: when the worker dies, the claim ends and another worker
# takes the job. When a job is done, job and claim go in one transaction, if the claim is
# still the worker's own. So a job may be begun twice, if a worker is too slow, but is
# finished once.
#
#   raftkv dev &
#   docs/examples/work-queue.sh
#
# Needs bash. RAFTKV names the program, RAFTKV_ENDPOINTS the cluster.
set -euo pipefail
raftkv=${RAFTKV:-bin/raftkv}
jobs=jobs-$$
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>"$dir/end" || true; wait; rm -rf "$dir"' EXIT

transact() { # prints nothing; fails if a compare does not hold, ends the script on any error
	local code=0
	"$raftkv" txn >"$dir/answer.$BASHPID" 2>"$dir/said.$BASHPID" || code=$?
	case $code in 0 | 9) return "$code" ;; esac
	cat "$dir/said.$BASHPID" >&2
	exit "$code"
}
claim() { # JOB LEASE
	transact <<-END
		{"if": [{"key": "$jobs/queue/$1", "exists": true}, {"key": "$jobs/claims/$1", "absent": true}],
		 "then": [{"op": "put", "key": "$jobs/claims/$1", "text": "", "lease": $2}]}
	END
}
finish() { # JOB LEASE
	transact <<-END
		{"if": [{"key": "$jobs/claims/$1", "lease": $2}],
		 "then": [{"op": "delete", "key": "$jobs/queue/$1"}, {"op": "delete", "key": "$jobs/claims/$1"}]}
	END
}
work() { # WORKER
	local lease names name
	lease=$("$raftkv" lease grant 30s --note "worker $1")
	"$raftkv" lease keep "$lease" &
	local keeper=$!
	while names=$("$raftkv" list "$jobs/queue/") && [ -n "$names" ]; do
		for name in $names; do
			name=${name##*/}
			claim "$name" "$lease" || continue # another worker has it
			"$raftkv" get "$jobs/queue/$name" >"$dir/job.$1"
			# Here the job itself is done. It may be anything: it is in no JSON and no command.
			finish "$name" "$lease" && echo "$(cat "$dir/job.$1") by $1" >>"$dir/done"
		done
		sleep 0.2 # what is left is in the hands of others
	done
	kill "$keeper"
	"$raftkv" lease revoke "$lease"
}

for job in one "two \"quoted\"" three; do
	"$raftkv" put "$jobs/queue/${job%% *}" "$job" >"$dir/added"
done
# A worker that claims a job and dies: nobody keeps its lease.
claim one "$("$raftkv" lease grant 1s --note "worker that dies")"
work a &
one=$!
work b &
two=$!
wait "$one"
wait "$two"
if [ "$(sed 's/ by [ab]$//' "$dir/done" | sort | tr '\n' ' ')" != 'one three two "quoted" ' ] || [ -n "$("$raftkv" list "$jobs/")" ]; then
	echo "done: $(tr '\n' ' ' <"$dir/done"); left: $("$raftkv" list "$jobs/")" >&2
	exit 1
fi
echo "two workers finished three jobs, each once, and one of these for a worker that had died"
