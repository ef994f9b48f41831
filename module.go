// Package caddysession puts server-side sessions in front of applications that
// have none. It is the handler for Caddy (module.go, compile.go): what must not
// pass (strip.go), what the handlers of one request share (visit.go), a request
// with a session and its response (exchange.go), which may have to wait for others
// (lock.go), and one without (unmatched.go), what stays open (streams.go), what the
// rest of a site does with the session (matcher.go, placeholder.go, actions.go), what
// is refused (debugerrors.go), spans (tracing.go), and the Caddyfile (caddyfile.go).
//
// What all sites share is in package [sessionapp], the stores that can be
// configured are in package [github.com/caddy-session/caddy-session/stores], the
// admin API and the command in package
// [github.com/caddy-session/caddy-session/operator], the session API in package
// [api], cookies in package [cookiejar], and the engine is in package [session]. Importing this package
// registers all of it.
package caddysession

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/api"
	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/internal/appcookies"
	"github.com/caddy-session/caddy-session/internal/finding"
	"github.com/caddy-session/caddy-session/internal/logging"
	_ "github.com/caddy-session/caddy-session/operator"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
	_ "github.com/caddy-session/caddy-session/stores"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler gives the applications behind it server-side sessions. The browser
// holds one opaque cookie; the application reads its session from the request
// headers `X-Session-Id`, `X-Session-User`, `X-Session-Version` and
// `X-Session-Data`, and changes it with the response headers `X-Session-Put`,
// `X-Session-Set`, `X-Session-Unset` and `X-Session-Control`. Requests without a
// session have none of these headers, whatever the client sends, and clients never
// see the response headers.
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

	// Which headers show the session to the application: `id`, `user`, `version`,
	// `data`, `expires` (when the session ends if it is not used again, in seconds
	// since 1970), `signed_in` (when the user signed in, likewise) and `new_id` (on
	// requests without a session, too: the id of a session that the response
	// begins). Default: id, user, version, and data unless keys are forwarded.
	RequestHeaders []string `json:"request_headers,omitempty"`

	// What the names of all headers begin with. Default: `X-Session-`.
	HeaderPrefix string `json:"header_prefix,omitempty"`

	// The most bytes of session data in the headers of a request. Common
	// applications accept 8 KiB of headers in all. Default: 4096. At most 61440.
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

	// The protocols besides `websocket` to which clients may switch by `Upgrade`.
	// What they send then is between them and the application: nothing of it is
	// stripped. Never name one in which HTTP is spoken, such as `h2c`, unless the
	// application does without sessions: clients could claim to be anybody.
	// Default: none.
	Upgrade []string `json:"upgrade,omitempty"`

	// Whether applications may read and change the session of a request by the
	// session API while they have the request. They find it under the URL in the
	// request header `X-Session-Api`; data beyond `exposed` is then left out of the
	// headers instead of being refused. Needs `api` in the `session` app. Default: no.
	API bool `json:"api,omitempty"`

	// Which requests of a session run one at a time. Default: none.
	Lock *Lock `json:"lock,omitempty"`

	// What becomes of WebSockets, event streams, and other requests that last,
	// when the session ends that they were opened with, by signing out, by the
	// operator, on another machine or because its time is up, or when it gets a
	// new secret: `close` (the default) closes them within seconds, `keep` leaves
	// them alone.
	OnEnd string `json:"on_end,omitempty"`

	// The session cookie.
	Cookie cookiejar.Cookie `json:"cookie,omitzero"`

	// What becomes of the application's own cookies. Default: all pass
	// untouched.
	Cookies *cookiejar.Rules `json:"cookies,omitempty"`

	// Whether a client whose request is refused, or whose response is, sees the
	// reason as text. That may show what an application has sent, so it is for
	// development: it does nothing unless Caddy logs at level DEBUG, nor in servers
	// with error routes, which have the reason in `{http.error.message}`. Default:
	// no.
	DebugErrors bool `json:"debug_errors,omitempty"`

	explains   bool // DebugErrors, and Caddy logs at level DEBUG
	matchers   caddyhttp.MatcherSets
	manager    *session.Manager
	protocol   *session.Protocol
	managed    func(string) bool // protocol.ManagesRequest
	cookie     *cookiejar.SessionCookie
	streams    *sessionapp.Streams
	api        *api.Server // nil without API
	keepOpen   bool
	storeName  string
	appCookies *appcookies.Rules // nil without Cookies
	logger     *zap.Logger
	lines      *repeatedLines

	forwardedHTTPS *sync.Once // the warning of originOf
}

// repeatedLines are the log lines of a handler that visitors or an application can
// have repeated.
type repeatedLines struct {
	cached, cachedCookies, noHost, unsaved, refused, shareable, tooLarge, ownCookie, unlabelled logging.Repeated
}

