#!/usr/bin/env bash
#
# Unpacks another server that speaks Redis's protocol, from Debian's packages, without
# installing anything, and prints the folder to put first in PATH, where it is
# called redis-server:
#
#   PATH=$(session/redisstore/redistest/unpack.sh valkey-8 DIRECTORY):$PATH go test ./session/redisstore
#
#   valkey-8   Valkey 8 of bookworm-backports
#   redis-8    Redis 8 of trixie, with the C library of trixie

set -euo pipefail

case ${1-} in
valkey-8) suite=bookworm-backports program=valkey-server packages=(valkey-server valkey-tools) ;;
redis-8)
	suite=trixie program=redis-server
	packages=(redis-server redis-tools libc6 libatomic1 libcap2 libgcc-s1 libgcrypt20 libgpg-error0 libjemalloc2 liblz4-1 liblzf1
		liblzma5 libssl3t64 libstdc++6 libsystemd0 libzstd1 zlib1g)
	;;
*)
	echo "usage: ${0##*/} valkey-8|redis-8 DIRECTORY" >&2
	exit 2
	;;
esac
mkdir -p -- "${2:?the directory is missing}/$1"
cd -- "$2/$1"

if [[ ! -x bin/redis-server ]]; then
	mkdir -p apt/lists/partial apt/cache/archives/partial bin
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	echo "deb [signed-by=$keyring] http://deb.debian.org/debian $suite main" >apt/sources
	options=(-qq -o APT::Sandbox::User= -o "Dir::Etc::SourceList=$PWD/apt/sources" -o Dir::Etc::SourceParts=-
		-o "Dir::State::Lists=$PWD/apt/lists" -o "Dir::Cache=$PWD/apt/cache" -o "APT::Default-Release=$suite")
	apt-get "${options[@]}" update >&2
	apt-get "${options[@]}" download "${packages[@]}" >&2
	for package in *.deb; do dpkg -x "$package" root; done
	rm -rf -- *.deb apt
	case $1 in
	valkey-8) ln -s "$PWD/root/usr/bin/$program" bin/redis-server ;;
	redis-8)
		cat >bin/redis-server <<-SCRIPT
			#!/bin/sh
			exec '$PWD/root/usr/lib64/ld-linux-x86-64.so.2' --argv0 redis-server \\
				--library-path '$PWD/root/usr/lib/x86_64-linux-gnu' '$PWD/root/usr/bin/$program' "\$@"
		SCRIPT
		chmod +x bin/redis-server
		;;
	esac
fi
bin/redis-server --version >&2
printf '%s\n' "$PWD/bin"
