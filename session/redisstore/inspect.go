package redisstore

import (
	"bufio"
	"context"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/finding"
)

// The oldest server that the store is tested for.
const (
	minMajor = 6
	minMinor = 2
)

// Inspect asks the servers whether they are fit for sessions. The error is that of
// the connection. It is no more than advice, so a server that does not tell is left
// alone.
func (s *Store) Inspect(ctx context.Context) ([]finding.Finding, error) {
	client, err := s.link.get(ctx)
	if err != nil {
		return nil, err
	}
	return inspect(ctx, client, s.link.cfg), nil
}

func inspect(ctx context.Context, client rueidis.Client, cfg config) (found []finding.Finding) {
	ctx, cancel := context.WithTimeout(ctx, cfg.timeout)
	defer cancel()
	for address, node := range client.Nodes() {
		if cfg.network == "unix" {
			address = cfg.String()
		}
		alone := client.Mode() == rueidis.ClientModeStandalone
		for _, f := range inspectServer(ctx, node, alone, cfg.wait) {
			f.Where = append([]zap.Field{zap.String("address", address)}, f.Where...)
			found = append(found, f)
		}
	}
	return found
}

// inspectServer inspects one server. alone tells that neither Sentinels nor a
// Cluster have named it.
func inspectServer(ctx context.Context, client rueidis.Client, alone bool, wait Wait) (found []finding.Finding) {
	find := func(problem, remedy string, where ...zap.Field) {
		found = append(found, finding.Finding{Problem: problem, Remedy: remedy, Where: where})
	}
	info := make(map[string]string)
	for _, section := range []string{"server", "memory", "persistence", "replication"} {
		if text, err := client.Do(ctx, client.B().Info().Section(section).Build()).ToString(); err == nil {
			parseInfo(text, info)
		}
	}
	if info["redis_mode"] == "sentinel" || info["server_mode"] == "sentinel" { // the latter of Valkey
		return []finding.Finding{{Fatal: true,
			Problem: "this is a Redis Sentinel, which keeps no sessions", Remedy: "give the name of its primary with sentinel"}}
	}
	if v := info["redis_version"]; tooOld(v) {
		find("redis is too old for the session store", "6.2 is the oldest that is supported", zap.String("version", v))
	}
	if info["role"] == "slave" {
		if alone {
			find("redis is a replica, which may not write sessions", "give the address of the primary, or Sentinels")
		}
		return found // what follows is about primaries
	}
	policy, limit := info["maxmemory_policy"], info["maxmemory"]
	if policy != "" && policy != "noeviction" && limit != "" && limit != "0" {
		find("redis evicts sessions when its memory is full, which signs users out", "set maxmemory-policy to noeviction",
			zap.String("maxmemory_policy", policy), zap.String("maxmemory", limit))
	}
	if info["aof_enabled"] == "0" && !snapshots(ctx, client) {
		find("redis keeps nothing when it is restarted, which signs all users out", "set appendonly to yes")
	}
	if n, err := strconv.Atoi(info["connected_slaves"]); err == nil && n > 0 && wait.Replicas == 0 {
		find("redis has replicas, and a failover may bring back a session that was ended in the moment before", "set wait 1 100ms if that matters",
			zap.Int("replicas", n))
	}
	return found
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
