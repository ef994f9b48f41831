package caddysession

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/internal/logging"
	"github.com/caddy-session/caddy-session/session"
)

// stripRequest removes what clients must not send. A handler inside another one
// leaves alone what that has put in. odd tells that there is a Cookie line whose
// name is not spelled so, which is not from net/http but may be from another
// handler.
func (h *Handler) stripRequest(r *http.Request, v *visit) (odd bool) {
	h.stripPath(r)
	managed := h.managed
	if owner := v.owner(); owner != nil {
		managed = func(name string) bool { return h.managed(name) && !owner.managed(name) }
	}
	for name := range r.Header {
		switch {
		case managed(name):
			delete(r.Header, name)
		case len(name) == len("Cookie") && name != "Cookie" && strings.EqualFold(name, "Cookie"):
			odd = true
		}
	}
	managed = h.withCookie(r, h.stripUpgrade(r, managed))
	// reverse_proxy removes what Connection names after we have injected.
	session.StripList(r.Header, "Connection", managed)
	session.StripList(r.Header, "Trailer", managed)
	switch {
	case r.Trailer == nil:
	case v.trailers != nil && (v.trailers.returned || v.trailers.started.Load()):
		// A proxy that has given up may still be reading the body, and
		// net/http be writing the trailers: the map is out of bounds.
		r.Trailer = nil
	default:
		session.Strip(r.Trailer, managed)
		v.trailers = &trailerGuard{ReadCloser: r.Body, trailer: r.Trailer, managed: managed}
		r.Body = v.trailers
	}
	return odd
}

// websocket is the one protocol to which every client may switch: what is inside
// can't be taken for another request.
const websocket = "websocket"

// mayUpgrade reports whether clients may leave HTTP for a protocol (RFC 9110,
// section 7.8).
func (h *Handler) mayUpgrade(protocol string) bool {
	return strings.EqualFold(protocol, websocket) ||
		slices.ContainsFunc(h.Upgrade, func(other string) bool { return strings.EqualFold(other, protocol) })
}

// stripUpgrade keeps clients from leaving HTTP for another protocol than those
// that are allowed: an application that speaks h2c, say, would find requests in
// it that nobody has stripped. It returns managed with the names that must not
// be in Connection any more.
func (h *Handler) stripUpgrade(r *http.Request, managed func(string) bool) func(string) bool {
	lines := r.Header["Upgrade"]
	_, settings := r.Header["Http2-Settings"]
	if len(lines) == 0 && !settings {
		return managed
	}
	var gone []string
	if !h.mayUpgrade("h2c") {
		delete(r.Header, "Http2-Settings")
		gone = append(gone, "Http2-Settings")
	}
	delete(r.Header, "Upgrade")
	for protocol := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		if protocol = strings.Trim(protocol, " \t"); h.mayUpgrade(protocol) {
			r.Header["Upgrade"] = []string{protocol} // reverse_proxy knows one
			break
		}
	}
	if r.Header["Upgrade"] == nil {
		gone = append(gone, "Upgrade")
	}
	return func(name string) bool {
		return managed(name) || slices.ContainsFunc(gone, func(other string) bool { return strings.EqualFold(other, name) })
	}
}

// refuseMethod refuses the methods that are not about a resource: TRACE, whose
// answer shows the client what only the application is to see, and CONNECT, but
// for a WebSocket (RFC 8441, RFC 9220), as reverse_proxy knows it.
func refuseMethod(w http.ResponseWriter, r *http.Request) error {
	switch {
	case strings.EqualFold(r.Method, http.MethodTrace): // some servers know no case
	case strings.EqualFold(r.Method, http.MethodConnect) &&
		!(r.ProtoMajor == 2 && r.Header.Get(":protocol") == websocket) && !(r.ProtoMajor == 3 && r.Proto == websocket):
	default:
		return nil
	}
	w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	return caddyhttp.Error(http.StatusMethodNotAllowed, fmt.Errorf("the method %s is not for applications with sessions", r.Method))
}

