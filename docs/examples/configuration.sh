#!/usr/bin/env bash
# A configuration file that follows the cluster, whatever happens to either.
#
# A watch with --mirror tells the whole configuration first, and then each change. When its
# server ends it goes on at another one; when it was away for longer than the history
# reaches, it tells the whole configuration anew. Only if no server has served it for
# --timeout does it end, and the loop starts it again. Meanwhile the file stays as it was.
#
#   raftkv dev &
#   docs/examples/configuration.sh
#
# Needs bash. RAFTKV names the program, RAFTKV_ENDPOINTS the cluster.
set -euo pipefail
raftkv=${RAFTKV:-bin/raftkv}
prefix=config-$$
dir=$(mktemp -d)
trap 'kill $(jobs -p) $(cat "$dir/watch") 2>"$dir/end" || true; wait; rm -rf "$dir"' EXIT

# What is run for every event: it keeps one file for each key in a directory, and puts a new
# directory in place of the old one when the whole configuration has come. The value is the
# command's input; names of keys are used as names of files, so they must be fit for that.
cat >"$dir/step" <<'END'
name=${RAFTKV_KEY##*/}
case $RAFTKV_OP in
reset) rm -rf "$CONFIG.next" ;;                       # the whole configuration follows
item) mkdir -p "$CONFIG.next" && cat >"$CONFIG.next/$name" ;;
synced) mkdir -p "$CONFIG.next" && rm -rf "$CONFIG" && mv "$CONFIG.next" "$CONFIG" ;;
put) cat >"$CONFIG/.new" && mv "$CONFIG/.new" "$CONFIG/$name" ;;
delete | expire) rm -f "$CONFIG/$name" ;;
esac
END
export CONFIG=$dir/config
follow() {
	while true; do
		rm -rf "$CONFIG.next"
		"$raftkv" watch "$prefix/" --mirror --exec ". '$dir/step'" &
		echo "$!" >"$dir/watch"
		wait "$!" || sleep 0.5
	done
}
shows() { # FILE TEXT, which is empty if there is to be no file
	for _ in $(seq 600); do
		[ "$(cat "$CONFIG/$1" 2>"$dir/none")" = "$2" ] && return
		sleep 0.1
	done
	echo "$1 does not become: $2" >&2
	exit 1
}
"$raftkv" put "$prefix/level" debug >"$dir/put"
"$raftkv" put "$prefix/old" gone >"$dir/put"
follow &
shows level debug
"$raftkv" put "$prefix/level" info >"$dir/put"
"$raftkv" delete "$prefix/old" >"$dir/put"
shows level info
shows old ""
# The watch dies, and things change while nobody looks.
kill -9 "$(cat "$dir/watch")"
"$raftkv" put "$prefix/limit" 10 >"$dir/put"
"$raftkv" delete "$prefix/level" >"$dir/put"
shows limit 10
shows level ""
echo "the files follow the configuration, also what changed while no watch ran"
