#!/usr/bin/env bash
# Writes to SQLite that an earlier holder of the lock cannot make any more.
#
# A process may be paused behind its last look at the lock, for longer than its lease lives.
# What it then writes must be refused where it arrives: the row keeps the greatest token
# that it has seen, and the write compares in the same step.
#
#   raftkv dev &
#   docs/examples/fenced-sqlite.sh
#
# Needs bash and sqlite3. RAFTKV names the program, RAFTKV_ENDPOINTS the cluster.
set -euo pipefail
raftkv=${RAFTKV:-bin/raftkv}
lock=account-$$
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export DB=$dir/bank.db

sqlite3 "$DB" 'CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER, fence INTEGER); INSERT INTO account VALUES (1, 100, 0);'
# 0 changed rows: the writer does not hold the lock any more.
write='sqlite3 "$DB" "UPDATE account SET balance = balance + 10, fence = $RAFTKV_TOKEN WHERE id = 1 AND fence <= $RAFTKV_TOKEN; SELECT changes();"'

# The first holder is paused before it writes: its command only notes the token.
"$raftkv" lock "$lock" -- sh -c 'echo "$RAFTKV_TOKEN"' >"$dir/early"
second=$("$raftkv" lock "$lock" -- sh -c "$write")
late=$(RAFTKV_TOKEN=$(cat "$dir/early") sh -c "$write") # the first one goes on
balance=$(sqlite3 "$DB" 'SELECT balance FROM account WHERE id = 1')
if [ "$second $late $balance" != "1 0 110" ]; then
	echo "rows of the holder: $second, of the earlier one: $late, balance: $balance" >&2
	exit 1
fi
echo "the holder wrote, the earlier one could not: balance $balance"
