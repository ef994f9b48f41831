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

// passing is a request that a handler does not own, and its response: without a
// session, but with everything removed that is ours.
type passing struct {
	h       *Handler
	visit   *visit
	owner   *Handler            // the handler around this one that has the session, or nil
	cookies *appcookies.Cookies // nil with an owner: its rules apply
	writer  response.Writer
}

// pass serves a request that this handler does not own.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, v *visit) error {
	p := &passing{h: h, visit: v, owner: v.owner()}
	if p.owner == nil {
		v.session = nil // that of the route before the error
		p.cookies = h.appCookies.Enter(r, &v.cookies, nil, h.originOf(r), browserPath(r))
		p.cookies.Show()
	}
	p.writer.Wrap(w, p)
	defer func() { p.strip(w.Header()) }() // of trailers; and the access log shows it, after a panic too
	err := next.ServeHTTP(&p.writer, r)
	p.writer.End()
	return err
}

// Interim implements [response.Hooks].
func (p *passing) Interim(header http.Header) {
	p.strip(header)
	p.cookies.Clean(header, p.visit.line)
}

// Final implements [response.Hooks].
func (p *passing) Final(header http.Header, _ int) error {
	p.strip(header)
	if p.cookies.Take(header, p.visit.line) {
		p.cookies.Refuse(errNoSession)
	}
	p.cookies.Send(header, p.visit.line, session.Result{})
	if p.cookies.Private() {
		caching.MakePrivate(header)
	}
	return nil
}

var errNoSession = errors.New("it is to be kept, and the matcher leaves the request without a session")

// The rest of [response.Hooks].
func (p *passing) Sent()             {}
func (p *passing) Hijacked(net.Conn) {}

func (p *passing) strip(header http.Header) {
	managed := p.h.protocol.ManagesResponse
	if p.owner != nil { // it obeys its own headers after us
		managed = func(name string) bool {
			return p.h.protocol.ManagesResponse(name) && !p.owner.protocol.ManagesResponse(name)
		}
	}
	session.Strip(header, managed)
	session.StripList(header, "Trailer", managed)
	p.h.dropCookies(header, p.visit.line)
	p.h.appCookies.StripTrailers(header)
}

var _ response.Hooks = (*passing)(nil)
