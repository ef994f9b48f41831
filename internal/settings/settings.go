// Package settings reads what a site's configuration says: the blocks of a
// Caddyfile and the placeholders in values. It knows what words, durations and
// sizes look like and how mistakes in them are reported, but no setting.
package settings

import (
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// Block has the words that may begin the lines of a block, and what parses the
// rest of each line.
type Block map[string]func() error

// Parse reads the block that follows on this line, if there is one. A word may
// come once, except those in repeatable.
func (b Block) Parse(d *caddyfile.Dispenser, repeatable ...string) error {
	seen := map[string]bool{}
	for _, word := range repeatable {
		seen[word] = false
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		parse, ok := b[word]
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

// String parses the one value of a setting, which must not be empty.
func String(d *caddyfile.Dispenser, to *string) error {
	setting := d.Val()
	if !d.AllArgs(to) || *to == "" {
		return d.Errf("%s takes one value", setting)
	}
	return nil
}

// Flag sets what a word without a value turns on.
func Flag(d *caddyfile.Dispenser, to *bool) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	*to = true
	return nil
}

// Duration parses a duration above zero; it may have days.
func Duration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	setting := d.Val()
	var text string
	if err := String(d, &text); err != nil {
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

// Size parses a number of bytes from 1 to 2 GiB - 1, such as 65536 or 4KiB.
func Size(d *caddyfile.Dispenser, to *int) error {
	setting := d.Val()
	var text string
	if err := String(d, &text); err != nil {
		return err
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size == 0 || size > 1<<31-1 {
		return d.Errf("%s %q: write a size such as 4KiB or 65536", setting, text)
	}
	*to = int(size)
	return nil
}

// Number parses a number, 0 or more.
func Number(d *caddyfile.Dispenser, to *int) error {
	setting := d.Val()
	var text string
	if err := String(d, &text); err != nil {
		return err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return d.Errf("%s %q: write a number", setting, text)
	}
	*to = n
	return nil
}

// Resolve replaces the placeholders in a value; name is that of the setting,
// for errors. A placeholder that is unknown or has no value is an error, which
// does not show the values of others: they may be secrets.
func Resolve(name, value string) (string, error) {
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if resolved == "" && value != "" {
		return "", fmt.Errorf("%s: %s is empty", name, value)
	}
	return resolved, nil
}
