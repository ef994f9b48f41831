package cookiejar

import (
	"errors"
	"strings"
	"time"
)

const (
	// maxPair is the most bytes of a cookie's name and value together, and
	// maxAttribute the most of an attribute's value (RFC 6265bis 5.6).
	maxPair      = 4096
	maxAttribute = 1024
)

// SameSite is when a cookie goes with requests that other sites cause
// (RFC 6265bis 5.6.7). The zero value is for cookies that do not say; they are
// treated as Lax.
type SameSite byte

// The values of SameSite.
const (
	SameSiteDefault SameSite = iota
	SameSiteNone
	SameSiteLax
	SameSiteStrict
)

// SetCookie is a Set-Cookie line as a user agent understands it, before it is
// known on which host and path it came.
type SetCookie struct {
	Name, Value string

	// Domain is lower-case and has no leading dot; "" is a cookie of the
	// very host.
	Domain string
	// Path is "" if the line has none that counts: it is the default path
	// then.
	Path string
	// Expires is zero for a cookie that lasts until the browser is closed. It
	// is at most 400 days away; in the past it deletes.
	Expires time.Time

	Secure, HTTPOnly bool
	SameSite         SameSite
}

// Reasons for which user agents ignore a whole line (RFC 6265bis 5.6 and 5.7).
var (
	errControl    = errors.New("it has a control character")
	errPairLength = errors.New("its name and value have more than 4096 bytes")
	errEmpty      = errors.New("it has neither a name nor a value")
	errNameless   = errors.New("it has no name, and its value begins with the prefix of a name")
	errPrefix     = errors.New("it has not the attributes that the prefix of its name asks for")
	errSecure     = errors.New("it is Secure, and the request did not come over HTTPS")
	errDomain     = errors.New("its Domain is not one of the request's host, or a public suffix")
	errOverlay    = errors.New("it would hide a cookie that came over HTTPS")
	errCrossSite  = errors.New("it is SameSite, and another site has caused the request")
	errNoName     = errors.New("it has no name")
	errForward    = errors.New("it is forwarded in a header, and larger than exposed")
)

// ParseSetCookie is the algorithm of RFC 6265bis 5.6, with those checks of 5.7
// that need no request. The error says why user agents ignore the line, and has
// nothing of it.
func ParseSetCookie(line string, now time.Time) (SetCookie, error) {
	if hasControl(line) {
		return SetCookie{}, errControl
	}
	name, value, _ := cutSetCookie(line)
	c := SetCookie{Name: trimBlank(name), Value: trimBlank(value)}
	switch {
	case len(c.Name)+len(c.Value) > maxPair:
		return SetCookie{}, errPairLength
	case c.Name == "" && c.Value == "":
		return SetCookie{}, errEmpty
	case c.Name == "" && (hasPrefixFold(c.Value, "__Secure-") || hasPrefixFold(c.Value, "__Host-") || hasPrefixFold(c.Value, "__Http-")):
		return SetCookie{}, errNameless
	}
	maxAgeSet := false
	for a := range attributesOf(line) {
		switch {
		case a.is("Expires"):
			if t, ok := parseDate(a.value); ok && !maxAgeSet {
				c.Expires = earliest(t, now.Add(maxAge))
			}
		case a.is("Max-Age"):
			if age, ok := parseMaxAge(a.value); ok {
				maxAgeSet = true
				c.Expires = now.Add(age)
			}
		case a.is("Domain"):
			c.Domain = strings.ToLower(strings.TrimPrefix(a.value, "."))
		case a.is("Path"):
			if c.Path = a.value; !strings.HasPrefix(c.Path, "/") {
				c.Path = "" // the last one counts, also if it is none
			}
		case a.is("Secure"):
			c.Secure = true
		case a.is("HttpOnly"):
			c.HTTPOnly = true
		case a.is("SameSite"):
			c.SameSite = parseSameSite(a.value)
		}
	}
	if !c.hasPrefixAttributes() {
		return SetCookie{}, errPrefix
	}
	return c, nil
}

// Deletes reports whether the line makes user agents forget a cookie.
func (c SetCookie) Deletes(now time.Time) bool {
	return !c.Expires.IsZero() && !c.Expires.After(now)
}

// expiry returns Expires in seconds since 1970, rounded up: what is to live for a
// second must not end within it.
func (c SetCookie) expiry() int64 { return c.Expires.Add(time.Second - 1).Unix() }

// hasPrefixAttributes holds a cookie to the prefix of its name (RFC 6265bis
// 5.7; draft-ietf-httpbis-layered-cookies for __Http- and __Host-Http-).
func (c SetCookie) hasPrefixAttributes() bool {
	if !hasPrefixFold(c.Name, "__") {
		return true
	}
	host, http := hasPrefixFold(c.Name, "__Host-"), hasPrefixFold(c.Name, "__Http-") || hasPrefixFold(c.Name, "__Host-Http-")
	switch {
	case (host || http || hasPrefixFold(c.Name, "__Secure-")) && !c.Secure:
		return false
	case host && (c.Domain != "" || c.Path != "/"):
		return false
	}
	return !http || c.HTTPOnly
}

func parseSameSite(value string) SameSite {
	switch {
	case strings.EqualFold(value, "none"):
		return SameSiteNone
	case strings.EqualFold(value, "lax"):
		return SameSiteLax
	case strings.EqualFold(value, "strict"):
		return SameSiteStrict
	}
	return SameSiteDefault
}

// parseMaxAge is RFC 6265bis 5.6.2. What is not positive is a time in the past.
func parseMaxAge(value string) (age time.Duration, ok bool) {
	digits := strings.TrimPrefix(value, "-")
	if value == "" || !isDigits(digits) {
		return 0, false
	}
	if digits != value {
		return -time.Second, true
	}
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return -time.Second, true
	}
	if len(digits) > 9 { // 30 years, and fits into a duration
		return maxAge, true
	}
	var n time.Duration
	for i := range len(digits) {
		n = 10*n + time.Duration(digits[i]-'0')
	}
	return min(n*time.Second, maxAge), true
}

// hasControl reports whether s has a control character but the tab.
func hasControl(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
