package caddysession

import (
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/session"
)

// pass serves a request that this handler does not own: without a session, but
// with everything removed that is ours.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, state *requestState) error {
	if state.owner == nil {
		state.session = nil // that of the route before the error
	}
	p := &passing{Handler: h, state: state, owner: state.owner, request: r}
	p.openCookies(r)
	p.writer.wrap(w, p)
	defer func() { p.strip(w.Header()) }() // of trailers; and the access log shows it, after a panic too
	err := next.ServeHTTP(&p.writer, r)
	p.writer.end()
	if err != nil && p.rules() {
		h.protocol.StripRequest(r.Header) // as exchange does, for error routes
	}
	return err
}

// passing keeps the responses of requests clean that have no session here.
type passing struct {
	*Handler
	request *http.Request
	writer  hookWriter
	state   *requestState
	owner   *Handler // the handler around this one that has the session, or nil
	jar     jarExchange
}

func (p *passing) interim(header http.Header) {
	p.strip(header)
	if p.rules() {
		p.cleanCookies(header, p.state)
	}
}

func (p *passing) final(header http.Header, _ int) error {
	p.strip(header)
	p.sendCookies(header)
	return nil
}

func (p *passing) sent()             {}
func (p *passing) flushed()          {}
func (p *passing) hijacked(net.Conn) {}

func (p *passing) strip(header http.Header) {
	managed := p.protocol.ManagesResponse
	if p.owner != nil { // it obeys its own headers after us
		managed = func(name string) bool {
			return p.protocol.ManagesResponse(name) && !p.owner.protocol.ManagesResponse(name)
		}
	}
	session.Strip(header, managed)
	session.StripList(header, "Trailer", managed)
	p.dropCookies(header, p.state.cookie)
	p.stripCookieTrailers(header)
}
