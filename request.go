package caddysession

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session"
)

// requestState is what the session handlers of one request share: several in a
// row, and those in error routes.
type requestState struct {
	// cookies are the Cookie lines as they came, before a handler took the
	// session cookie out.
	cookies []string

	// names are those of the session cookies of all handlers so far.
	names []string

	// oddCookie tells that there is a Cookie line whose name is not spelled
	// so, which is not from net/http but may be from another handler.
	oddCookie bool

	// reread tells that a handler has rewritten the Cookie lines by its rules:
	// the next one with rules starts from cookies again.
	reread bool

	// kept is the handler whose rules the cookies of the response have gone
	// through, nil if none has rules.
	kept *Handler

	// owner is the handler that runs the session, nil outside of it.
	owner *Handler

	// exchange is what the owner does with the request, nil outside of it,
	// and running how many session handlers are around what runs now.
	exchange *exchange
	running  int

	// session is the request's session as it was loaded, nil if there is
	// none. It stays when its handler has returned: for access logs, and until
	// an error route takes up the session afresh. subjectKey is that of its
	// handler.
	session    *session.Session
	subjectKey string

	// placeholders tells that the request's replacer knows them.
	placeholders bool

	// cookie is the Set-Cookie line that an owner has put into the response,
	// or "".
	cookie string

	// asked tells that an application was asked behind an owner.
	asked bool

	// guard removes our names from the trailers, nil if none are announced.
	guard *trailerGuard

	// left tells that a session handler has returned: what comes now is an
	// error route.
	left bool

	// user is what {http.auth.user.id} shows, "" if it is not from a session.
	// It stays, as session does, but also where an error route has no session.
	// userSet tells that the replacer has it, too.
	user    string
	userSet bool

	// first is the exchange of nearly all requests, in the same memory.
	first exchange
}

const stateVar = "caddy_session"

// stateOf returns the state of a request, made at the first call.
func stateOf(r *http.Request) *requestState {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if s, ok := vars[stateVar].(*requestState); ok {
		return s
	}
	s := &requestState{cookies: r.Header["Cookie"]}
	if vars != nil {
		vars[stateVar] = s
	}
	return s
}

// newExchange returns memory for an exchange.
func (s *requestState) newExchange() *exchange {
	if s.first.Handler == nil {
		return &s.first
	}
	return new(exchange)
}

// addNames adds the names of a handler's session cookie.
func (s *requestState) addNames(names []string) {
	if s.names == nil {
		s.names = slices.Clip(names) // most often there is one handler, and this is free
		return
	}
	s.names = append(s.names, names...)
}

// String keeps the cookies out of {http.vars.caddy_session}.
func (*requestState) String() string { return "" }

// stripRequest removes what clients must not send. A handler inside another
// one leaves alone what the owner has put in.
func (h *Handler) stripRequest(r *http.Request, state *requestState) {
	managed := h.managed
	if owner := state.owner; owner != nil {
		managed = func(name string) bool {
			return h.protocol.ManagesRequest(name) && !owner.protocol.ManagesRequest(name)
		}
	}
	for name := range r.Header {
		switch {
		case managed(name):
			delete(r.Header, name)
		case len(name) == len("Cookie") && name != "Cookie" && strings.EqualFold(name, "Cookie"):
			state.oddCookie = true
		}
	}
	managed = h.withCookie(r, managed)
	// reverse_proxy removes what Connection names after we have injected.
	session.StripList(r.Header, "Connection", managed)
	session.StripList(r.Header, "Trailer", managed)
	switch {
	case r.Trailer == nil:
	case state.guard != nil && (state.left || state.guard.started.Load()):
		// A proxy that has given up may still be reading the body, and
		// net/http be writing the trailers: the map is out of bounds.
		r.Trailer = nil
	default:
		session.Strip(r.Trailer, managed)
		state.guard = &trailerGuard{ReadCloser: r.Body, trailer: r.Trailer, managed: managed}
		r.Body = state.guard
	}
}

// stripCookies removes the session cookies, after stripRequest.
func (h *Handler) stripCookies(r *http.Request, state *requestState) {
	if state.oddCookie {
		cookiejar.Strip(r.Header, h.cookie.Names()...)
		return
	}
	cookiejar.StripKey(r.Header, "Cookie", h.cookie.Names()...)
}

// trailerGuard removes managed names from the trailers when the body has ended,
// which is when net/http adds all that the client sent, announced or not.
type trailerGuard struct {
	io.ReadCloser
	trailer http.Header
	managed func(string) bool
	started atomic.Bool // the body is being read
}

func (g *trailerGuard) Read(p []byte) (int, error) {
	g.started.Store(true)
	n, err := g.ReadCloser.Read(p)
	if err != nil {
		session.Strip(g.trailer, g.managed)
	}
	return n, err
}

// isHTTPS reports whether the client speaks HTTPS, with us or with a trusted
// proxy in front of us.
func isHTTPS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		return false
	}
	lines := r.Header["X-Forwarded-Proto"]
	return len(lines) > 0 && strings.EqualFold(strings.TrimSpace(lines[len(lines)-1]), "https")
}

// sendCookie puts our Set-Cookie line into a response, in place of one from
// before an error.
func (s *requestState) sendCookie(header http.Header, line string) {
	if s.sentCookie(header) {
		others := slices.Clone(header["Set-Cookie"])
		header["Set-Cookie"] = slices.DeleteFunc(others, func(other string) bool { return other == s.cookie })
	}
	header.Add("Set-Cookie", line)
	s.cookie = line
}

// sentCookie reports whether our Set-Cookie line is in a response.
func (s *requestState) sentCookie(header http.Header) bool {
	return s.cookie != "" && slices.Contains(header["Set-Cookie"], s.cookie)
}

// dropCookies removes cookies of our name that the application sets: they
// would sign the user out, or in as somebody else. The line own is kept, that
// of a session handler behind this one, unless it is "".
func (h *Handler) dropCookies(header http.Header, own string) {
	if i := slices.Index(header["Set-Cookie"], own); i >= 0 && own != "" {
		header["Set-Cookie"] = slices.Concat(header["Set-Cookie"][:i], header["Set-Cookie"][i+1:])
		defer header.Add("Set-Cookie", own)
	}
	for _, name := range cookiejar.DropSetCookie(header, h.cookie.Names()...) {
		h.logger.Warn("dropping a cookie that the application sets under the name of the session cookie", zap.String("name", name))
	}
}
