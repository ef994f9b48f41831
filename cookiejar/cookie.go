package cookiejar

import (
	"net/http"
	"strings"
	"time"
)

// The names of a cookie that is not given one.
const (
	autoPlain  = "sid"
	autoSecure = "__Secure-sid"
	autoHost   = "__Host-sid"
)

// maxAge is the longest time for which user agents keep a cookie (RFC 6265bis
// 5.5).
const maxAge = 400 * 24 * time.Hour

// Cookie is the configuration of one session cookie. The zero value is a good
// one: a cookie of the very host, for all its paths, gone when the browser is
// closed, Secure and with a __Host- name wherever the request came over HTTPS.
// The cookie is HttpOnly always.
//
// Validate must have returned nil before the other methods are used. They do
// not change the Cookie and may be called by many goroutines.
type Cookie struct {
	// The cookie's name. "auto", the default, stands for __Host-sid where the
	// cookie is Secure (__Secure-sid if a domain or path is set) and for sid
	// where it is not. A name that begins with one of the prefixes __Secure-,
	// __Http-, __Host- and __Host-Http- makes the cookie Secure, as browsers
	// would refuse it otherwise.
	Name string `json:"name,omitempty"`

	// The domain with whose subdomains the cookie is shared. Default: none; the
	// cookie belongs to the host of the request alone. A leading dot is
	// ignored.
	Domain string `json:"domain,omitempty"`

	// The path under which the browser sends the cookie. Default: "/".
	Path string `json:"path,omitempty"`

	// When the browser sends the cookie with requests that other sites cause:
	// "lax" (the default), with links followed only; "strict", never; "none",
	// always, which makes the cookie Secure.
	SameSite string `json:"same_site,omitempty"`

	// Whether the cookie is sent over HTTPS only: "auto" (the default) if the
	// request came over HTTPS; "on" always; "off" never.
	Secure string `json:"secure,omitempty"`

	// Whether a third-party cookie is kept apart for each top-level site
	// (CHIPS). It makes the cookie Secure.
	Partitioned bool `json:"partitioned,omitempty"`

	// Which cookies the browser drops first when it has too many: "low",
	// "medium" or "high". Default: the browser's, which is medium.
	Priority string `json:"priority,omitempty"`

	// Whether the cookie outlives the browser's closing. If so, the caller is
	// to give Set the time that the session has left.
	Persistent bool `json:"persistent,omitempty"`
}

// SecureFor reports whether the cookie is Secure on a request that came over
// HTTPS or did not.
func (c Cookie) SecureFor(https bool) bool {
	switch c.Secure {
	case "on":
		return true
	case "off":
		return false
	}
	return https || c.needsSecure() != ""
}

// NameFor returns the name of the cookie where it is Secure or is not. This is
// the one name to read the cookie by.
func (c Cookie) NameFor(secure bool) string {
	switch {
	case !c.autoName():
		return c.Name
	case !secure:
		return autoPlain
	case c.Domain != "" || c.ScopePath() != "/":
		return autoSecure
	}
	return autoHost
}

// Names returns all names that the cookie may have, in a new slice. An
// application must see none of them, whichever is read on this request: a
// __Host-sid from HTTPS is a secret on plain HTTP too.
func (c Cookie) Names() []string {
	if c.autoName() {
		return []string{autoHost, autoSecure, autoPlain}
	}
	return []string{c.Name}
}

// ScopeHost returns the host or domain to which a cookie belongs on a request
// to hostport: the Domain in its canonical form if one is set, else the host in
// its canonical form. It returns false if the host has none, or does not match
// the Domain (RFC 6265bis 5.1.3): user agents would refuse the cookie there.
func (c Cookie) ScopeHost(hostport string) (host string, ok bool) {
	host, ok = CanonicalHost(hostport)
	if !ok || c.Domain == "" {
		return host, ok
	}
	// An IP address matches no domain. There is nothing to check for that: it
	// ends in a number or a bracket, and Validate admits no such domain.
	domain := c.domain()
	sub, ok := strings.CutSuffix(host, domain)
	if !ok || sub != "" && !strings.HasSuffix(sub, ".") {
		return "", false
	}
	return domain, true
}

// ScopePath returns the path to which the cookie belongs.
func (c Cookie) ScopePath() string {
	if c.Path == "" {
		return "/"
	}
	return c.Path
}

// Set returns the Set-Cookie line that gives the user agent this value, which
// must be made of bytes that a cookie may have (RFC 6265bis 4.1.1). age is for
// how long: zero until the browser is closed; a positive one is sent in whole
// seconds, rounded down but at least one, and cut off at 400 days; a negative
// one expires the cookie.
func (c Cookie) Set(value string, secure bool, age time.Duration) string {
	// net/http wants -1 for Max-Age=0, and 0 for none.
	seconds := 0
	switch {
	case age < 0:
		seconds = -1
	case age > 0:
		seconds = int(max(min(age, maxAge)/time.Second, 1))
	}
	return c.line(value, secure, seconds)
}

// Expire returns the Set-Cookie line that makes the user agent forget the
// cookie. It has the attributes of Set, without which it would not be taken for
// the same cookie, or not be accepted.
func (c Cookie) Expire(secure bool) string {
	return c.line("", secure, -1)
}

func (c Cookie) line(value string, secure bool, seconds int) string {
	cookie := http.Cookie{
		Name:        c.NameFor(secure),
		Value:       value,
		Path:        c.ScopePath(),
		Domain:      c.domain(),
		MaxAge:      seconds,
		HttpOnly:    true,
		Secure:      secure,
		SameSite:    http.SameSiteLaxMode,
		Partitioned: c.Partitioned,
	}
	switch c.SameSite {
	case "strict":
		cookie.SameSite = http.SameSiteStrictMode
	case "none":
		cookie.SameSite = http.SameSiteNoneMode
	}
	line := cookie.String()
	// net/http has no field for the priority, which only Chromium knows.
	switch c.Priority {
	case "low":
		line += "; Priority=Low"
	case "medium":
		line += "; Priority=Medium"
	case "high":
		line += "; Priority=High"
	}
	return line
}

func (c Cookie) autoName() bool { return c.Name == "" || c.Name == "auto" }

// domain returns the Domain in canonical form, or "" for none.
func (c Cookie) domain() string {
	if c.Domain == "" {
		return ""
	}
	domain, _ := CanonicalHost(strings.TrimPrefix(c.Domain, "."))
	return domain
}

// needsSecure returns what makes the cookie Secure whatever the request, in
// words for an error message, or "" for nothing.
func (c Cookie) needsSecure() string {
	switch {
	case c.SameSite == "none":
		return "same_site none"
	case c.Partitioned:
		return "partitioned"
	case hasPrefixFold(c.Name, "__Host-"): // __Host-Http- too
		return "a name that begins with __Host-"
	case hasPrefixFold(c.Name, "__Secure-"):
		return "a name that begins with __Secure-"
	case hasPrefixFold(c.Name, "__Http-"):
		return "a name that begins with __Http-"
	}
	return ""
}

// hasPrefixFold reports whether s begins with prefix in any case: so user
// agents compare name prefixes (RFC 6265bis 5.4).
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
