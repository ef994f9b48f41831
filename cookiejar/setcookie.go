package cookiejar

import (
	"net/http"
	"slices"
	"strings"
)

// SetCookieName returns the name under which a user agent stores the cookie of
// a Set-Cookie line (RFC 6265bis 5.6): what comes before the first '=' of what
// comes before the first ';', trimmed of white space (here of control bytes
// too). It is empty for a nameless cookie, which has no '=' or nothing before
// it.
func SetCookieName(line string) string {
	name, _ := splitSetCookie(line)
	return name
}

// DropSetCookie removes the Set-Cookie lines of h that would give a user agent
// a cookie called one of names. It is meant for the response of an application
// that must not set them. The other lines stay as they are, in order.
//
// A nameless cookie is sent back as its bare value, so "=sid=x" comes back as
// "sid=x": such lines are removed too (RFC 6265bis 5.7 has user agents refuse
// them only for names with a prefix).
//
// It returns the names that were removed, one for each line, and never their
// values, so the result is fit for a log. If nothing is removed, h is not
// touched and nothing is allocated; else h gets a new slice of lines.
func DropSetCookie(h http.Header, names ...string) (dropped []string) {
	for key, lines := range h {
		if !isHeader(key, "Set-Cookie") {
			continue
		}
		ours := func(line string) bool { return slices.Contains(names, sentName(line)) }
		if !slices.ContainsFunc(lines, ours) {
			continue
		}
		kept := make([]string, 0, len(lines))
		for _, line := range lines {
			if ours(line) {
				dropped = append(dropped, sentName(line))
			} else {
				kept = append(kept, line)
			}
		}
		// Replacing or deleting the current entry is safe in a range.
		if len(kept) == 0 {
			delete(h, key)
		} else {
			h[key] = kept
		}
	}
	return dropped
}

// sentName returns the name that a server sees when a user agent sends the
// cookie of a Set-Cookie line back.
func sentName(line string) string {
	name, value := splitSetCookie(line)
	if name == "" {
		if inner, _, ok := strings.Cut(value, "="); ok {
			name = trim(inner)
		}
	}
	return name
}

// splitSetCookie returns the name and the value of a Set-Cookie line as a user
// agent stores them. Without '=' it is all value.
func splitSetCookie(line string) (name, value string) {
	pair, _, _ := strings.Cut(line, ";")
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		name, value = "", pair
	}
	return trim(name), trim(value)
}
