package caddysession

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/internal/appcookies"
	"github.com/caddy-session/caddy-session/session"
)

// visit is what the session handlers of one request share: several in a row, and
// those in error routes.
type visit struct {
	// cookies is about the cookies that came, and what was made of them.
	cookies appcookies.Shared

	// exchange is that of the handler that has the session, nil outside of it.
	exchange *exchange

	// depth is how many session handlers are around what runs now.
	depth int

	// session is the request's session as it was loaded, nil if there is
	// none, or with its data, once somebody has asked for that. It stays when its
	// handler has returned: for access logs, and until an error route takes up the
	// session afresh. loaded is the exchange that has loaded it.
	session *session.Session
	loaded  *exchange

	// user is what {http.auth.user.id} shows, "" if it is not from a session.
	// It stays, as session does, but also where an error route has no session.
	// userSet tells that the replacer has it, too.
	user    string
	userSet bool

	// line is our Set-Cookie line in the response, or "".
	line string

	// reached tells that an application was asked behind an exchange.
	reached bool

	// trailers removes our names from the trailers, nil if none are announced.
	trailers *trailerGuard

	// first is the exchange of nearly all requests, in the same memory.
	first exchange
}

const visitVar = "caddy_session"

// visitOf returns the visit of a request, made at the first call.
func visitOf(r *http.Request) *visit {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if v, ok := vars[visitVar].(*visit); ok {
		return v
	}
	v := &visit{cookies: appcookies.Shared{Lines: r.Header["Cookie"]}}
	if vars != nil {
		vars[visitVar] = v
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(v.placeholder)
	}
	return v
}

// String keeps the cookies out of {http.vars.caddy_session}.
func (*visit) String() string { return "" }

// enter begins a handler's part in the request: what clients must not send goes.
// odd is for reserved.strip.
func (v *visit) enter(h *Handler, r *http.Request) (odd bool) {
	v.depth++
	return h.stripRequest(r, v)
}

// reserve notes what a handler's session cookie reserves on the request, and
// returns what of that is for this handler to remove. With a handler around it that
// has the session, it is what that leaves open: it has removed its own, and the
// cookies that its rules decide about come from its jar.
func (v *visit) reserve(h *Handler, r *http.Request) reserved {
	names, shared := h.cookie.Reserved(h.cookie.SecureFor(h.originOf(r).HTTPS))
	if v.cookies.Names == nil { // most often there is one handler, and this is free
		v.cookies.Names, v.cookies.SharedNames = slices.Clip(names), slices.Clip(shared)
	} else {
		v.cookies.Names, v.cookies.SharedNames = append(v.cookies.Names, names...), append(v.cookies.SharedNames, shared...)
	}
	if x := v.exchange; x != nil {
		decided := func(name string) bool { return slices.Contains(x.reserved.names, name) || x.h.StripsCookie(name) }
		names, shared = slices.DeleteFunc(slices.Clone(names), decided), slices.DeleteFunc(slices.Clone(shared), decided)
	}
	return reserved{names, shared}
}

// leave ends a handler's part in the request. After an error, nothing of the
// session is left in it: error routes share the header map, and a proxy in one of
// them must not get a session that nobody commits.
func (v *visit) leave(h *Handler, r *http.Request, err error) {
	v.depth--
	if v.trailers != nil {
		v.trailers.returned = true
	}
	if err == nil || v.exchange != nil { // which has the session still
		return
	}
	h.protocol.StripRequest(r.Header)
	h.stripOriginalPath(r)
	h.appCookies.Enter(r, &v.cookies, nil, h.originOf(r), browserPath(r))
}

// newExchange begins the exchange of a handler that has the session. The caller
// calls its release.
func (v *visit) newExchange(h *Handler, r *http.Request, ours reserved) *exchange {
	x := &v.first
	if x.h != nil {
		x = new(exchange)
	}
	*x = exchange{h: h, visit: v, request: r, reserved: ours}
	v.exchange = x
	return x
}

// whole returns the request's session with its data, nil if there is none, or none any
// more by what the application has asked for. The error is what the client gets.
func (v *visit) whole() (*session.Session, error) {
	if !v.session.Unread() {
		return v.session, nil
	}
	now, own := v.loaded.leaves()
	switch {
	case !own:
		now = v.session
	case now == nil || now.ID() != v.session.ID(): // what was there is gone for good
		return nil, nil
	}
	s, err := v.loaded.whole(now)
	if err == nil && s == nil {
		err = caddyhttp.Error(http.StatusServiceUnavailable,
			fmt.Errorf("session %s: its data can't be read: it has ended or was renewed since the request began", v.session.ID()))
	}
	if err != nil {
		return nil, err
	}
	v.session = s
	return s, nil
}

// owner returns the handler that has the session, nil outside of it.
func (v *visit) owner() *Handler {
	if v.exchange == nil {
		return nil
	}
	return v.exchange.h
}

// setCookie puts our Set-Cookie line into a response, in place of one from before
// an error.
func (v *visit) setCookie(header http.Header, line string) {
	if v.hasCookie(header) {
		others := slices.Clone(header["Set-Cookie"])
		header["Set-Cookie"] = slices.DeleteFunc(others, func(other string) bool { return other == v.line })
	}
	header.Add("Set-Cookie", line)
	v.line = line
}

// hasCookie reports whether our Set-Cookie line is in a response.
func (v *visit) hasCookie(header http.Header) bool {
	return v.line != "" && slices.Contains(header["Set-Cookie"], v.line)
}
