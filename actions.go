package caddysession

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/internal/placeholders"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func init() {
	caddy.RegisterModule(SessionSet{})
	caddy.RegisterModule(SessionUnset{})
	caddy.RegisterModule(SessionDestroy{})
	caddy.RegisterModule(SessionRenew{})
}

// SessionSet sets data keys of the request's session, which it creates if
// there is none. It needs a `session` handler before it; where the matcher of
// that does not match, it does nothing.
//
// It is done together with what the application asks for, in one commit before
// the response goes out, and not at all if the response is an error of Caddy.
// Placeholders are replaced at that time, so they may come from handlers that
// run later, such as `{http.auth.user.id}`. What is in the session already is
// not written again. What the application asks for comes after it, and wins.
// The application sees it with the next request.
type SessionSet struct {
	// The values by their top-level data keys. Objects are merged (RFC 7396).
	// Strings may have placeholders; a value that comes out empty by that is
	// not set.
	//
	// Who is signed in must not come from what a client may write: where the
	// key is that of the subject, a value that reads the request, such as a
	// header that `forward` does not name, is an error.
	Set map[string]json.RawMessage `json:"set,omitempty"`

	values       map[string]any
	placeholders map[string]bool // the keys whose values have some
}

// SessionUnset removes data keys from the request's session. Everything else
// is as with `session_set`.
type SessionUnset struct {
	// Top-level data keys.
	Keys []string `json:"keys,omitempty"`
}

// SessionDestroy ends the request's session. Everything else is as with
// `session_set`.
type SessionDestroy struct{}

// SessionRenew gives the request's session a new secret. Everything else is as
// with `session_set`.
type SessionRenew struct{}

// CaddyModule returns the Caddy module information.
func (SessionSet) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.session_set", New: func() caddy.Module { return new(SessionSet) }}
}

// CaddyModule returns the Caddy module information.
func (SessionUnset) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.session_unset", New: func() caddy.Module { return new(SessionUnset) }}
}

// CaddyModule returns the Caddy module information.
func (SessionDestroy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.session_destroy", New: func() caddy.Module { return new(SessionDestroy) }}
}

// CaddyModule returns the Caddy module information.
func (SessionRenew) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.session_renew", New: func() caddy.Module { return new(SessionRenew) }}
}

// Provision checks the values, as strictly as those of an application.
func (a *SessionSet) Provision(ctx caddy.Context) error {
	if err := a.compile(); err != nil {
		return err
	}
	app, err := ctx.App("session")
	if err != nil {
		return fmt.Errorf("loading the session app: %w", err)
	}
	return app.(*sessionapp.App).CheckSetter(ctx, a)
}

// Assignments implements [sessionapp.SessionSetter].
func (a *SessionSet) Assignments() map[string]any { return a.values }

func (a *SessionSet) compile() error {
	if len(a.Set) == 0 {
		return errors.New("session_set needs a key and a value")
	}
	if _, ok := a.Set[""]; ok {
		return errors.New("session_set: the key is empty")
	}
	text, err := json.Marshal(a.Set)
	if err != nil {
		return fmt.Errorf("session_set: %w", err)
	}
	if a.values, err = session.ParseObject(string(text)); err != nil {
		return fmt.Errorf("session_set: %w", err)
	}
	a.placeholders = map[string]bool{}
	for key, value := range a.Set {
		a.placeholders[key] = len(placeholders.In(string(value))) > 0
	}
	return nil
}

// Provision checks the keys.
func (a *SessionUnset) Provision(ctx caddy.Context) error {
	if len(a.Keys) == 0 {
		return errors.New("session_unset needs a key")
	}
	return needApp(ctx)
}

// Provision has the app tell where it can't work.
func (*SessionDestroy) Provision(ctx caddy.Context) error { return needApp(ctx) }

// Provision has the app tell where it can't work.
func (*SessionRenew) Provision(ctx caddy.Context) error { return needApp(ctx) }

// needApp loads the app of sessions, which checks the sites when all are known.
func needApp(ctx caddy.Context) error {
	_, err := ctx.App("session")
	return err
}

func (a *SessionSet) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return act(a, "session_set", w, r, next)
}

func (a *SessionUnset) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return act(a, "session_unset", w, r, next)
}

func (a *SessionDestroy) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return act(a, "session_destroy", w, r, next)
}

func (a *SessionRenew) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return act(a, "session_renew", w, r, next)
}

// action is what the site itself asks for.
type action interface {
	// add adds it to a wish. The error is what the client gets.
	add(*wish) error
}

// wish is what all actions of a request ask for.
type wish struct {
	exchange       *exchange
	session        *session.Session    // with its data if the wish depends on it, nil if there is none any more
	set            map[string]any      // nil values remove
	visitor        map[string]struct{} // the keys of set whose values are of the visitor
	renew, destroy bool
}

// act notes an action for the exchange of the request, which carries it out
// when the response begins.
func act(a action, name string, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	v, ok := caddyhttp.GetVar(r.Context(), visitVar).(*visit)
	if !ok || v.depth == 0 {
		return caddyhttp.Error(http.StatusInternalServerError,
			fmt.Errorf("%s: no session handler runs before it: write session into the site, or above it in the same route", name))
	}
	if x := v.exchange; x != nil {
		if x.writer.Begun() {
			return caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("%s: the response has begun already", name))
		}
		x.actions = append(x.actions, a)
	}
	return next.ServeHTTP(w, r)
}

