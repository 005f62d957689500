#!/usr/bin/env bash
# A queue of jobs, each of which one worker takes.
#
# A job is a key. A worker moves the first one from queue/ to taken/ in a transaction, which
# does nothing if another one was faster. The key under taken/ lives as long as the worker's
# lease, with the job as its value, so a job whose worker died can be put back.
#
#   raftkv dev &
#   docs/examples/work-queue.sh
#
# Needs bash. RAFTKV names the program, RAFTKV_ENDPOINTS the cluster.
set -euo pipefail
raftkv=${RAFTKV:-bin/raftkv}
jobs=jobs-$$
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$raftkv" txn >"$dir/added" <<END
{"then": [{"op": "put", "key": "$jobs/queue/1", "text": "one"},
          {"op": "put", "key": "$jobs/queue/2", "text": "two"},
          {"op": "put", "key": "$jobs/queue/3", "text": "three"}]}
END
work() { # WORKER
	local lease first name job code
	lease=$("$raftkv" lease grant 1m --note "worker $1")
	while first=$("$raftkv" list "$jobs/queue/" --limit 1 --values) && [ -n "$first" ]; do
		name=${first%%$'\t'*} name=${name##*/} job=${first#*$'\t'}
		code=0
		"$raftkv" txn >"$dir/move.$1" <<-END || code=$?
			{"if": [{"key": "$jobs/queue/$name", "exists": true}],
			 "then": [{"op": "delete", "key": "$jobs/queue/$name"},
			          {"op": "put", "key": "$jobs/taken/$name", "text": "$job", "lease": $lease}]}
		END
		[ "$code" = 9 ] && continue # another worker has it
		[ "$code" = 0 ] || return "$code"
		echo "$job" >>"$dir/done"
		"$raftkv" delete "$jobs/taken/$name" >"$dir/finished.$1"
	done
	"$raftkv" lease revoke "$lease"
}
work a &
one=$!
work b &
two=$!
wait "$one"
wait "$two"
if [ "$(sort "$dir/done" | tr '\n' ' ')" != "one three two " ] || [ -n "$("$raftkv" list "$jobs/")" ]; then
	echo "done: $(tr '\n' ' ' <"$dir/done"); left: $("$raftkv" list "$jobs/")" >&2
	exit 1
fi
echo "two workers did three jobs, each once"
