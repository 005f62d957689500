#!/usr/bin/env bash
# At most three calls in a window of two seconds, over all machines.
#
# A key counts the calls by its version and ends with the window: the first call of a window
# gives it its time to live, the others leave the end as it is. A transaction decides and
# counts in one step; its exit code is 9 where the limit is reached.
#
#   raftkv dev &
#   docs/examples/rate-limiter.sh
#
# Needs bash. RAFTKV names the program, RAFTKV_ENDPOINTS the cluster.
set -euo pipefail
raftkv=${RAFTKV:-bin/raftkv}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

call() { # KEY SECONDS
	local code=0
	"$raftkv" txn >"$dir/result" <<-END || code=$?
		{"if": [{"key": "$1", "version": 3, "is": "<"}],
		 "then": [{"op": "txn",
		           "if": [{"key": "$1", "absent": true}],
		           "then": [{"op": "put", "key": "$1", "text": "", "ttl": "$2s"}],
		           "else": [{"op": "put", "key": "$1", "text": "", "keep_lease": true}]}]}
	END
	case $code in
	0) echo allowed ;;
	9) echo refused ;;
	*) exit "$code" ;;
	esac
}
for window in 2 4 8 16 32 64; do
	key=limits/user-$$-$window
	begun=$SECONDS
	calls="$(call "$key" $window) $(call "$key" $window) $(call "$key" $window) $(call "$key" $window)"
	# On a busy machine four calls may take longer than the window.
	[ $((SECONDS - begun)) -lt $((window - 1)) ] && break
	echo "four calls took $((SECONDS - begun)) s: once more with a longer window"
done
for _ in $(seq 600); do # until the window has ended
	again=$(call "$key" $window)
	[ "$again" = allowed ] && break
	sleep 0.1
done
if [ "$calls $again" != "allowed allowed allowed refused allowed" ]; then
	echo "calls: $calls, then $again" >&2
	exit 1
fi
echo "three calls of a window were allowed, the fourth was not"
