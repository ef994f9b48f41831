// Package caching is about what HTTP caches may keep of responses that depend on
// a session: browsers' caches, and those between us and the browser (RFC 9111).
package caching

import (
	"net/http"
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
		// Policies for single kinds of caches forbid storing already, or
		// the response would have been refused: see Shareable.
		header["Cache-Control"] = []string{"no-store"}
		delete(header, "Expires")
		delete(header, "Pragma")
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

// cachePolicies are the headers that tell caches what to do, as header maps
// spell them.
var cachePolicies = []string{"Cache-Control", "Expires", "Pragma", "Cdn-Cache-Control", "Surrogate-Control"}

func saysCaching(header http.Header) bool {
	for _, name := range cachePolicies {
		if len(header[name]) > 0 {
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

// Shareable reports whether the response allows shared caches to store
// it in so many words (RFC 9111, section 5.2.2; RFC 9213; Surrogate-Control of
// the Edge Architecture).
func Shareable(header http.Header) bool {
	cc := directives(header["Cache-Control"])
	if forbids(cc) {
		cc = nil
	}
	if cc["public"] || cc["s-maxage"] {
		return true
	}
	for _, name := range []string{"Cdn-Cache-Control", "Surrogate-Control"} {
		if lines := header[name]; len(lines) > 0 && !forbids(directives(lines)) {
			return true
		}
	}
	return false
}

// MakePrivate forbids shared caches to store a response from which we have taken
// a Set-Cookie, or to which we have added one. Caches that store nothing with a
// Set-Cookie, as most do, would have kept off it; many applications say public
// without meaning it.
func MakePrivate(header http.Header) {
	for _, name := range []string{"Cdn-Cache-Control", "Surrogate-Control"} {
		if !forbids(directives(header[name])) {
			delete(header, name)
		}
	}
	if forbids(directives(header["Cache-Control"])) {
		return
	}
	var kept []string
	for _, line := range header["Cache-Control"] {
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

func forbids(directives map[string]bool) bool { return directives["no-store"] || directives["private"] }

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
// section 5.1; Cache-Status: RFC 9211). What can't be read counts as such.
func FromCache(header http.Header) bool {
	for _, age := range header["Age"] {
		if strings.Trim(age, " \t0") != "" || age == "" {
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
