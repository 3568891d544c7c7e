#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Makes the folder with Debian trixie's criu that the tests and the benchmark compare with.
set -euo pipefail
peer=${FIRN_PEER:-/var/cache/firn-tests/trixie}
[ -x "$peer/usr/sbin/criu" ] && exit 0
[ "$(id -u)" = 0 ] || { echo "install-peer.sh: needs root" >&2; exit 1; }

# The mirror that this machine's apt already uses for Debian itself, and its proxy.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
	 awk '$2 == "Debian" && $4 == "main" && $3 !~ /-/ { print $1; exit }')
[ -n "$mirror" ] || { echo "install-peer.sh: apt knows no Debian mirror" >&2; exit 1; }
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
export http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}"

mkdir -p "$(dirname "$peer")"
new=$(mktemp -d "$peer.XXXXXX")
trap 'rm -rf --one-file-system "$new"' EXIT
chmod 755 "$new"
debootstrap --variant=minbase --include=criu trixie "$new" "$mirror" </dev/null
rm -rf "$peer"
mv "$new" "$peer"
trap - EXIT