// withCookie adds Cookie to the headers that clients can't make a proxy delete,
// or send as trailers, while we put something into it.
func (h *Handler) withCookie(r *http.Request, managed func(string) bool) func(string) bool {
	if h.appCookies == nil || r.Trailer == nil && len(r.Header["Connection"])+len(r.Header["Trailer"]) == 0 {
		return managed
	}
	return func(name string) bool { return managed(name) || strings.EqualFold(name, "Cookie") }
}

// reserved are the names of the session cookie on one request: see
// [cookiejar.SessionCookie.Reserved].
type reserved struct{ names, shared []string }

// strip removes the session cookies, after stripRequest.
func (c reserved) strip(header http.Header, odd bool) {
	if odd {
		cookiejar.Strip(header, c.names...)
	} else {
		cookiejar.StripKey(header, "Cookie", c.names...)
	}
	if len(c.shared) > 0 {
		cookiejar.StripTokens(header, session.IsCookie, c.shared...)
	}
}

// stripPath removes path parameters under which an application would take what
// the client may not send as a cookie: see [cookiejar.Keeper.StripPath].
func (h *Handler) stripPath(r *http.Request) {
	if !h.stripURL(r.Host, r.URL) {
		return
	}
	r.RequestURI = r.URL.RequestURI()
	if log := h.logger.Check(zap.DebugLevel, "removing parameters from a path: their names are those of cookies that do not pass"); log != nil {
		log.Write(logging.Request(r, r.URL.EscapedPath()))
	}
}

// stripOriginalPath is stripPath for what Caddy makes the request's URL again before
// it runs error routes.
func (h *Handler) stripOriginalPath(r *http.Request) {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		h.stripURL(r.Host, original.URL)
	}
}

// stripURL reports whether it had anything to remove. What net/url takes for opaque
// is a path, too: of "x:http://host/path", "http://host/path" goes upstream.
func (h *Handler) stripURL(hostport string, u *url.URL) bool {
	if h.appCookies == nil {
		return false
	}
	escaped := u.EscapedPath()
	path, opaque := h.appCookies.Keeper.StripPath(hostport, escaped), h.appCookies.Keeper.StripPath(hostport, u.Opaque)
	if path == escaped && opaque == u.Opaque {
		return false
	}
	u.Path, _ = url.PathUnescape(path) // it has whole escapes
	if u.RawPath = ""; u.EscapedPath() != path {
		u.RawPath = path
	}
	u.Opaque = opaque
	return true
}

// trailerGuard removes managed names from the trailers when the body has ended,
// which is when net/http adds all that the client sent, announced or not.
type trailerGuard struct {
	io.ReadCloser
	trailer  http.Header
	managed  func(string) bool
	started  atomic.Bool // the body is being read
	returned bool        // a session handler has returned: what comes now is an error route
}

func (g *trailerGuard) Read(p []byte) (int, error) {
	g.started.Store(true)
	n, err := g.ReadCloser.Read(p)
	if err != nil {
		session.Strip(g.trailer, g.managed)
	}
	return n, err
}

// dropCookies removes cookies of our name that the application sets: they
// would sign the user out, or in as somebody else. The line own is kept, that
// of a session handler behind this one, unless it is "". What the rules keep is
// gone before.
func (h *Handler) dropCookies(header http.Header, ours reserved, own string) {
	if i := slices.Index(header["Set-Cookie"], own); i >= 0 && own != "" {
		header["Set-Cookie"] = slices.Concat(header["Set-Cookie"][:i], header["Set-Cookie"][i+1:])
		defer header.Add("Set-Cookie", own)
	}
	names := cookiejar.DropSetCookie(header, ours.names...)
	if len(ours.shared) > 0 {
		names = append(names, cookiejar.DropTokens(header, session.IsCookie, ours.shared...)...)
	}
	if len(names) > 0 {
		h.lines.ownCookie.Log(h.logger.Warn, "dropping a cookie that the application sets under the name of the session cookie: "+
			"give the session cookie another one, with cookie { name ... } in the session block, or keep the application's, with cookies { keep ... }", "",
			zap.Int("lines", len(names)), zap.Strings("names", slices.Compact(slices.Sorted(slices.Values(names)))))
	}
}
