#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# install-deps.sh build|test|bench…: installs the Debian packages of the named groups that are not there yet.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

# Packages; "command:package" stands for a package that is only needed when the command is missing, so that a
# machine with another packaging of it is left alone.
build=(gcc libc6-dev pkg-config meson ninja-build libprotobuf-c-dev protobuf-c-compiler libcap-dev libmnl-dev zlib1g-dev
       libcmocka-dev python3)
test=(libasan8 libubsan1 python3-pytest util-linux procps psmisc criu debootstrap debian-archive-keyring
      redis-server:redis-server redis-cli:redis-tools nginx:nginx-light node:nodejs javac:default-jdk-headless
      /usr/lib/postgresql:postgresql)
bench=(python3 util-linux debootstrap debian-archive-keyring)

missing=()
for group in "$@"; do
	declare -n list=$group
	for item in "${list[@]}"; do
		case $item in
		/*:*)	[ -e "${item%%:*}" ] || missing+=("${item#*:}") ;;
		*:*)	command -v "${item%%:*}" >/dev/null || missing+=("${item#*:}") ;;
		*)	[ "$(dpkg-query -W -f '${db:Status-Status}' "$item" 2>/dev/null)" = installed ] ||
				missing+=("$item") ;;
		esac
	done
	unset -n list
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "missing packages: ${missing[*]}; run as root: apt-get install ${missing[*]}" >&2
	exit 1
fi

# The tests start the servers themselves: nothing is to be started by the installation, nor a cluster made.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
apt-get update -q </dev/null
apt-get install -qy --no-install-recommends "${missing[@]}" </dev/null