// Subject says where in the data the signed-in user is.
type Subject struct {
	// The data key whose value is the user, a string or a number, or a path to
	// it with dots, such as `user.id`. Any other value is nobody. Default: `user`.
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
	h.logger, h.lines, h.forwardedHTTPS = ctx.Logger(), new(repeatedLines), new(sync.Once)
	policy, err := h.compile()
	if err != nil {
		return err
	}
	h.explains = h.DebugErrors && h.logger.Core().Enabled(zap.DebugLevel)
	sets, err := ctx.LoadModule(h, "MatcherSetsRaw")
	if err != nil {
		return fmt.Errorf("loading matchers: %w", err)
	}
	if err := h.matchers.FromInterface(sets); err != nil {
		return err
	}
	if err := h.Lock.provision(ctx); err != nil {
		return err
	}
	app, err := ctx.App("session")
	if err != nil {
		return fmt.Errorf("loading the session app: %w", err)
	}
	shared := app.(*sessionapp.App)
	h.streams, h.keepOpen, h.storeName = shared.Streams(), h.OnEnd == "keep", shared.StoreName()
	if h.API {
		if h.api = shared.SessionAPI(); h.api == nil {
			return errors.New("api: there is no session API: write api and its address into the global option session, such as api unix//run/caddy/session.sock")
		}
	}
	if h.manager, err = shared.NewManager(policy, h.protocol, h.logger); err != nil {
		return err
	}
	if h.appCookies, err = h.compileRules(policy); err != nil {
		return err
	}
	shared.AddHandler(ctx, h)
	return nil
}

// SubjectKey implements [sessionapp.SessionHandler].
func (h *Handler) SubjectKey() string { return h.manager.Policy().SubjectKey }

// StripsHeader implements [sessionapp.SessionHandler].
func (h *Handler) StripsHeader(name string) bool { return h.managed(name) }

// ForwardedKey implements [sessionapp.SessionHandler].
func (h *Handler) ForwardedKey(header string) string {
	for _, f := range h.Forward {
		if strings.EqualFold(header, h.protocol.HeaderName("", f.Key, f.Header)) {
			return f.Key
		}
	}
	return ""
}

// StripsCookie implements [sessionapp.SessionHandler].
func (h *Handler) StripsCookie(name string) bool {
	return h.appCookies != nil && h.appCookies.Keeper.Manages(name)
}

// SetHeaders implements [sessionapp.SessionHandler].
func (h *Handler) SetHeaders() []string {
	return []string{h.protocol.HeaderName("Set", "", ""), h.protocol.HeaderName("Put", "", "")}
}

// APIHeader implements [sessionapp.SessionHandler].
func (h *Handler) APIHeader() string {
	if !h.API {
		return ""
	}
	return h.protocol.APIHeader()
}

// SecureCookie implements [sessionapp.SessionHandler].
func (h *Handler) SecureCookie(https bool) bool { return h.cookie.SecureFor(https) }

// Findings implements [sessionapp.SessionHandler].
func (h *Handler) Findings() []finding.Finding {
	if !h.DebugErrors || h.explains {
		return nil
	}
	return []finding.Finding{{
		Problem: "debug_errors does nothing without the global option debug", Remedy: "it is for development"}}
}

// SpansHosts implements [sessionapp.SessionHandler].
func (h *Handler) SpansHosts() bool { return h.Cookie.Domain != "" }

// ServeHTTP serves one request: it strips what clients must not send, loads the
// session, shows it to the application, and commits what the response says.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	v := visitOf(r)
	odd := v.enter(h, r)
	defer func() { v.leave(h, r, err) }()
	owns, err := h.owns(r, v)
	ours := v.reserve(h, r)
	ours.strip(r.Header, odd) // not before: the matcher may look at them
	if err == nil {
		err = refuseMethod(w, r)
	}
	if err != nil {
		return h.explain(w, r, err)
	}
	if !owns {
		return h.pass(w, r, next, v, ours)
	}
	x := v.newExchange(h, r, ours)
	defer x.release()
	if err := x.begin(w); err != nil {
		return h.explain(w, r, err)
	}
	if err := x.show(); err != nil {
		return h.explain(w, r, err)
	}
	if err = x.run(w, next); x.writer.Failure() != nil {
		err = h.explain(w, r, err)
	}
	return err
}

// owns reports whether the session of the request is this handler's: its matcher
// says so, and no other session handler around it has it already.
func (h *Handler) owns(r *http.Request, v *visit) (bool, error) {
	if v.exchange != nil {
		return false, nil
	}
	return h.matchers.AnyMatchWithError(r)
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ sessionapp.SessionHandler   = (*Handler)(nil)
)
