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

// inspect warns about a server that is not fit for sessions. It is no more
// than advice, so a server that does not tell is left alone.
func inspect(ctx context.Context, client rueidis.Client, cfg config) {
	ctx, cancel := context.WithTimeout(ctx, cfg.timeout)
	defer cancel()
	info := make(map[string]string)
	for _, res := range client.DoMulti(ctx,
		client.B().Info().Section("server").Build(),
		client.B().Info().Section("memory").Build(),
	) {
		if text, err := res.ToString(); err == nil {
			parseInfo(text, info)
		}
	}

	if v := info["redis_version"]; tooOld(v) {
		cfg.logger.Warn("redis is too old for the session store: 6.2 is the oldest that is supported",
			zap.Stringer("address", cfg), zap.String("version", v))
	}
	policy, limit := info["maxmemory_policy"], info["maxmemory"]
	if policy != "" && policy != "noeviction" && limit != "" && limit != "0" {
		cfg.logger.Warn("redis evicts sessions when its memory is full, which signs users out: set maxmemory-policy to noeviction",
			zap.Stringer("address", cfg), zap.String("maxmemory_policy", policy), zap.String("maxmemory", limit))
	}
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
