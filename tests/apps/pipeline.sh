#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# pipeline.sh FILE: a running pipeline of a shell loop, cat and another loop; sleep is started all the time.
i=0
while :; do
	i=$((i + 1))
	echo $i
	sleep 0.002
done | cat | while read -r n; do
	echo "$n" >>"$1"
done
