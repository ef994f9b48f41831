package caddysession

import (
	"errors"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/internal/appcookies"
	"github.com/caddy-session/caddy-session/internal/caching"
	"github.com/caddy-session/caddy-session/internal/response"
	"github.com/caddy-session/caddy-session/session"
)

// unmatched is a request that a handler does not own, and its response: without a
// session, but with everything removed that is ours.
type unmatched struct {
	h        *Handler
	visit    *visit
	reserved reserved
	owner    *Handler            // the handler around this one that has the session, or nil
	cookies  *appcookies.Cookies // nil with an owner: its rules apply
	writer   response.Writer
}

// pass serves a request that this handler does not own.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, v *visit, ours reserved) error {
	u := &unmatched{h: h, visit: v, reserved: ours, owner: v.owner()}
	if u.owner == nil {
		v.session = nil // that of the route before the error
		u.cookies = h.appCookies.Enter(r, &v.cookies, nil, h.originOf(r), browserPath(r))
		u.cookies.Show()
	}
	u.writer.Wrap(w, u)
	defer func() { u.strip(w.Header()) }() // of trailers; and the access log shows it, after a panic too
	err := next.ServeHTTP(&u.writer, r)
	u.writer.End()
	return err
}

// Interim implements [response.Hooks].
func (u *unmatched) Interim(header http.Header) {
	u.cookies.Clean(header, u.visit.line)
	u.strip(header)
}

// Final implements [response.Hooks].
func (u *unmatched) Final(header http.Header, _ int) error {
	if u.cookies.Take(header, u.visit.line) {
		u.cookies.Refuse(errNoSession)
	}
	u.strip(header)
	u.cookies.Send(header, u.visit.line, session.Result{})
	if u.cookies.Private() {
		caching.MakePrivate(header)
	}
	return nil
}

var errNoSession = errors.New("it is to be kept, and the matcher leaves the request without a session")

// The rest of [response.Hooks].
func (u *unmatched) Sent()             {}
func (u *unmatched) Hijacked(net.Conn) {}

func (u *unmatched) strip(header http.Header) {
	managed := u.h.protocol.ManagesResponse
	if u.owner != nil { // it obeys its own headers after us
		managed = func(name string) bool {
			return u.h.protocol.ManagesResponse(name) && !u.owner.protocol.ManagesResponse(name)
		}
	}
	session.Strip(header, managed)
	session.StripList(header, "Trailer", managed)
	u.h.dropCookies(header, u.reserved, u.visit.line)
	u.h.appCookies.StripTrailers(header)
}

var _ response.Hooks = (*unmatched)(nil)
