// Package caddysession puts server-side sessions in front of applications that
// have none. It is the part that knows Caddy: the handler (module.go), one
// request and its response (exchange.go, response.go), what the rest of a site
// does with the session (matcher.go, placeholder.go, actions.go), what stays
// open with it (connections.go), the app that owns the store (app.go,
// stores.go, redis.go), what the operator sees (metrics.go, notify.go,
// tracing.go, admin.go, command.go), and the Caddyfile (caddyfile.go). The
// engine is in package session, cookies are in package cookiejar.
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
// is signed in. These placeholders show the session as it was when the request
// began; they may be written without `http.`, too. Those of a session that is
// not there are empty.
//
// Placeholder | Value
// ------------|------
// `{http.session.state}` | `live` or `none`
// `{http.session.id}` | The id, which is no secret
// `{http.session.user}` | Who is signed in
// `{http.session.version}` | A number that grows with every change
// `{http.session.created}` | When it began, as of RFC 3339 in UTC
// `{http.session.expires}` | When it ends if it is not used any more
// `{http.session.data.KEY}` | The value of a data key, or at a path with dots; a string as it is, other values as JSON
//
// In the user and the data, bytes outside of printable ASCII, `%`, `{`, `}` and
// a space at an end are percent-encoded.
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

	// A session in which nobody is signed in ends this long after its creation,
	// unless the browser comes back with the cookie before: most visitors that
	// take no cookies are robots. Never more than half of idle. Default: 10m.
	Unclaimed caddy.Duration `json:"unclaimed,omitempty"`

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

	// Whether the IP and the user agent of the client are recorded in the
	// session when it is created and when a user signs in, in the clear, for
	// the operator to see. Default: no.
	RecordClient bool `json:"record_client,omitempty"`

	// What becomes of WebSockets and event streams when the session ends that
	// they were opened with, by signing out, by the operator, on another
	// machine or because its time is up: `close` (the default) closes them
	// within seconds, `keep` leaves them alone.
	OnEnd string `json:"on_end,omitempty"`

	// The session cookie.
	Cookie cookiejar.Cookie `json:"cookie,omitzero"`

	// What becomes of the application's own cookies. Default: all pass
	// untouched.
	Cookies *cookiejar.Rules `json:"cookies,omitempty"`

	matchers    caddyhttp.MatcherSets
	manager     *session.Manager
	protocol    *session.Protocol
	managed     func(string) bool // protocol.ManagesRequest
	cookieNames []string
	streams     *connections
	keepOpen    bool
	storeName   string
	keeper      *cookiejar.Keeper // nil without Cookies
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
	h.protocol, h.managed = protocol, protocol.ManagesRequest
	h.cookieNames = h.Cookie.Names()
	if err := h.provisionCookies(policy); err != nil {
		return err
	}

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
	app.(*App).idles[policy.Idle] = struct{}{}
	store := app.(*App).store
	h.streams, h.keepOpen, h.storeName = store.open, h.OnEnd == "keep", store.name
	h.manager = session.NewManager(store.Store, policy, protocol, h.logger, count)
	h.manager.Notify = app.(*App).notify
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
	override(&p.Unclaimed, h.Unclaimed)
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
	switch h.OnEnd {
	case "", "close", "keep":
	default:
		return p, nil, fmt.Errorf("on_end %q: write close or keep", h.OnEnd)
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
	if err == nil {
		err = h.checkCookies(protocol)
	}
	return p, protocol, err
}

// ServeHTTP serves one request, in the order of the code: strip what clients
// must not send, load the session, show it to the application, commit what
// the response says.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	state := stateOf(r)
	h.stripRequest(r, state)
	state.addNames(h.cookieNames)
	state.addPlaceholders(r)
	state.running++
	defer func() {
		state.running--
		state.left = true
	}()

	matched, err := h.matches(r, state)
	h.stripCookies(r, state) // not before: the matcher may look at them
	switch {
	case err != nil:
		h.closeCookies(r, state)
		return err
	case !matched:
		return h.pass(w, r, next, state)
	}
	x := state.newExchange()
	*x = exchange{Handler: h, request: r, state: state, started: time.Now()}
	state.owner, state.exchange = h, x
	defer func() { state.owner, state.exchange = nil, nil }()

	err = x.open(w, state.cookies)
	state.session, state.subjectKey = x.session, x.manager.Policy.SubjectKey
	if err != nil {
		h.closeCookies(r, state)
		return err
	}
	x.openCookies()
	if err := x.inject(); err != nil {
		h.closeCookies(r, state)
		return err
	}
	err = x.serve(w, next)
	if err != nil {
		// Error routes share the header map: a proxy in one of them must
		// not get a session that nobody commits.
		h.protocol.StripRequest(r.Header)
		h.closeCookies(r, state)
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

// Interface guards.
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
