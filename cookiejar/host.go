package cookiejar

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxName  = 253 // of a host name, without the trailing dot (RFC 1035 2.3.4)
	maxLabel = 63

	// maxHostport is more than any host that can become canonical takes: each
	// byte of a name stands for at most one character of four bytes. It bounds
	// the work of the IDNA mapping.
	maxHostport = 4*maxName + len(".:65535")
)

// hostProfile maps host names as browsers do (URL Standard, "domain to ASCII"):
// UTS #46, non-transitional, hyphens anywhere. Which ASCII bytes a name may
// have is checked by isName.
var hostProfile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
	idna.BidiRule(),
)

// CanonicalHost returns the one spelling of the host in hostport, the Host of a
// request, with an optional port (RFC 9110 7.2). It returns false for what has
// no canonical spelling; nothing should then be bound to that host.
//
// The port goes. A name is lower-case, in IDNA A-labels, without its trailing
// dot if it has one; it has letters, digits, '-' and (for the sake of old hosts)
// '_', labels of at most 63 bytes, none empty, and at most 253 bytes in all. An
// IPv6 address is in the form of RFC 5952 and keeps its brackets, as in a URL;
// one without brackets, or with a zone, is refused. An IPv4 address is a name
// like any other.
//
// CanonicalHost of its own result is that result. A name that is canonical
// already costs no allocation.
func CanonicalHost(hostport string) (host string, ok bool) {
	if len(hostport) > maxHostport {
		return "", false
	}
	if strings.HasPrefix(hostport, "[") {
		return canonicalIPv6(hostport)
	}
	host, port, _ := strings.Cut(hostport, ":")
	if !isPort(port) {
		return "", false
	}
	// Not after the mapping: there an empty last label may have been something
	// else before, such as a bare "xn--".
	host = strings.TrimSuffix(host, ".")
	if !isASCII(host) {
		host, ok = mapName(host)
	} else if host = strings.ToLower(host); strings.Contains(host, "xn--") {
		host, ok = mapName(host)
	} else {
		ok = true
	}
	if !ok || !isName(host) {
		return "", false
	}
	return host, true
}

// canonicalIPv6 is CanonicalHost for a bracketed address.
func canonicalIPv6(hostport string) (host string, ok bool) {
	literal, port, ok := strings.Cut(hostport[1:], "]")
	if !ok {
		return "", false
	}
	if port != "" && (port[0] != ':' || !isPort(port[1:])) {
		return "", false
	}
	// A zone means something on this machine only, never in a Host header.
	addr, err := netip.ParseAddr(literal)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", false
	}
	return "[" + addr.String() + "]", true
}

// mapName converts a name to A-labels; names that have A-labels already are
// checked.
func mapName(name string) (string, bool) {
	// The mapping would take stray bytes for U+FFFD.
	if !utf8.ValidString(name) {
		return "", false
	}
	mapped, err := hostProfile.ToASCII(name)
	return mapped, err == nil
}

// isName reports whether s is a host name in canonical form, A-labels aside.
func isName(s string) bool {
	if len(s) > maxName {
		return false
	}
	label := 0 // length so far
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			if label++; label > maxLabel {
				return false
			}
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
	}
	return label > 0
}

// isPort reports whether s is the port of a URI (RFC 3986 3.2.3): digits, or
// nothing.
func isPort(s string) bool {
	return len(s) <= len("65535") && isDigits(s)
}

// isDigits reports whether s has no other bytes than digits.
func isDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
