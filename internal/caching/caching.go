// Package caching is about what HTTP caches may keep of responses that depend on
// a session: browsers' caches, and those between us and the browser (RFC 9111).
package caching

import (
	"net/http"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"
)

// Room is memory for the lines of one call of Protect.
type Room [2]string

// Protect keeps shared caches from giving one user's pages, or cookie, to
// another. withCookie: the response sets our cookie. live: the request or the
// response has a session. same: nobody gets another response for a session, or
// for having none.
//
// What the application says about caching is left alone, unless our cookie
// goes out with it. room is used once.
func Protect(header http.Header, status int, withCookie, live, same bool, room *Room) {
	switch {
	case withCookie:
		for name, lines := range header {
			if kind := kindOf(name); kind != none && !(kind.targeted() && kind.forbids(lines)) {
				delete(header, name)
			}
		}
		header["Cache-Control"] = []string{"no-store"}
	case status == http.StatusSwitchingProtocols:
	case !saysCaching(header):
		if same {
			// Vary would have browsers fetch it again whenever any cookie changes.
		} else if header["Vary"] == nil {
			room[0] = "Cookie"
			header["Vary"] = room[0:1:1]
		} else {
			addVary(header, "Cookie")
		}
		if live {
			room[1] = "private"
			header["Cache-Control"] = room[1:2:2]
		}
	}
}

// kind is what a header tells caches.
type kind byte

const (
	none    kind = iota
	general      // Cache-Control, for all caches
	legacy       // Expires and Pragma, which Cache-Control overrides
	// For caches of one kind or maker, which prefer it to Cache-Control
	// (RFC 9213):
	control    // *-Cache-Control, Surrogate-Control
	edge       // Edge-Control of Akamai
	liteSpeed  // X-LiteSpeed-Cache-Control
	accelerate // X-Accel-Expires of nginx, a time
)

// kindOf tells kinds by the name of a header, in any case. It runs for each header
// of each response.
func kindOf(name string) kind {
	if len(name) < len("Pragma") {
		return none
	}
	switch name[len(name)-1] | 0x20 {
	case 'l':
		const suffix = "-Cache-Control"
		switch cut := len(name) - len(suffix); {
		case strings.EqualFold(name, suffix[1:]):
			return general
		case strings.EqualFold(name, "X-LiteSpeed"+suffix):
			return liteSpeed
		case cut > 0 && strings.EqualFold(name[cut:], suffix), strings.EqualFold(name, "Surrogate-Control"):
			return control
		case strings.EqualFold(name, "Edge-Control"):
			return edge
		}
	case 's':
		switch {
		case strings.EqualFold(name, "Expires"):
			return legacy
		case strings.EqualFold(name, "X-Accel-Expires"):
			return accelerate
		}
	case 'a':
		if strings.EqualFold(name, "Pragma") {
			return legacy
		}
	}
	return none
}

func (k kind) targeted() bool { return k >= control }

// forbids reports whether the lines of a header keep shared caches from storing.
func (k kind) forbids(lines []string) bool {
	d := directives(lines)
	switch k {
	case general, control:
		return d["no-store"] || d["private"]
	case liteSpeed:
		return d["no-store"] || d["private"] || d["no-cache"]
	case edge:
		return d["no-store"] || d["bypass-cache"]
	case accelerate:
		return len(lines) == 1 && strings.Trim(lines[0], " \t0") == "" && strings.Contains(lines[0], "0")
	}
	return false
}

// allows reports whether the lines of a header let shared caches store the
// response in so many words. What is for such caches alone does if it does not
// forbid it.
func (k kind) allows(lines []string) bool {
	switch {
	case k == general:
		d := directives(lines)
		return (d["public"] || d["s-maxage"]) && !k.forbids(lines)
	case k.targeted():
		return len(lines) > 0 && !k.forbids(lines)
	}
	return false
}

func saysCaching(header http.Header) bool {
	for name, lines := range header {
		if kindOf(name) != none && len(lines) > 0 {
			return true
		}
	}
	return false
}

