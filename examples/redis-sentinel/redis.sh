#!/usr/bin/env bash
#
# Runs a Redis primary on port 6391, replicas on 6392 and 6393, and Sentinels on
# 26391 to 26393, with data in a directory of their own, until Ctrl-C.

set -eu
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf -- "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for i in 1 2 3; do
	mkdir "$dir/$i"
	replica=()
	((i == 1)) || replica=(--replicaof 127.0.0.1 6391)
	redis-server --bind 127.0.0.1 --port "639$i" --dir "$dir/$i" --appendonly yes ${replica[@]+"${replica[@]}"} &
done

# A Sentinel keeps what it knows in its file.
for i in 1 2 3; do
	cat >"$dir/sentinel$i.conf" <<-CONF
		bind 127.0.0.1
		port 2639$i
		dir $dir
		sentinel monitor sessions 127.0.0.1 6391 2
		sentinel down-after-milliseconds sessions 2000
		sentinel failover-timeout sessions 10000
	CONF
	redis-server "$dir/sentinel$i.conf" --sentinel &
done
wait
