#!/usr/bin/env bash
# Services that are found as long as they live.
#
# A service puts its address under a lease and keeps that alive. Who needs the service
# watches the prefix: first what is there, then each change. When the service dies, its
# key goes with the lease, and the watch says so.
#
#   raftkv dev &
#   docs/examples/service-discovery.sh
#
# Needs bash. RAFTKV names the program, RAFTKV_ENDPOINTS the cluster.
set -euo pipefail
raftkv=${RAFTKV:-bin/raftkv}
prefix=services-$$
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>"$dir/end" || true; wait; rm -rf "$dir"' EXIT

"$raftkv" watch "$prefix/" --mirror >"$dir/seen" &
sees() { # TEXT
	for _ in $(seq 600); do
		grep -q "$1" "$dir/seen" && return
		sleep 0.1
	done
	echo "the watch does not say: $1" >&2
	exit 1
}
sees synced
lease=$("$raftkv" lease grant 2s)
"$raftkv" lease keep "$lease" &
service=$!
"$raftkv" put "$prefix/a" 10.0.0.7:80 --lease "$lease" >"$dir/put"
sees "put.*$prefix/a.*10.0.0.7:80"
kill -9 "$service"
sees "expire.*$prefix/a"
echo "the service was found, and its end was seen"
