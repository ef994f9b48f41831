package cookiejar

import (
	"strings"

	"github.com/caddy-session/caddy-session/internal/percent"
)

// StripPath returns the escaped path of a request to hostport without its parameters
// ";NAME=VALUE" of names that clients can't choose: see [Keeper.Manages], and
// [Rules.KeepHTTPOnly] for those that were set on that host. Servlet containers take the id
// of a session from there where they find it in no cookie (Jakarta Servlet 6.0,
// section 7.1.3), under the name of the cookie, or that in lower case.
//
// A parameter may be in any segment and extends to the next ";" or "/". Names are
// compared as those of cookies are, in every spelling that a server could read.
// Escapes are decoded however often they were escaped, as handlers on the way to
// the application may decode a path, too. A parameter without "=" has no value and
// stays. What stays, stays byte for byte.
func (k *Keeper) StripPath(hostport, path string) string {
	if !strings.ContainsAny(path, ";%") {
		return path
	}
	var left strings.Builder
	from := 0
	for i := 0; i < len(path); {
		c, size := escapedByte(path, i)
		if c != ';' {
			i += size
			continue
		}
		name, assigned, end := pathParameter(path, i+size)
		if assigned && (k.Manages(name) || k.wasHTTPOnly(hostport, name)) {
			left.WriteString(path[from:i])
			from = end
		}
		i = end
	}
	if from == 0 {
		return path
	}
	left.WriteString(path[from:])
	return left.String()
}

// pathParameter returns the name of the parameter that begins at i, behind its
// ";", whether a value is assigned to it, and where it ends.
func pathParameter(path string, i int) (name string, assigned bool, end int) {
	var b []byte
	for i < len(path) {
		c, size := escapedByte(path, i)
		switch {
		case c == ';', c == '/':
			return string(b), assigned, i
		case c == '=':
			assigned = true
		case !assigned:
			b = append(b, c)
		}
		i += size
	}
	return string(b), assigned, i
}

// escapedByte returns the byte that is at i once all escapes are decoded, and how
// many bytes spell it.
func escapedByte(s string, i int) (c byte, size int) {
	if s[i] != '%' {
		return s[i], 1
	}
	end := i + len("%")
	for strings.HasPrefix(s[end:], "25") {
		end += len("25")
	}
	if end+2 <= len(s) {
		if decoded := percent.Decode("%" + s[end:end+2]); len(decoded) == 1 {
			return decoded[0], end + 2 - i
		}
	}
	return '%', 1
}
