#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# demo.sh FIRN: a Python program with threads, a pipe and an open, growing file is dumped, killed and restored, and goes
# on counting where it was.
set -euo pipefail
firn=$(realpath "${1:-build/firn}")
here=$(dirname "$(realpath "$0")")
[ "$(id -u)" = 0 ] || { echo "the demo needs root: firn restores pids and credentials" >&2; exit 1; }

dir=$(mktemp -d "${TMPDIR:-/tmp}/firn-demo.XXXXXX")
pid=
finish() {
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }
# Waits until the counter's file has more lines than $1, and prints its last.
wait_lines() {
	for _ in $(seq 1000); do
		[ -e "$dir/counter.log" ] && [ "$(wc -l <"$dir/counter.log")" -gt "$1" ] && return 0
		sleep 0.01
	done
	echo "the program does not count" >&2
	cat "$dir/errors" >&2
	return 1
}

say "A Python program: two threads, a pipe between them, a file that grows"
setsid /usr/bin/python3 "$here/counter.py" "$dir/counter.log" </dev/null >/dev/null 2>"$dir/errors" &
pid=$!
disown
wait_lines 10
echo "pid $pid, threads $(ls "/proc/$pid/task" | tr '\n' ' '), descriptors $(ls "/proc/$pid/fd" | tr '\n' ' ')"
tail -n 2 "$dir/counter.log"

say "It is dumped and killed"
mkdir "$dir/images"
run "$firn" dump -t "$pid" -D "$dir/images" -o dump.log
[ ! -e "/proc/$pid" ] || [ "$(awk '/^State/ { print $2 }' "/proc/$pid/status")" = Z ]
count=$(wc -l <"$dir/counter.log")
last=$(tail -n 1 "$dir/counter.log")
echo "gone; its last line: $last"

say "What lies in the images"
run "$firn" show "$dir/images"

say "It is restored"
run "$firn" restore -D "$dir/images" -o restore.log -d --pidfile restored.pid
echo "pid $(cat "$dir/images/restored.pid") runs again"
wait_lines $((count + 10))
echo "last line before:  $last"
echo "the next lines:    $(sed -n "$((count + 1))p" "$dir/counter.log")"
echo "                   $(tail -n 1 "$dir/counter.log")"

# Each line holds the next number: nothing was lost, nothing was done twice.
awk '$1 != NR { print "line " NR " holds " $1; bad = 1 } END { exit bad }' "$dir/counter.log"
say "Every number from 1 to $(tail -n 1 "$dir/counter.log" | awk '{ print $1 }') is there once: it went on where it was"
