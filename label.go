package caddysession

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/session"
)

func init() {
	caddy.RegisterModule(SessionLabel{})
}

// SessionLabel gives the request's session a label, for operators to tell whose
// it is: `caddy session list` and the admin API show it, and find sessions by it.
// It needs a `session` handler before it; where the matcher of that does not
// match, and where there is no session, it does nothing.
//
// It is done when the response begins, as with `session_set`, and placeholders are
// replaced at that time. What the label is already is not written again. The
// application sees nothing of it, not even another version of the session. A label
// that can't be saved is no error of the response.
//
// Labels are not encrypted in the store, and may hold what visitors have sent: they
// say nothing about who somebody is.
type SessionLabel struct {
	// The label, of which 256 bytes are kept. May have placeholders; kept
	// cookies are `{http.request.cookie.NAME}`. One that comes out empty by
	// that leaves the label as it is, and an empty one takes it away.
	Label string `json:"label,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (SessionLabel) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.session_label", New: func() caddy.Module { return new(SessionLabel) }}
}

// Provision has the app tell where it can't work.
func (*SessionLabel) Provision(ctx caddy.Context) error { return needApp(ctx) }

func (a *SessionLabel) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return act(a, "session_label", w, r, next)
}

func (a *SessionLabel) add(all *wish) error {
	text := a.Label
	if strings.Contains(text, "{") {
		text = all.exchange.request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).ReplaceAll(text, "")
	}
	if label := session.CleanLabel(text); label != "" || a.Label == "" {
		all.exchange.label = &label
	}
	return nil
}

// withLabel adds the label that the site asks for to a patch, which may be nil. It
// is not enough to begin a session.
func (x *exchange) withLabel(patch *session.Patch) *session.Patch {
	s := x.came.session
	switch {
	case x.label == nil, *x.label == s.Label(), patch != nil && patch.Destroy, s == nil && (patch == nil || !patch.Writes()):
		return patch
	case patch == nil:
		patch = new(session.Patch)
	}
	patch.Label = x.label
	return patch
}

// parseLabel sets up session_label. Syntax:
//
//	session_label [<matcher>] <text>
func parseLabel(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	args := h.RemainingArgs()
	if len(args) != 1 {
		return nil, h.Err(`write: session_label "TEXT", as one word or in quotes; an empty text takes the label away`)
	}
	return &SessionLabel{Label: args[0]}, noBlock(h, "session_label")
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*SessionLabel)(nil)
	_ caddyhttp.MiddlewareHandler = (*SessionLabel)(nil)
)
