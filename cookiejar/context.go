package cookiejar

import (
	"net/http"
	"strings"
	"time"
)

// Context is what decides which cookies go with a request, and which ones its
// response may set.
type Context struct {
	Host   string // canonical; "" if the request's has no such form
	Path   string // of the URL as the user agent has it, percent-encoded
	Secure bool   // came over HTTPS

	// CrossSite tells that another site has caused the request; TopLevel that
	// it is what a browser's address bar shows next; Safe that its method is.
	CrossSite, TopLevel, Safe bool

	Session string // the id of the session, "" without one
	Now     time.Time
}

// NewContext returns the context of a request; host and path are as in [Context].
//
// Browsers say in Sec-Fetch-Site who has caused a request on HTTPS. Where that is
// missing (plain HTTP, old browsers, programs), Origin decides, which comes with
// everything but GET and HEAD, with WebSockets, and with what scripts fetch from
// elsewhere. A request with neither counts as same-site, since it can't be known:
// a link followed from another site and an image on it look like a bookmark. Our
// own session cookie, without which there is no jar, is SameSite=Lax there as
// well, so that only followed links come with it; a Strict cookie in the jar
// goes with these.
func NewContext(r *http.Request, host, path string, secure bool, now time.Time) Context {
	c := Context{Host: host, Path: path, Secure: secure, Now: now}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		c.Safe = true
	}
	if lines := r.Header["Sec-Fetch-Site"]; len(lines) > 0 {
		switch lines[0] {
		case "same-origin", "same-site", "none":
			c.CrossSite = len(lines) > 1
		default:
			c.CrossSite = true
		}
		c.TopLevel = is(r.Header["Sec-Fetch-Mode"], "navigate") && is(r.Header["Sec-Fetch-Dest"], "document")
		return c
	}
	lines := r.Header["Origin"]
	c.CrossSite = len(lines) > 1 || len(lines) == 1 && !c.isSameSite(lines[0])
	return c
}

func is(lines []string, value string) bool { return len(lines) == 1 && lines[0] == value }

// isSameSite reports whether an Origin is of the request's site, by scheme and
// registrable domain.
func (c Context) isSameSite(origin string) bool {
	scheme, hostport, ok := strings.Cut(origin, "://")
	if !ok || scheme != "https" && c.Secure || scheme != "http" && !c.Secure {
		return false
	}
	host, ok := CanonicalHost(hostport)
	return ok && sameSite(host, c.Host)
}

// sends reports whether a cookie goes with the request, by its SameSite
// (RFC 6265bis 5.8.3).
func (c Context) sends(s SameSite) bool {
	return !c.CrossSite || s == SameSiteNone || s != SameSiteStrict && c.TopLevel && c.Safe
}

// accepts reports whether the response may set a cookie, by its SameSite
// (RFC 6265bis 5.7).
func (c Context) accepts(s SameSite) bool {
	return !c.CrossSite || s == SameSiteNone || c.TopLevel
}
