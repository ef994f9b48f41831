package caddysession

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session"
)

// stripRequest removes what clients must not send. A handler inside another one
// leaves alone what that has put in. odd tells that there is a Cookie line whose
// name is not spelled so, which is not from net/http but may be from another
// handler.
func (h *Handler) stripRequest(r *http.Request, v *visit) (odd bool) {
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
	managed = h.withCookie(r, managed)
	// reverse_proxy removes what Connection names after we have injected.
	session.StripList(r.Header, "Connection", managed)
	session.StripList(r.Header, "Trailer", managed)
	switch {
	case r.Trailer == nil:
	case v.trailers != nil && (v.trailers.left || v.trailers.started.Load()):
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

// withCookie adds Cookie to the headers that clients can't make a proxy delete,
// or send as trailers, while we put something into it.
func (h *Handler) withCookie(r *http.Request, managed func(string) bool) func(string) bool {
	if h.appCookies == nil || r.Trailer == nil && len(r.Header["Connection"])+len(r.Header["Trailer"]) == 0 {
		return managed
	}
	return func(name string) bool { return managed(name) || strings.EqualFold(name, "Cookie") }
}

// stripCookies removes the session cookies, after stripRequest.
func (h *Handler) stripCookies(r *http.Request, odd bool) {
	if odd {
		cookiejar.Strip(r.Header, h.cookieNames...)
		return
	}
	cookiejar.StripKey(r.Header, "Cookie", h.cookieNames...)
}

// trailerGuard removes managed names from the trailers when the body has ended,
// which is when net/http adds all that the client sent, announced or not.
type trailerGuard struct {
	io.ReadCloser
	trailer http.Header
	managed func(string) bool
	started atomic.Bool // the body is being read
	left    bool        // a session handler has returned: what comes now is an error route
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
// of a session handler behind this one, unless it is "".
func (h *Handler) dropCookies(header http.Header, own string) {
	if i := slices.Index(header["Set-Cookie"], own); i >= 0 && own != "" {
		header["Set-Cookie"] = slices.Concat(header["Set-Cookie"][:i], header["Set-Cookie"][i+1:])
		defer header.Add("Set-Cookie", own)
	}
	for _, name := range cookiejar.DropSetCookie(header, h.cookieNames...) {
		h.logger.Warn("dropping a cookie that the application sets under the name of the session cookie", zap.String("name", name))
	}
}
