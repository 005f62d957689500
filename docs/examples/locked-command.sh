#!/usr/bin/env bash
# A shell command that must not run twice at the same time, wherever it is started.
#
# Four processes add 1 to a file that they read first. Under the lock none is lost.
#
#   raftkv dev &
#   docs/examples/locked-command.sh
#
# Needs bash. RAFTKV names the program, RAFTKV_ENDPOINTS the cluster.
set -euo pipefail
raftkv=${RAFTKV:-bin/raftkv}
lock=counter-$$
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

echo 0 >"$dir/count"
export FILE=$dir/count
pids=()
for _ in 1 2 3 4; do
	"$raftkv" lock "$lock" -- sh -c 'n=$(cat "$FILE"); sleep 0.05; echo $((n + 1)) >"$FILE"' &
	pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
# A lock that is held is not waited for here; the exit code is 12.
code=0
"$raftkv" lock "$lock" -- "$raftkv" lock "$lock" --wait 0s -- true 2>"$dir/held" || code=$?
if [ "$(cat "$FILE")" != 4 ] || [ "$code" != 12 ]; then
	echo "counted $(cat "$FILE") of 4, exit code $code" >&2
	exit 1
fi
echo "four processes counted to $(cat "$FILE")"
