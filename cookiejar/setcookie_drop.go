package cookiejar

import (
	"iter"
	"net/http"
	"slices"
	"strings"
)

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
	return dropLines(h, names, func(string) bool { return true })
}

// DropTokens is DropSetCookie for names that an application can share with us: only
// the lines go whose cookie holds a token, as isToken has it.
func DropTokens(h http.Header, isToken func(string) bool, names ...string) (dropped []string) {
	return dropLines(h, names, func(line string) bool {
		pair, _, _ := strings.Cut(line, ";")
		return holds(pair, isToken)
	})
}

func dropLines(h http.Header, names []string, also func(line string) bool) (dropped []string) {
	editHeader(h, "Set-Cookie", func(line string) (string, bool) {
		name := returnedName(line)
		ours := slices.Contains(names, name) && also(line)
		if ours {
			dropped = append(dropped, name)
		}
		return line, !ours
	})
	return dropped
}

// returnedName returns the name that a server sees when a user agent sends the
// cookie of a Set-Cookie line back.
func returnedName(line string) string {
	name, value := splitSetCookie(line)
	if name == "" {
		if inner, _, ok := strings.Cut(value, "="); ok {
			name = trim(inner)
		}
	}
	return name
}

// setCookieName returns the name under which a user agent stores the cookie of
// a Set-Cookie line (RFC 6265bis 5.6): what comes before the first '=' of what
// comes before the first ';', trimmed of white space (here of control bytes
// too). It is empty for a nameless cookie, which has no '=' or nothing before
// it.
func setCookieName(line string) string {
	name, _ := splitSetCookie(line)
	return name
}

// splitSetCookie returns the name and the value of a Set-Cookie line as a user
// agent stores them. Without '=' it is all value.
func splitSetCookie(line string) (name, value string) {
	name, value, _ = cutSetCookie(line)
	return trim(name), trim(value)
}

// cutSetCookie returns the parts of a Set-Cookie line as they stand there: the
// name, the value, and the attributes with the ';' before them.
func cutSetCookie(line string) (name, value, attributes string) {
	pair := line
	if i := strings.IndexByte(line, ';'); i >= 0 {
		pair, attributes = line[:i], line[i:]
	}
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		name, value = "", pair
	}
	return name, value, attributes
}

// attribute is one attribute of a Set-Cookie line.
type attribute struct {
	name, value string // without the blanks around them
	text        string // all of it, as it stands in the line
	start       int    // where text begins, behind the ';'
}

// is reports whether the attribute counts and is called name.
func (a attribute) is(name string) bool {
	return strings.EqualFold(a.name, name) && len(a.value) <= maxAttribute
}

// attributesOf yields the attributes of a Set-Cookie line, of which all up to
// the first ';' may be missing.
func attributesOf(line string) iter.Seq[attribute] {
	return func(yield func(attribute) bool) {
		_, rest, more := strings.Cut(line, ";")
		for more {
			a := attribute{start: len(line) - len(rest)}
			a.text, rest, more = strings.Cut(rest, ";")
			name, value, _ := strings.Cut(a.text, "=")
			a.name, a.value = trimBlank(name), trimBlank(value)
			if !yield(a) {
				return
			}
		}
	}
}
