package session

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MalformedError says that a response asked for something that can't be done
// as it stands. Nothing of such a response is carried out. The message quotes
// names and positions, not values: those may be secrets.
type MalformedError struct {
	Header string // which control header, without the prefix
	Err    error
}

func (e *MalformedError) Error() string { return e.Header + ": " + e.Err.Error() }
func (e *MalformedError) Unwrap() error { return e.Err }

func malformed(header string, err error) error { return &MalformedError{Header: header, Err: err} }

// parsePatch reads the values of the control headers, one string a line.
// limit bounds their bytes in all. Errors are *MalformedError.
func parsePatch(put, set, unset, control []string, limit int) (*Patch, error) {
	size := 0
	for _, lines := range [][]string{put, set, unset, control} {
		for _, line := range lines {
			size += len(line)
		}
	}
	if size > limit {
		return nil, malformed("Set", fmt.Errorf("the control headers have %d bytes, more than the %d of max_data", size, limit))
	}
	p := new(Patch)
	for _, line := range put {
		objects, err := decodeObjects(strings.Trim(line, " \t"))
		if err != nil {
			return nil, malformed("Put", err)
		}
		p.Put = append(p.Put, objects...)
	}
	for _, line := range set {
		objects, err := parseSet(line)
		if err != nil {
			return nil, malformed("Set", err)
		}
		p.Set = append(p.Set, objects...)
	}
	for _, line := range unset {
		keys, err := parseUnset(line)
		if err != nil {
			return nil, malformed("Unset", err)
		}
		p.Unset = append(p.Unset, keys...)
	}
	for _, line := range control {
		if err := p.parseControl(line); err != nil {
			return nil, malformed("Control", err)
		}
	}
	return p, nil
}

// parseSet reads one line: JSON objects, or a form for applications that have
// no JSON encoder.
func parseSet(line string) ([]map[string]any, error) {
	line = strings.Trim(line, " \t")
	switch {
	case line == "":
		return nil, errors.New("the value is empty")
	case line[0] == '{':
		return decodeObjects(line)
	}
	object := map[string]any{}
	if strings.Contains(line, ",") {
		// A proxy may have joined two lines here: nobody can tell.
		return nil, errors.New("a comma in a form has to be sent as %2C")
	}
	for i, pair := range strings.Split(line, "&") {
		key, raw, ok := strings.Cut(pair, "=")
		switch {
		case !ok:
			return nil, fmt.Errorf("pair %d is not KEY=VALUE, and the value is not a JSON object either", i+1)
		case !formKey(key):
			return nil, fmt.Errorf("key %q: the keys of a form have 1 to %d of the characters A-Z a-z 0-9 _ . -", clip(key), maxKey)
		}
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("key %q twice", key)
		}
		if len(object) == maxKeys {
			return nil, tooManyKeys(maxKeys + 1)
		}
		value, err := url.QueryUnescape(raw)
		if err != nil {
			return nil, fmt.Errorf("key %q: the value is not percent-encoded correctly", key)
		}
		if !utf8.ValidString(value) {
			return nil, fmt.Errorf("key %q: %w", key, errNotUTF8)
		}
		object[key] = value
	}
	return []map[string]any{object}, nil
}

func formKey(key string) bool {
	for i := range len(key) {
		if c := key[i]; !isAlnum(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return 0 < len(key) && len(key) <= maxKey
}

func parseUnset(line string) (keys []string, err error) {
	if !utf8.ValidString(line) {
		return nil, errNotUTF8
	}
	for key := range strings.SplitSeq(line, ",") {
		key = strings.Trim(key, " \t")
		if key == "" {
			continue // RFC 9110, section 5.6.1.2: empty elements do not count
		}
		if err := checkKey(key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if keys == nil {
		return nil, errors.New("no key is named")
	}
	return keys, nil
}

// parseControl adds the directives of one line, written as in Cache-Control.
// A directive may come twice if it says the same.
func (p *Patch) parseControl(line string) error {
	named := false
	for directive := range strings.SplitSeq(line, ",") {
		directive = strings.Trim(directive, " \t")
		if directive == "" {
			continue
		}
		named = true
		name, argument, hasArgument := strings.Cut(directive, "=")
		name = strings.ToLower(name)
		if wants := name == "max-age" || name == "if-version"; wants != hasArgument {
			if wants {
				return fmt.Errorf("%s needs a number: %s=N", name, name)
			}
			if flag := p.flag(name); flag != nil {
				return fmt.Errorf("%s takes no argument", name)
			}
		}
		switch name {
		case "max-age":
			n, err := parseDigits(argument)
			if err != nil {
				return fmt.Errorf("max-age: %w", err)
			}
			// More seconds than a duration can hold are capped, as all others are.
			age := time.Duration(min(n, uint64(math.MaxInt64/time.Second))) * time.Second
			if p.MaxAge != nil && *p.MaxAge != age {
				return errors.New("max-age twice, with different values")
			}
			p.MaxAge = &age
		case "if-version":
			n, err := parseDigits(argument)
			if err != nil {
				return fmt.Errorf("if-version: %w", err)
			}
			if p.IfVersion != nil && *p.IfVersion != n {
				return errors.New("if-version twice, with different values")
			}
			p.IfVersion = &n
		default:
			flag := p.flag(name)
			if flag == nil {
				return fmt.Errorf("unknown directive %q", clip(name))
			}
			*flag = true
		}
	}
	if !named {
		return errors.New("no directive is named")
	}
	return nil
}

func (p *Patch) flag(name string) *bool {
	switch name {
	case "renew":
		return &p.Renew
	case "clear":
		return &p.Clear
	case "destroy":
		return &p.Destroy
	case "revoke-others":
		return &p.RevokeOthers
	case "no-touch":
		return &p.NoTouch
	}
	return nil
}

// parseDigits reads a decimal number without sign, as RFC 9111 writes
// delta-seconds.
func parseDigits(s string) (uint64, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, fmt.Errorf("%q is not a number", clip(s))
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return math.MaxUint64, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", clip(s))
	}
	return n, nil
}

// clip keeps a quotation in a message short.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