// addVary appends name to Vary unless it is there or all is.
func addVary(header http.Header, name string) {
	for _, line := range header["Vary"] {
		for element := range strings.SplitSeq(line, ",") {
			if element = strings.TrimSpace(element); element == "*" || strings.EqualFold(element, name) {
				return
			}
		}
	}
	header.Add("Vary", name)
}

// Shareable reports whether the response allows shared caches to store it in so
// many words (RFC 9111, section 5.2.2; RFC 9213; and what vendors have in place of
// it).
func Shareable(header http.Header) bool {
	for name, lines := range header {
		if kindOf(name).allows(lines) {
			return true
		}
	}
	return false
}

// MakePrivate forbids shared caches to store a response that is about one
// session: one that changes it, or one from which we have taken a Set-Cookie,
// or to which we have added one. Many applications say public without meaning it.
func MakePrivate(header http.Header) {
	var said []string
	for name, lines := range header {
		switch kind := kindOf(name); {
		case kind == general:
			said = append(said, lines...)
			delete(header, name)
		case kind.targeted() && !kind.forbids(lines):
			delete(header, name)
		}
	}
	if general.forbids(said) {
		header["Cache-Control"] = said
		return
	}
	var kept []string
	for _, line := range said {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.TrimSpace(directive)
			name, _, _ := strings.Cut(directive, "=")
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" && name != "public" && name != "s-maxage" {
				kept = append(kept, directive)
			}
		}
	}
	header["Cache-Control"] = []string{strings.Join(append(kept, "private"), ", ")}
}

// directives returns the names of the directives that come without a list of
// fields: private="x" restricts the field x only. A comma inside quotes makes
// more names, none of which mean anything.
func directives(lines []string) map[string]bool {
	names := map[string]bool{}
	for _, line := range lines {
		for directive := range strings.SplitSeq(line, ",") {
			name, argument, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if name = strings.ToLower(strings.TrimSpace(name)); name != "private" || argument == "" {
				names[name] = true
			}
		}
	}
	return names
}

// FromCache reports whether a cache says that it has answered (Age: RFC 9111,
// section 5.1; Cache-Status: RFC 9211; X-Cache and others, with words such as HIT,
// TCP_MEM_HIT, or "Hit from cloudfront"). What can't be read in the first two
// counts as such.
func FromCache(header http.Header) bool {
	for name, lines := range header {
		if slices.ContainsFunc(lines, teller(name)) {
			return true
		}
	}
	lines := header["Cache-Status"]
	if len(lines) == 0 {
		return false
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return true
	}
	for _, member := range list {
		if item, ok := member.(httpsfv.Item); ok && item.Params != nil {
			if hit, ok := item.Params.Get("hit"); ok && hit != false {
				return true
			}
		}
	}
	return false
}

// teller returns what reports whether a line of a header says that a cache has
// answered.
func teller(name string) func(line string) bool {
	switch name = strings.ToLower(name); {
	case name == "age":
		return func(age string) bool { return strings.Trim(age, " \t0") != "" || age == "" }
	case name == "x-varnish": // the number of the request, and of the one that was kept
		return func(line string) bool { return len(strings.Fields(line)) > 1 }
	case !strings.Contains(name, "cache"), name == "cache-status", kindOf(name) != none,
		strings.HasSuffix(name, "-lookup"): // what Squid finds before it asks, nevertheless
	case strings.HasSuffix(name, "-hit"), strings.HasSuffix(name, "-hits"):
		return func(line string) bool {
			return !slices.Contains([]string{"", "no", "false", "miss"}, strings.Trim(strings.ToLower(line), " \t,0"))
		}
	default:
		return saysHit
	}
	return func(string) bool { return false }
}

// saysHit looks at the words of a line. What a cache has asked the origin about
// and then kept, or serves though it is old, is from the cache, too.
func saysHit(line string) bool {
	isPart := func(r rune) bool { return r < 'a' || r > 'z' }
	for element := range strings.SplitSeq(strings.ToLower(line), ",") {
		element, _, _ = strings.Cut(element, " from ") // a host
		for word := range strings.FieldsFuncSeq(element, isPart) {
			if strings.HasSuffix(word, "hit") || word == "fresh" || word == "stale" || word == "updating" || word == "revalidated" {
				return true
			}
		}
	}
	return false
}
