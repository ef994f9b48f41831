package caddysession

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// settings are the words of a block, and what parses the rest of their line.
type settings map[string]func() error

// parse reads the block that follows, if there is one. A word may come once,
// except those in repeatable.
func (s settings) parse(d *caddyfile.Dispenser, repeatable ...string) error {
	seen := map[string]bool{}
	for _, word := range repeatable {
		seen[word] = false
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		parse, ok := s[word]
		if !ok {
			return d.Errf("unknown setting %q", word)
		}
		if seen[word] {
			return d.Errf("%s is set twice", word)
		}
		if _, again := seen[word]; !again {
			seen[word] = true
		}
		if err := parse(); err != nil {
			return err
		}
	}
	return nil
}

func parseWord(d *caddyfile.Dispenser, to *string) error {
	setting := d.Val()
	if !d.AllArgs(to) || *to == "" {
		return d.Errf("%s takes one value", setting)
	}
	return nil
}

func parseFlag(d *caddyfile.Dispenser, to *bool) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	*to = true
	return nil
}

func parseDuration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	setting := d.Val()
	var text string
	if err := parseWord(d, &text); err != nil {
		return err
	}
	duration, err := caddy.ParseDuration(text)
	if err != nil {
		return d.Errf("%s: %v: write a duration such as 90s, 30m or 7d", setting, err)
	}
	if duration <= 0 {
		return d.Errf("%s %s: the duration must be above zero", setting, text)
	}
	*to = caddy.Duration(duration)
	return nil
}

func parseSize(d *caddyfile.Dispenser, to *int) error {
	setting := d.Val()
	var text string
	if err := parseWord(d, &text); err != nil {
		return err
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size == 0 || size > 1<<31-1 {
		return d.Errf("%s %q: write a size such as 4KiB or 65536", setting, text)
	}
	*to = int(size)
	return nil
}

func parseNumber(d *caddyfile.Dispenser, to *int) error {
	setting := d.Val()
	var text string
	if err := parseWord(d, &text); err != nil {
		return err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return d.Errf("%s %q: write a number", setting, text)
	}
	*to = n
	return nil
}
