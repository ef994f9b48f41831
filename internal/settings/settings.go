// Package settings reads what a site's configuration says: the blocks of a
// Caddyfile (block.go), which of their lines a mistake is in (mistake.go), and the
// placeholders in values. It knows what words, durations and sizes look like and
// how mistakes in them are reported, but no setting.
package settings

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// String parses the one value of a setting, which must not be empty.
func String(d *caddyfile.Dispenser, to *string) error {
	setting := d.Val()
	if !d.AllArgs(to) || *to == "" {
		return d.Errf("%s takes one value", setting)
	}
	return nil
}

// Names returns the names on the rest of the line, none of which has a comma.
func Names(d *caddyfile.Dispenser) ([]string, error) { return list(d, strings.Contains) }

// Values returns the values on the rest of the line, none of which begins or ends
// with a comma.
func Values(d *caddyfile.Dispenser) ([]string, error) {
	return list(d, func(value, comma string) bool {
		return strings.HasPrefix(value, comma) || strings.HasSuffix(value, comma)
	})
}

// list parses the rest of a line. In quotes, commas are meant; elsewhere somebody
// took them for what separates values.
func list(d *caddyfile.Dispenser, has func(value, comma string) bool) ([]string, error) {
	setting := d.Val()
	var values []string
	for d.NextArg() {
		if !d.Token().Quoted() && has(d.Val(), ",") {
			return nil, d.Errf("%s: %s has a comma: write blanks between values, and quotes around a comma that is meant", setting, d.Val())
		}
		values = append(values, d.Val())
	}
	return values, nil
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
