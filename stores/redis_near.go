package stores

import (
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/session/redisstore"
)

// RedisNearCache keeps sessions in Caddy's memory, decrypted, for requests with
// the methods GET, HEAD and OPTIONS. A Caddy always sees its own changes. Those
// of others are seen when Redis announces them, usually within milliseconds.
// Without a working connection for these announcements nothing is kept. The
// Redis user needs the permissions `+client|tracking` and `+client|trackinginfo`.
type RedisNearCache struct {
	// The most bytes that it may take, 1 MiB at least. A session counts 1 KiB
	// and three times its record. Default: 67108864 (64 MiB).
	Size int64 `json:"size,omitempty"`

	// How long a session may be used after it was read, whatever happens to
	// announcements. Default: 5s.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
}

func (c *RedisNearCache) options() redisstore.NearOptions {
	return redisstore.NearOptions{Size: c.Size, MaxAge: time.Duration(c.MaxAge)}
}

// validate is fine with nil.
func (c *RedisNearCache) validate() error {
	if c == nil {
		return nil
	}
	return c.options().Validate()
}

func (c *RedisNearCache) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		size, err := parseSize(d.Val())
		if err != nil {
			return d.Errf("near_cache %q: write a size such as 64MiB", d.Val())
		}
		c.Size = size
	}
	if d.NextArg() {
		return d.Err("near_cache takes one size; max_age goes into its block")
	}
	return nearBlock.Parse(c, d)
}

// parseSize reads a size of memory in bytes, above zero.
func parseSize(text string) (int64, error) {
	size, err := humanize.ParseBytes(text)
	if err != nil || size == 0 || size > 1<<40 {
		return 0, errors.New("no size")
	}
	return int64(size), nil
}

var nearBlock = settings.NewBlock("near_cache { } in store redis", func(c *RedisNearCache, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"max_age": func() error { return settings.Duration(d, &c.MaxAge) },
	}
})