// withActions adds the actions of the site to a patch of the application, which may
// be nil. The result is nil if there is nothing to do.
func (x *exchange) withActions(patch *session.Patch) (*session.Patch, error) {
	if len(x.actions) == 0 || patch != nil && patch.Destroy {
		return patch, nil
	}
	all := wish{exchange: x, set: map[string]any{}, visitor: map[string]struct{}{}}
	var err error
	if all.session, err = x.sessionFor(x.actions); err != nil {
		return nil, err
	}
	for _, a := range x.actions {
		if err := a.add(&all); err != nil {
			return nil, err
		}
	}
	merged := session.Patch{}
	if patch != nil {
		merged = *patch
	}
	if all.destroy {
		merged.Destroy = true
		return &merged, nil
	}
	merged.Renew = merged.Renew || all.renew
	if !merged.Clear { // that drops what was set before
		missing := all.session.Missing(all.set)
		visitor := map[string]any{}
		for key := range all.visitor {
			if value, ok := missing[key]; ok {
				visitor[key] = value
				delete(missing, key)
			}
		}
		for _, values := range []map[string]any{missing, visitor} {
			if len(values) > 0 {
				merged.First = append([]map[string]any{values}, merged.First...)
			}
		}
		if len(visitor) > 0 {
			x.fromVisitor = visitor
		}
	}
	if patch == nil && !merged.Writes() {
		return nil, nil
	}
	return &merged, nil
}

// sessionFor returns the session of the request, with its data if one of the actions
// depends on what is there.
func (x *exchange) sessionFor(actions []action) (*session.Session, error) {
	for _, a := range actions {
		switch a.(type) {
		case *SessionSet, *SessionUnset:
			s, err := x.whole(x.came.session)
			if s != nil {
				x.came.session = s
				if v := x.visit; v.session.Unread() && v.session.ID() == s.ID() {
					v.session = s
				}
			}
			return s, err // without a session now, the commit drops what they ask for
		}
	}
	return x.came.session, nil
}

// withoutVisitor returns a patch without what is of the visitor in it, which is
// the first that it sets, and tells that it is left out.
func (x *exchange) withoutVisitor(patch *session.Patch) *session.Patch {
	x.fromVisitor = nil
	left := *patch
	left.First = left.First[1:]
	x.tooLarge()
	return &left
}

// tooLarge tells that a value of a visitor is not set. It is no error: every
// visitor can have it so.
func (x *exchange) tooLarge() {
	x.h.manager.Count(sessionapp.EventSetIgnored)
	x.log(&x.h.lines.tooLarge, x.h.logger.Warn, "not setting what the site's session_set makes of a request: the session would be over a limit")
}

func (a *SessionSet) add(all *wish) error {
	for key, value := range a.values {
		expanded, ok, err := all.expand(key, value)
		switch {
		case errors.Is(err, errTooLarge):
			all.exchange.tooLarge()
			continue
		case err != nil:
			return caddyhttp.Error(http.StatusBadRequest, fmt.Errorf("session_set %s: %w", key, err))
		case !ok:
			continue
		}
		all.set[key] = expanded
		if delete(all.visitor, key); a.placeholders[key] {
			all.visitor[key] = struct{}{}
		}
	}
	return nil
}

func (a *SessionUnset) add(all *wish) error {
	for _, key := range a.Keys {
		all.set[key] = nil
		delete(all.visitor, key)
	}
	return nil
}

func (*SessionDestroy) add(all *wish) error {
	all.destroy = true
	return nil
}

func (*SessionRenew) add(all *wish) error {
	all.renew = true
	return nil
}

var errTooLarge = errors.New("the value has more than max_data bytes")

// expand replaces the placeholders in a value, and reports whether anything is
// left of it.
func (all *wish) expand(key string, value any) (any, bool, error) {
	switch v := value.(type) {
	case string:
		if !strings.Contains(v, "{") {
			return v, true, nil
		}
		repl := all.exchange.request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		text := repl.ReplaceAll(v, "")
		if len(text) > all.exchange.h.manager.Policy().MaxData {
			return nil, false, errTooLarge
		}
		if !utf8.ValidString(text) {
			return nil, false, errors.New("the value is not valid UTF-8")
		}
		// Placeholders of the session show values encoded. The one that it has
		// already is not encoded anew with every request.
		if old, ok := all.session.Text(key); ok && (text == session.EncodeValue(old) || text == shown(old)) {
			text = old
		}
		return text, text != "", nil
	case []any:
		list := make([]any, 0, len(v))
		for _, element := range v {
			element, ok, err := all.expand("", element)
			if err != nil {
				return nil, false, err
			}
			if ok {
				list = append(list, element)
			}
		}
		return list, len(list) > 0 || len(v) == 0, nil
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, member := range v {
			member, ok, err := all.expand("", member)
			if err != nil {
				return nil, false, err
			}
			if ok {
				object[name] = member
			}
		}
		return object, true, nil
	}
	return value, true, nil
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*SessionSet)(nil)
	_ caddy.Provisioner           = (*SessionUnset)(nil)
	_ caddy.Provisioner           = (*SessionDestroy)(nil)
	_ caddy.Provisioner           = (*SessionRenew)(nil)
	_ caddyhttp.MiddlewareHandler = (*SessionSet)(nil)
	_ caddyhttp.MiddlewareHandler = (*SessionUnset)(nil)
	_ caddyhttp.MiddlewareHandler = (*SessionDestroy)(nil)
	_ caddyhttp.MiddlewareHandler = (*SessionRenew)(nil)
	_ sessionapp.SessionSetter    = (*SessionSet)(nil)
)
