// Package origin answers one question in one place: where does a request come
// from? Everything that depends on HTTPS or not, on the site whose page has
// caused the request, or on its being a navigation, asks here.
package origin

import (
	"net/http"
	"strings"

	"github.com/caddy-session/caddy-session/cookiejar"
)

// Site is whose page has caused a request, by scheme and registrable domain.
type Site int

const (
	// Unsaid is what plain HTTP, old browsers and programs leave open with GET:
	// a link followed from another site looks like a bookmark.
	Unsaid Site = iota

	// Opaque is a page that hides its origin: one in a sandbox, or one with
	// `Referrer-Policy: no-referrer`.
	Opaque

	// Same is the site of the request, or the user.
	Same

	// Cross is another site.
	Cross
)

// Settings are what the handler knows.
type Settings struct {
	// TrustedProxy tells that the peer is a proxy whose X-Forwarded headers are
	// believed.
	TrustedProxy bool

	// AlwaysHTTPS tells that browsers speak HTTPS whatever the request says.
	AlwaysHTTPS bool

	// HeldBack tells that browsers send our cookie with no request that
	// another site has caused, links that are followed aside: it is
	// SameSite=Lax or Strict. Strict tells that not even links are an exception.
	HeldBack, Strict bool
}

// Origin is where a request comes from.
type Origin struct {
	// HTTPS tells that the browser speaks HTTPS, with us or with a trusted
	// proxy in front of us.
	HTTPS bool

	request  *http.Request
	settings Settings
}

// Of returns the origin of a request.
func Of(r *http.Request, s Settings) Origin {
	return Origin{HTTPS: s.AlwaysHTTPS || r.TLS != nil || s.TrustedProxy && SaysHTTPS(r.Header), request: r, settings: s}
}

// SaysHTTPS reports whether X-Forwarded-Proto says that the browser speaks HTTPS,
// to whoever was the first to write there.
func SaysHTTPS(h http.Header) bool {
	proto := first(h["X-Forwarded-Proto"])
	return strings.EqualFold(proto, "https") || strings.EqualFold(proto, "wss")
}

// first returns the first element of a header that is a list, "" without one.
func first(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	element, _, _ := strings.Cut(lines[0], ",")
	return strings.TrimSpace(element)
}

// Site returns the site whose page has caused the request. live tells that the
// request came with our cookie, and that it is good.
//
// Browsers say it in Sec-Fetch-Site on HTTPS (Fetch Metadata, section 2.3). Where
// that is missing, Origin decides, which comes with everything but GET and HEAD,
// with WebSockets, and with what scripts fetch from elsewhere.
func (o Origin) Site(live bool) Site {
	if lines := o.request.Header["Sec-Fetch-Site"]; len(lines) > 0 {
		switch lines[0] {
		case "same-origin", "same-site", "none":
			if len(lines) == 1 {
				return Same
			}
		}
		return Cross
	}
	lines := o.request.Header["Origin"]
	switch {
	case len(lines) == 0:
		return Unsaid
	case len(lines) > 1:
		return Cross
	case lines[0] == "null" && live && o.settings.HeldBack:
		return Same // or our cookie would not be there
	case lines[0] == "null":
		return Opaque
	case o.isSame(lines[0]):
		return Same
	}
	return Cross
}

// isSame reports whether an Origin is of the request's site.
func (o Origin) isSame(origin string) bool {
	scheme, hostport, ok := strings.Cut(origin, "://")
	if !ok || scheme != "https" && o.HTTPS || scheme != "http" && !o.HTTPS {
		return false
	}
	// A proxy in front of us may have written another Host. Sessions belong to
	// that, but it is not what the browser compares.
	host := o.request.Host
	if forwarded := first(o.request.Header["X-Forwarded-Host"]); forwarded != "" && o.settings.TrustedProxy {
		host = forwarded
	}
	from, ok := cookiejar.CanonicalHost(hostport)
	to, ok2 := cookiejar.CanonicalHost(host)
	return ok && ok2 && cookiejar.SameSiteHosts(from, to)
}

// TopLevel reports whether the request is for what a browser's address bar shows
// next: a navigation that is nested in no other page. One that goes through a
// service worker has an empty destination.
func (o Origin) TopLevel() bool {
	h := o.request.Header
	return is(h["Sec-Fetch-Mode"], "navigate") && (is(h["Sec-Fetch-Dest"], "document") || is(h["Sec-Fetch-Dest"], "empty"))
}

func is(lines []string, value string) bool { return len(lines) == 1 && lines[0] == value }

// Safe reports whether the method is safe (RFC 9110, section 9.2.1).
func (o Origin) Safe() bool {
	switch o.request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// Preflight reports whether a browser asks beforehand whether a script of another
// origin may send a request (Fetch, section 3.3.1). It sends no cookies with
// that.
func (o Origin) Preflight() bool {
	h := o.request.Header
	return o.request.Method == http.MethodOptions && len(h["Origin"]) > 0 && len(h["Access-Control-Request-Method"]) > 0
}

// MayHoldBack reports whether the browser may have our cookie and yet have sent the
// request without it. Where one with another cookie is its answer, that takes the
// place of the one that was held back.
func (o Origin) MayHoldBack() bool {
	return o.Preflight() || o.settings.HeldBack && (o.settings.Strict || !o.Safe() || !o.TopLevel()) && o.Site(false) == Cross
}

// CookieContext returns what the request is to cookies, but for the session's id
// and the time. path is that of the URL as the browser has it; live is as in
// Site.
//
// What can't be known counts as same-site: our own session cookie, without which
// there is no jar, is SameSite=Lax there as well, so that only followed links come
// with it; a Strict cookie in the jar goes with these.
func (o Origin) CookieContext(path string, live bool) cookiejar.Context {
	host, _ := cookiejar.CanonicalHost(o.request.Host)
	site := o.Site(live)
	return cookiejar.Context{Host: host, Path: path, Secure: o.HTTPS,
		CrossSite: site == Cross || site == Opaque, TopLevel: o.TopLevel(), Safe: o.Safe()}
}
