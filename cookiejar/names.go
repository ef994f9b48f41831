package cookiejar

import (
	"strings"

	"github.com/caddy-session/caddy-session/internal/percent"
)

// What servers take for the name of a cookie differs at the edges: RFC 2109 and
// RFC 2965 had separators between the cookies of a line, which Tomcat's
// LegacyCookieProcessor skips before a name; Node trims what ECMAScript calls
// white space, and Python all that Unicode does, in ISO 8859-1 or UTF-8. So an
// edge is each byte that can't be in a token (RFC 9110 5.6.2), whether it is
// ASCII or not.

// isEdge has the bytes that are edges, and isGap those at which servers might
// part cookies: the comma, and what may be white space or a part of it.
var isEdge, isGap = func() (edges, gaps [256]bool) {
	for c := range edges {
		blank := c <= ' ' || c >= 0x7f
		gaps[c] = blank || c == ','
		edges[c] = blank || strings.IndexByte(`()<>@,;:\"/[]?={}`, byte(c)) >= 0
	}
	return edges, gaps
}()

// trimLeftEdges drops the edges before a name.
func trimLeftEdges(name string) string {
	for name != "" && isEdge[name[0]] {
		name = name[1:]
	}
	return name
}

// trimEdges drops the edges around a name.
func trimEdges(name string) string {
	name = trimLeftEdges(name)
	for name != "" && isEdge[name[len(name)-1]] {
		name = name[:len(name)-1]
	}
	return name
}

// tokenLen returns how many bytes of s come before the first edge.
func tokenLen(s string) int {
	for i := range len(s) {
		if isEdge[s[i]] {
			return i
		}
	}
	return len(s)
}

// firstName returns the first name that a server could find in a pair, and
// whether there is a "=" behind it.
func firstName(pair string) (name string, assigned bool) {
	name, _, assigned = strings.Cut(trimLeftEdges(pair), "=")
	return trimEdges(name), assigned
}

// hidesName reports whether a server could find a cookie with a name that named
// accepts behind the first name of a pair. There are servers that part the cookies
// of a line by commas too, as RFC 2109 had it, and ones that part them by white
// space, as Python's http.cookies; by RFC 6265bis 4.1.1, no value has either. With
// bare set, a name behind a comma counts even if no "=" follows: some servers take
// it for a cookie without a value.
func hidesName(pair string, bare bool, named func(name string) bool) bool {
	for i := 0; i < len(pair); {
		if !isGap[pair[i]] {
			i++
			continue
		}
		comma := false
		for ; i < len(pair) && isEdge[pair[i]]; i++ {
			comma = comma || pair[i] == ','
		}
		rest := pair[i:]
		n := tokenLen(rest)
		token := rest[:n]
		for n < len(rest) && rest[n] != '=' && !isGap[rest[n]] {
			n++
		}
		i += n
		// There may be servers to which not every separator ends a name.
		for _, name := range [...]string{token, trimEdges(rest[:n])} {
			if name != "" && (comma && bare || isAssigned(rest[len(name):])) && named(name) {
				return true
			}
		}
	}
	return false
}

// isAssigned reports whether there is a "=" among the edges with which s begins.
func isAssigned(s string) bool {
	for i := range len(s) {
		if !isEdge[s[i]] {
			return false
		}
		if s[i] == '=' {
			return true
		}
	}
	return false
}

// decodeName decodes percent signs and plus signs, as some servers do in names;
// some then stop at a zero byte. Then it drops the edges.
func decodeName(name string) string {
	if strings.ContainsAny(name, "%+") {
		name = percent.Decode(strings.ReplaceAll(name, "+", " "))
		name, _, _ = strings.Cut(name, "\x00")
	}
	return trimEdges(name)
}

// foldCookie maps a name to what servers can't tell apart.
func foldCookie(name string) string { return string(appendFolded(nil, name)) }

func appendFolded(b []byte, name string) []byte {
	for i := range len(name) {
		b = append(b, foldByte(name[i]))
	}
	return b
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + ('a' - 'A')
	case c == ' ', c == '.', c == '[':
		return '_'
	}
	return c
}
