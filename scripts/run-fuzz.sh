#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# run-fuzz.sh BUILD SECONDS: runs every fuzz target of a build for that long, one after the other.
set -euo pipefail
build=$1 seconds=$2
found=0
for target in "$build"/fuzz/fuzz-*; do
	[ -f "$target" ] && [ -x "$target" ] || continue
	found=1
	name=$(basename "$target")
	corpus=$build/corpus/$name
	samples=$(dirname "$0")/../fuzz/corpus/${name#fuzz-}
	mkdir -p "$corpus"
	echo "== $name"
	"$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -artifact_prefix="$build/" "$corpus" "$samples"
done
[ $found = 1 ] || { echo "no fuzz targets in $build/fuzz" >&2; exit 1; }
