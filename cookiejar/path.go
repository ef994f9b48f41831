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
	from, all := 0, decodePath(path)
	for i := 0; i < len(all); {
		if all[i].c != ';' {
			i++
			continue
		}
		name, assigned, end := pathParameter(all, i+1)
		if assigned && (k.Manages(name) || k.wasHTTPOnly(hostport, name)) {
			left.WriteString(path[from:all[i].at])
			if from = len(path); end < len(all) {
				from = all[end].at
			}
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
func pathParameter(path []pathByte, i int) (name string, assigned bool, end int) {
	var b []byte
	for ; i < len(path); i++ {
		switch c := path[i].c; {
		case c == ';', c == '/':
			return string(b), assigned, i
		case c == '=':
			assigned = true
		case !assigned:
			b = append(b, c)
		}
	}
	return string(b), assigned, i
}

// pathByte is a byte of a path once all escapes are decoded.
type pathByte struct {
	c  byte
	at int // where its spelling begins
}

// decodePath decodes the escapes of a path until there are none, those of which the
// "%" or a digit is an escape, too. From right to left that takes one pass.
func decodePath(path string) []pathByte {
	all := make([]pathByte, len(path))
	top := len(path)
	for at := len(path) - 1; at >= 0; at-- {
		c := path[at]
		for c == '%' && top+2 <= len(all) {
			decoded := percent.Decode([]byte{'%', all[top].c, all[top+1].c})
			if len(decoded) != 1 {
				break
			}
			c = decoded[0]
			top += 2
		}
		top--
		all[top] = pathByte{c, at}
	}
	return all[top:]
}
