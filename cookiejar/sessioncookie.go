package cookiejar

import (
	"net/http"
	"strings"
	"time"
)

// The names of a cookie that is not given one.
const (
	autoPlain  = "csid"
	autoSecure = "__Secure-csid"
	autoHost   = "__Host-csid"
)

// maxAge is the longest time for which user agents keep a cookie (RFC 6265bis
// 5.5).
const maxAge = 400 * 24 * time.Hour

// SessionCookie is a valid [Cookie], ready for requests. It comes from
// [Cookie.Compile], does not change and may be used by many goroutines.
type SessionCookie struct {
	names             []string // all that it may have, autoPlain last
	plain, secure     string   // the name without Secure, and with it
	setting           string   // Cookie.Secure
	needsSecure       bool
	template          http.Cookie // without name, value, age and Secure
	priorityAttribute string      // net/http has no field for it; only Chromium knows it
}

// Compile returns the cookie that the configuration describes, or the error of
// Validate.
func (c Cookie) Compile() (*SessionCookie, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &SessionCookie{
		names:       []string{c.Name},
		plain:       c.Name,
		secure:      c.Name,
		setting:     c.Secure,
		needsSecure: c.needsSecure() != "",
		template: http.Cookie{
			Path:        c.path(),
			Domain:      c.domain(),
			HttpOnly:    true,
			SameSite:    http.SameSiteLaxMode,
			Partitioned: c.Partitioned,
		},
	}
	if c.autoName() {
		s.names = []string{autoHost, autoSecure, autoPlain}
		s.plain, s.secure = autoPlain, autoHost
		if c.Domain != "" || c.path() != "/" {
			s.secure = autoSecure
		}
	}
	switch c.SameSite {
	case "strict":
		s.template.SameSite = http.SameSiteStrictMode
	case "none":
		s.template.SameSite = http.SameSiteNoneMode
	}
	if c.Priority != "" {
		s.priorityAttribute = "; Priority=" + strings.ToUpper(c.Priority[:1]) + c.Priority[1:]
	}
	return s, nil
}

// SecureFor reports whether the cookie is Secure on a request that came over
// HTTPS or did not.
func (s *SessionCookie) SecureFor(https bool) bool {
	switch s.setting {
	case "on":
		return true
	case "off":
		return false
	}
	return https || s.needsSecure
}

// NameFor returns the name of the cookie where it is Secure or is not. This is
// the one name to read the cookie by.
func (s *SessionCookie) NameFor(secure bool) string {
	if secure {
		return s.secure
	}
	return s.plain
}

// Names returns all names that the cookie may have; the caller must not change
// the slice.
func (s *SessionCookie) Names() []string { return s.names }

// Reserved returns the names that an application can't have where the cookie is
// Secure or is not, and those that it can share with us: cookies called so are ours
// if they hold a token. The caller must not change the slices.
//
// That is the plain default name where the cookie is Secure. Another handler may
// serve the host on plain HTTP, and browsers send what it has set over HTTPS, too.
// The other way round they don't, but a __Host-csid that comes on plain HTTP all
// the same is a secret.
func (s *SessionCookie) Reserved(secure bool) (names, shared []string) {
	if n := len(s.names) - 1; secure && s.secure != s.plain {
		return s.names[:n:n], s.names[n:]
	}
	return s.names, nil
}

// ScopeHost returns the host or domain to which a cookie belongs on a request
// to hostport: the Domain in its canonical form if one is set, else the host in
// its canonical form. It returns false if the host has none, or does not match
// the Domain (RFC 6265bis 5.1.3): user agents would refuse the cookie there.
func (s *SessionCookie) ScopeHost(hostport string) (host string, ok bool) {
	host, ok = CanonicalHost(hostport)
	switch domain := s.template.Domain; {
	case !ok || domain == "":
		return host, ok
	case domainMatch(host, domain):
		return domain, true
	}
	return "", false
}

// ScopePath returns the path to which the cookie belongs.
func (s *SessionCookie) ScopePath() string { return s.template.Path }

// SetLine returns the Set-Cookie line that gives the user agent this value,
// which must be made of bytes that a cookie may have (RFC 6265bis 4.1.1). age is
// for how long: zero until the browser is closed; a positive one is sent in
// whole seconds, rounded down but at least one, and cut off at 400 days; a
// negative one expires the cookie.
func (s *SessionCookie) SetLine(value string, secure bool, age time.Duration) string {
	c := s.template
	c.Name, c.Value, c.Secure = s.NameFor(secure), value, secure
	// net/http wants -1 for Max-Age=0, and 0 for none.
	switch {
	case age < 0:
		c.MaxAge = -1
	case age > 0:
		c.MaxAge = int(max(min(age, maxAge)/time.Second, 1))
	}
	return c.String() + s.priorityAttribute
}

// ExpireLine returns the Set-Cookie line that makes the user agent forget the
// cookie. It has the attributes of SetLine, without which it would not be taken
// for the same cookie, or not be accepted.
func (s *SessionCookie) ExpireLine(secure bool) string {
	return s.SetLine("", secure, -1)
}
