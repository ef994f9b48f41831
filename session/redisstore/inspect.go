package redisstore

import (
	"bufio"
	"context"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

// The oldest server that the store is tested for.
const (
	minMajor = 6
	minMinor = 2
)

// inspect warns about servers that are not fit for sessions. It is no more
// than advice, so a server that does not tell is left alone.
func inspect(ctx context.Context, client rueidis.Client, cfg config) {
	ctx, cancel := context.WithTimeout(ctx, cfg.timeout)
	defer cancel()
	for address, node := range client.Nodes() {
		if cfg.network == "unix" {
			address = cfg.String()
		}
		alone := client.Mode() == rueidis.ClientModeStandalone
		inspectServer(ctx, node, alone, cfg.wait, cfg.logger.With(zap.String("address", address)))
	}
}

// inspectServer inspects one server. alone tells that neither Sentinels nor a
// Cluster have named it.
func inspectServer(ctx context.Context, client rueidis.Client, alone bool, wait Wait, log *zap.Logger) {
	info := make(map[string]string)
	for _, section := range []string{"server", "memory", "persistence", "replication"} {
		if text, err := client.Do(ctx, client.B().Info().Section(section).Build()).ToString(); err == nil {
			parseInfo(text, info)
		}
	}
	if info["redis_mode"] == "sentinel" || info["server_mode"] == "sentinel" { // the latter of Valkey
		log.Error("this is a Redis Sentinel, which keeps no sessions: give the name of its primary with sentinel")
		return
	}
	if v := info["redis_version"]; tooOld(v) {
		log.Warn("redis is too old for the session store: 6.2 is the oldest that is supported", zap.String("version", v))
	}
	if info["role"] == "slave" {
		if alone {
			log.Warn("redis is a replica, which may not write sessions: give the address of the primary, or Sentinels")
		}
		return // what follows is about primaries
	}
	policy, limit := info["maxmemory_policy"], info["maxmemory"]
	if policy != "" && policy != "noeviction" && limit != "" && limit != "0" {
		log.Warn("redis evicts sessions when its memory is full, which signs users out: set maxmemory-policy to noeviction",
			zap.String("maxmemory_policy", policy), zap.String("maxmemory", limit))
	}
	if info["aof_enabled"] == "0" && !snapshots(ctx, client) {
		log.Warn("redis keeps nothing when it is restarted, which signs all users out: set appendonly to yes")
	}
	if n, err := strconv.Atoi(info["connected_slaves"]); err == nil && n > 0 && wait.Replicas == 0 {
		log.Warn("redis has replicas, and a failover may bring back a session that was ended in the moment before: set wait 1 100ms if that matters",
			zap.Int("replicas", n))
	}
}

// snapshots reports whether the server saves its data now and then. One that
// does not tell may.
func snapshots(ctx context.Context, client rueidis.Client) bool {
	settings, err := client.Do(ctx, client.B().ConfigGet().Parameter("save").Build()).AsStrMap()
	save, ok := settings["save"]
	return err != nil || !ok || save != ""
}

// parseInfo adds the "name:value" lines of an INFO answer to info.
func parseInfo(text string, info map[string]string) {
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			info[name] = strings.TrimSpace(value)
		}
	}
}

// tooOld reports whether a version is known to be below the oldest.
func tooOld(version string) bool {
	majorText, rest, _ := strings.Cut(version, ".")
	minorText, _, _ := strings.Cut(rest, ".")
	major, err1 := strconv.Atoi(majorText)
	minor, err2 := strconv.Atoi(minorText)
	if err1 != nil || err2 != nil {
		return false
	}
	return major < minMajor || major == minMajor && minor < minMinor
}
