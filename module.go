// Package caddysession puts server-side sessions in front of applications that
// have none. It is the part that knows Caddy: the handler (module.go), the
// response writer that commits (response.go), the app that owns the store
// (app.go, stores.go), and the Caddyfile (caddyfile.go). The engine is in
// package session, cookies are in package cookiejar.
package caddysession

import (
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler gives the applications behind it server-side sessions. The browser
// holds one opaque cookie; the application reads its session from the request
// headers `X-Session-Id`, `X-Session-User`, `X-Session-Version` and
// `X-Session-Data`, and changes it with the response headers `X-Session-Set`,
// `X-Session-Unset` and `X-Session-Control`. Requests without a session have
// none of these headers, whatever the client sends, and clients never see the
// response headers.
//
// Without any setting it is a good and safe configuration. Where the sessions
// are kept is a matter of the `session` app.
//
// A request with a session has the placeholder `{http.auth.user.id}` if a user
// is signed in.
type Handler struct {
	// Which requests have sessions. Default: all. The other requests pass
	// without a session, but are not exempt from the removal of headers and
	// cookies that clients must not send or applications not see. So this is
	// where a matcher belongs, rather than on the route.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// A session ends when it was not used for this long. Default: 30m, or
	// the lifetime if that is shorter.
	Idle caddy.Duration `json:"idle,omitempty"`

	// A session ends this long after its creation, or after the last time a
	// user signed in. Default: 24h.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// The longest time for which an application may keep a session with
	// `max-age` ("remember me"). Default: 30d. At most 400d.
	Remember caddy.Duration `json:"remember,omitempty"`

	// How often at most the use of a session is written to the store. Never
	// more than a quarter of idle. Default: 1m.
	Touch caddy.Duration `json:"touch,omitempty"`

	// Who is signed in.
	Subject *Subject `json:"subject,omitempty"`

	// The set of users that subjects belong to: sites with the same realm and
	// store know the same users. Default: the cookie's domain, else the host.
	Realm string `json:"realm,omitempty"`

	// Data keys that are sent upstream as headers of their own, instead of
	// all data in one header.
	Forward []session.Forward `json:"forward,omitempty"`

	// What the names of all headers begin with. Default: `X-Session-`.
	HeaderPrefix string `json:"header_prefix,omitempty"`

	// The most bytes of session data in the headers of a request. Common
	// applications accept 8 KiB of headers in all. Default: 4096.
	Exposed int `json:"exposed,omitempty"`

	// The most bytes of data in a session. Default: 65536.
	MaxData int `json:"max_data,omitempty"`

	// What becomes of a request with a session cookie when the store can't
	// be asked: `fail` (the default) answers 503, `pass` lets it through as
	// anonymous, unable to create a session.
	OnStoreError string `json:"on_store_error,omitempty"`

	// Whether data is encrypted in the store, with a key that only the
	// browser's cookie yields: `on` (the default) or `off`, for workers that
	// read sessions.
	Encryption string `json:"encryption,omitempty"`

	// The session cookie.
	Cookie cookiejar.Cookie `json:"cookie,omitzero"`

	matchers    caddyhttp.MatcherSets
	manager     *session.Manager
	protocol    *session.Protocol
	cookieNames []string
	logger      *zap.Logger
}

// Subject says which data key holds the signed-in user.
type Subject struct {
	// The top-level data key whose value is the user, a string or a number.
	// Default: `user`.
	Key string `json:"key,omitempty"`

	// How many sessions a user may have; signing in once more ends the one
	// that signed in longest ago. Default: no limit.
	Max int `json:"max,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.session",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the handler.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	policy, protocol, err := h.compile()
	if err != nil {
		return err
	}
	h.protocol = protocol
	h.cookieNames = h.Cookie.Names()

	sets, err := ctx.LoadModule(h, "MatcherSetsRaw")
	if err != nil {
		return fmt.Errorf("loading matchers: %w", err)
	}
	if err := h.matchers.FromInterface(sets); err != nil {
		return err
	}
	app, err := ctx.App("session")
	if err != nil {
		return fmt.Errorf("loading the session app: %w", err)
	}
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	h.manager = session.NewManager(app.(*App).store, policy, protocol, h.logger, count)
	return nil
}

// maxRealm keeps the header line of a record within its bounds.
const maxRealm = 255

// compile checks the whole configuration, without side effects.
func (h *Handler) compile() (session.Policy, *session.Protocol, error) {
	p := session.DefaultPolicy()
	override := func(setting *time.Duration, value caddy.Duration) {
		if value != 0 {
			*setting = time.Duration(value)
		}
	}
	override(&p.Lifetime, h.Lifetime)
	if p.Idle = min(p.Idle, p.Lifetime); h.Idle != 0 {
		p.Idle = time.Duration(h.Idle)
	}
	override(&p.Remember, h.Remember)
	override(&p.Touch, h.Touch)
	if h.MaxData != 0 {
		p.MaxData = h.MaxData
	}
	if h.Exposed != 0 {
		p.Exposed = h.Exposed
	}
	if s := h.Subject; s != nil {
		if s.Key != "" {
			p.SubjectKey = s.Key
		}
		p.MaxSessions = s.Max
	}
	switch h.Encryption {
	case "", "on":
	case "off":
		p.Plain = true
	default:
		return p, nil, fmt.Errorf("encryption %q: write on or off", h.Encryption)
	}
	switch h.OnStoreError {
	case "", "fail", "pass":
	default:
		return p, nil, fmt.Errorf("on_store_error %q: write fail or pass", h.OnStoreError)
	}
	if len(h.Realm) > maxRealm {
		return p, nil, fmt.Errorf("realm has %d bytes, more than %d", len(h.Realm), maxRealm)
	}
	if err := p.Validate(); err != nil {
		return p, nil, err
	}
	if err := h.Cookie.Validate(); err != nil {
		return p, nil, err
	}
	protocol, err := session.NewProtocol(h.HeaderPrefix, h.Forward, p)
	return p, protocol, err
}

// ServeHTTP serves one request, in the order of the code: strip what clients
// must not send, load the session, show it to the application, commit what
// the response says.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	state := stateOf(r)
	h.stripRequest(r, state)

	matched, err := h.matches(r, state)
	cookiejar.Strip(r.Header, h.cookieNames...) // not before: matchers may want to see it
	switch {
	case err != nil:
		return err
	case !matched:
		return h.pass(w, r, next, state)
	}
	state.owner = h
	defer func() { state.owner = nil }()

	x := &exchange{Handler: h, request: r, state: state, started: time.Now()}
	if err := x.open(w, state.cookies); err != nil {
		return err
	}
	if err := x.inject(); err != nil {
		return err
	}
	err = x.serve(w, next)
	if err != nil {
		// Error routes share the header map: a proxy in one of them must
		// not get a session that nobody commits.
		h.protocol.StripRequest(r.Header)
	}
	return err
}

// matches reports whether this handler owns the request: its matcher says so,
// and no other session handler around it does already.
func (h *Handler) matches(r *http.Request, state *requestState) (bool, error) {
	if state.owner != nil {
		return false, nil
	}
	return h.matchers.AnyMatchWithError(r)
}

// exchange is one request and its response under a handler that owns them.
type exchange struct {
	*Handler
	request *http.Request
	state   *requestState
	started time.Time

	secure  bool // the cookie is Secure on this request
	site    session.Site
	hasSite bool             // the request's host has a canonical form within the cookie's domain
	session *session.Session // as loaded, nil if anonymous
	blind   bool             // the store could not tell, and the request passes as anonymous

	writer hookWriter
	room   [4]headerField // for the header as it was before
	failed bool           // no response of the application goes out
	touch  bool           // the session was used and not written
}

// open loads the session that the request's cookies present. The error is what
// the client gets.
func (x *exchange) open(w http.ResponseWriter, cookies []string) error {
	r := x.request
	x.secure = x.Cookie.SecureFor(isHTTPS(r))
	name := x.Cookie.NameFor(x.secure)
	host, ok := x.Cookie.ScopeHost(r.Host)
	if x.hasSite = ok; ok {
		path := x.Cookie.Path
		if path == "" {
			path = "/"
		}
		x.site = session.Site{Scope: session.Scope{Name: name, Host: host, Path: path}, Realm: x.Realm}
		if x.site.Realm == "" {
			x.site.Realm = host
		}
	}
	if len(cookies) == 0 {
		return nil
	}
	tokens, err := x.readTokens(cookies, name)
	if err != nil {
		return caddyhttp.Error(http.StatusRequestHeaderFieldsTooLarge, err)
	}
	if len(tokens) == 0 || !x.hasSite {
		return nil
	}
	x.session, err = x.manager.Open(r.Context(), x.site, tokens, x.started)
	if err == nil {
		return nil
	}
	if x.OnStoreError == "pass" {
		x.blind = true
		x.logger.Warn("the store can't be asked; letting the request pass as anonymous", zap.Error(err))
		return nil
	}
	if !x.state.asked { // else a retry would repeat what the application has done
		w.Header().Set("Retry-After", "1")
	}
	return caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// readTokens returns the different well-formed tokens in the Cookie lines, and
// none if there are more than anybody has by honest means.
func (x *exchange) readTokens(cookies []string, name string) ([]session.Token, error) {
	var room [cookiejar.MaxCandidates + 1]string
	var tokens []session.Token
	malformed := false
	values, err := cookiejar.Values(room[:0], cookies, name, func(value string) bool {
		t, ok := session.ParseToken(value)
		if ok {
			tokens = append(tokens, t)
		}
		malformed = malformed || !ok
		return ok
	})
	if err != nil {
		return nil, err
	}
	tooMany := len(values) > cookiejar.MaxCandidates
	if malformed || tooMany {
		x.manager.Count(session.EventMalformed)
	}
	if tooMany {
		return nil, nil
	}
	return tokens, nil
}

// inject shows the session to the application.
func (x *exchange) inject() error {
	if err := x.protocol.Inject(x.request.Header, x.session); err != nil {
		// The limit was lowered, and leaving something out would be a lie.
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	repl, ok := x.request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	switch {
	case !ok:
	case x.session != nil && x.session.Subject() != "":
		repl.Set("http.auth.user.id", session.EncodeValue(x.session.Subject()))
		x.state.named = true
	case x.state.named: // before the error that brought the request here
		repl.Delete("http.auth.user.id")
	}
	return nil
}

// pass serves a request that this handler does not own: without a session, but
// with everything removed that is ours.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, state *requestState) error {
	p := &passing{Handler: h, state: state, owner: state.owner}
	p.writer = wrap(w, p)
	defer func() { p.strip(w.Header()) }() // of trailers; and the access log shows it, after a panic too
	err := next.ServeHTTP(&p.writer, r)
	p.writer.end()
	return err
}

// serve runs the application and makes sure that the response was committed,
// or that the client gets none of it.
func (x *exchange) serve(w http.ResponseWriter, next caddyhttp.Handler) (err error) {
	before := saveHeader(x.room[:0], w.Header())
	x.writer = wrap(w, x)
	rw := &x.writer
	defer func() {
		if rw.failure != nil {
			// reverse_proxy aborts like this when it can't write the body.
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic value
				panic(p)
			}
			restoreHeader(w.Header(), before)
			err = rw.failure
		}
		// Of trailers, and of what the site itself has set before us; and the
		// access log shows it, after a panic too.
		x.protocol.StripResponse(w.Header())
	}()
	x.state.asked = true
	if err := next.ServeHTTP(rw, x.request); err != nil {
		// What never went out commits nothing.
		x.failed = true
		rw.end()
		return err
	}
	rw.end()
	return nil
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
