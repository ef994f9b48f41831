package sessionapp

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/finding"
)

// Who is signed in must not come from what a client may write. What follows holds
// the directives that set data keys to that, in two steps: when a directive is
// set up, by what it reads itself; and at the start of the configuration, when all
// is known, by what that is made of.

// SessionHandler is what the check asks the handler `session`.
type SessionHandler interface {
	caddy.Module
	// SubjectKey returns the path of the subject in the data.
	SubjectKey() string
	// StripsHeader reports whether clients can't send a request header.
	StripsHeader(name string) bool
	// ForwardedKey returns the data key that a request header shows the value
	// of, "" for none.
	ForwardedKey(header string) string
	// StripsCookie reports whether clients can't choose what a cookie of the
	// application says.
	StripsCookie(name string) bool
	// SetHeaders returns the response headers that set data keys.
	SetHeaders() []string
	// APIHeader returns the request header that lets the application use the
	// session API, "" without one.
	APIHeader() string
	// SecureCookie reports whether the session cookie is Secure on HTTPS or without.
	SecureCookie(https bool) bool
	// Findings returns what is wrong with the handler by itself.
	Findings() []finding.Finding
	// SpansHosts reports whether hosts of other names have the same sessions.
	SpansHosts() bool
}

// SessionSetter is what the check asks the handler `session_set`.
type SessionSetter interface {
	caddy.Module
	// Assignments returns the values by their data keys; strings in them may
	// have placeholders.
	Assignments() map[string]any
}

// placed is a session handler, and the modules that it is in.
type placed struct {
	SessionHandler
	within []caddy.Module
	server any
}

// AddHandler tells of a session handler when it is provisioned.
func (a *App) AddHandler(ctx caddy.Context, h SessionHandler) {
	lineage := ctx.Modules()
	a.handlers = append(a.handlers, placed{h, lineage[:max(len(lineage)-1, 0)], ctx.Value(caddyhttp.ServerCtxKey)})
}

// CheckSetter refuses a directive that would sign in whom a client names. It is
// called when that is provisioned, so it knows the handlers that were before it,
// and not yet what variables are made of: that is for the start.
func (a *App) CheckSetter(ctx caddy.Context, s SessionSetter) error {
	lineage := ctx.Modules()
	c := &identityCheck{}
	for _, h := range a.handlers {
		if h.server == ctx.Value(caddyhttp.ServerCtxKey) && len(h.within) < len(lineage) && slices.Equal(h.within, lineage[:len(h.within)]) {
			c.handlers, c.sure = append(c.handlers, h), append(c.sure, h)
		}
	}
	return c.check(s)
}

// checkIdentity looks at all of the routes of an app. The error is that of the
// first directive that would sign in whom a client names. What can't be told is a
// warning.
func checkIdentity(app *caddyhttp.App, find func(finding.Finding)) error {
	var all error
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		w := &identityWalk{app: app, name: name, server: server, find: find, sureAt: sureAt{}}
		w.list(server.Routes, nil, before{})
		if server.Errors != nil {
			w.list(server.Errors.Routes, &place{routes: server.Routes, at: -1}, before{})
		}
		for _, s := range w.setters {
			w.check(s.SessionSetter, s.at, s.b)
		}
		w.checkHeaders()
		all = errors.Join(all, w.err)
	}
	return all
}

// before is the session handlers that may run before a directive, and those that
// surely do.
type before struct{ maybe, sure []SessionHandler }

func (b before) with(h SessionHandler) before {
	return before{append(slices.Clip(b.maybe), h), append(slices.Clip(b.sure), h)}
}

// place is where a walk is: at a handler of a route of a list, which is itself in
// a place, nil for a server's.
type place struct {
	routes  caddyhttp.RouteList
	at      int // -1: after the list
	handler int
	up      *place
}

// identityWalk follows the routes of a server to the directives that set data
// keys.
type identityWalk struct {
	app    *caddyhttp.App
	name   string // the server's
	server *caddyhttp.Server
	find   func(finding.Finding)
	depth  int
	err    error

	handlers []SessionHandler
	setters  []setterAt
	headers  []headerOps
	sureAt   sureAt
}

// setterAt is a directive at a place, which is checked when all is known.
type setterAt struct {
	SessionSetter
	at *place
	b  before
}

// sureAt is which session handlers have surely run when a handler or matcher does
// that takes values as they are then. What vars, say, takes before the session is
// there is what the client has sent.
type sureAt map[any][]SessionHandler

func (s sureAt) note(module any, sure []SessionHandler) {
	if old, ok := s[module]; !ok || len(sure) < len(old) {
		s[module] = sure
	}
}

// headerOps are what the site makes of response headers at a place. Where it has
// set them before a session handler runs, that finds them all the same.
type headerOps struct {
	of  caddy.Module
	ops *headers.HeaderOps
	at  *place
	b   before
}

// list follows a list of routes, and returns what may run before what comes after
// it.
func (w *identityWalk) list(routes caddyhttp.RouteList, up *place, b before) before {
	for i := range routes {
		after := w.route(routes, i, up, b)
		if routes[i].Terminal {
			continue // nothing comes after it
		}
		if routes[i].Group != "" || len(routes[i].MatcherSets) > 0 {
			after.sure = b.sure
		}
		b = after
	}
	return b
}

func (w *identityWalk) route(routes caddyhttp.RouteList, i int, up *place, b before) before {
	if w.depth++; w.depth > maxDepth {
		return b
	}
	defer func() { w.depth-- }()
	eachMatcher(routes[i].MatcherSets, func(m any) { w.sureAt.note(m, b.sure) })
	for k, handler := range routes[i].Handlers {
		switch handler.(type) {
		case *caddyhttp.VarsMiddleware, *headers.Handler, *reverseproxy.Handler:
			w.sureAt.note(handler, b.sure)
		}
		here := &place{routes, i, k, up}
		switch h := handler.(type) {
		case SessionHandler:
			b = b.with(h)
			w.handlers = append(w.handlers, h)
			w.checkCookie(h, here)
			for _, f := range h.Findings() {
				f.Where = append(w.where(here), at(h)...)
				w.find(f)
			}
		case SessionSetter:
			w.setters = append(w.setters, setterAt{h, here, b})
		case *caddyhttp.Subroute:
			within := w.list(h.Routes, here, b)
			if h.Errors != nil {
				w.list(h.Errors.Routes, here, b)
			}
			b = within
		case *caddyhttp.Invoke:
			for _, inner := range routesOf(h, w.server) {
				b = w.list(inner, here, b)
			}
		case *headers.Handler:
			if h.Request != nil {
				w.checkOwnHeaders(h.Request, here, b)
			}
			if h.Response != nil {
				w.headers = append(w.headers, headerOps{h, h.Response.HeaderOps, here, b})
			}
		default: // with routes for some responses
			if proxy, ok := handler.(*reverseproxy.Handler); ok {
				w.checkCopied(proxy, here, b)
				w.checkAPI(proxy, b)
				w.checkApplication(proxy, here, b)
				if proxy.Headers != nil {
					w.checkOwnHeaders(proxy.Headers.Request, here, b)
				}
				if proxy.Headers != nil && proxy.Headers.Response != nil {
					w.headers = append(w.headers, headerOps{proxy, proxy.Headers.Response.HeaderOps, here, b})
				}
			}
			for _, inner := range routesOf(handler, w.server) {
				b.maybe = w.list(inner, here, b).maybe
			}
		}
	}
	return b
}

// maxDepth bounds how deep routes are followed: named routes may invoke each
// other.
const maxDepth = 100

func (w *identityWalk) check(s SessionSetter, here *place, b before) {
	c := &identityCheck{handlers: b.maybe, sure: b.sure, defined: newDefinitions(w.sureAt), server: w.server}
	c.warn = func(what string) {
		w.find(finding.Finding{Problem: "who is signed in may come from what a client writes", Remedy: what, Where: []zap.Field{zap.String("at", sourceOf(s))}})
	}
	top := here
	for p := here; p != nil; p = p.up {
		top = p
		for j := range p.routes {
			switch {
			case j == p.at:
				c.defined.matchers(p.routes[j].MatcherSets)
				for k, handler := range p.routes[j].Handlers {
					if k != p.handler || p == here {
						c.defined.handler(handler, w.server, 0)
					}
				}
			case p.at < 0, // it has all run
				j < p.at && !p.routes[j].Terminal && !alternatives(p.routes[j], p.routes[p.at]),
				j > p.at && !p.routes[p.at].Terminal && !alternatives(p.routes[j], p.routes[p.at]):
				c.defined.route(p.routes[j], w.server, 0)
			}
		}
	}
	var hosts []string
	if top.at >= 0 && !slices.ContainsFunc(b.maybe, SessionHandler.SpansHosts) {
		hosts = hostsOf(top.routes[top.at])
	}
	c.defined.data(w.app, hosts)
	if err := c.check(s); err != nil && w.err == nil {
		w.err = err
	}
}

// data adds what other requests may have set in the same session: anywhere in the
// app, but for other hosts, if hosts is not nil.
func (d *definitions) data(app *caddyhttp.App, hosts []string) {
	for _, server := range app.Servers {
		all, routes := newDefinitions(d.sureAt), slices.Clip(server.Routes)
		if server.Errors != nil {
			routes = append(routes, server.Errors.Routes...)
		}
		for _, route := range routes {
			if !disjoint(hosts, hostsOf(route)) {
				all.route(route, server, 0)
			}
		}
		for name, values := range all.made {
			if strings.HasPrefix(name, dataPrefix) {
				d.made[name] = append(d.made[name], values...)
			}
		}
	}
}

// hostsOf returns the hosts that a route is for, nil for any.
func hostsOf(route caddyhttp.Route) (hosts []string) {
	for _, set := range route.MatcherSets {
		i := slices.IndexFunc(set, func(m any) bool { _, ok := m.(*caddyhttp.MatchHost); return ok })
		if i < 0 {
			return nil
		}
		hosts = append(hosts, *set[i].(*caddyhttp.MatchHost)...)
	}
	return hosts
}

// disjoint reports whether no host fits both lists.
func disjoint(a, b []string) bool {
	open := func(host string) bool { return strings.ContainsAny(host, "*{") }
	if a == nil || b == nil || slices.ContainsFunc(a, open) || slices.ContainsFunc(b, open) {
		return false
	}
	return !slices.ContainsFunc(a, func(host string) bool {
		return slices.ContainsFunc(b, func(other string) bool { return strings.EqualFold(host, other) })
	})
}

// headerSetter is a line X-Session-Set or X-Session-Put that the site itself adds to responses. A
// value in it can go on with another key, so each may be that of the subject.
type headerSetter struct {
	caddy.Module // which adds it
	header       string
	subject      string
	values       []any
}

func (s headerSetter) Assignments() map[string]any { return map[string]any{s.subject: s.values} }

func (w *identityWalk) checkHeaders() {
	for _, one := range w.headers {
		lines := newDefinitions(nil)
		lines.headers("", one.ops)
		for _, h := range w.handlers {
			for _, header := range h.SetHeaders() {
				s := headerSetter{Module: one.of, header: header, subject: h.SubjectKey()}
				for _, value := range lines.made[header] {
					s.values = append(s.values, value.text)
				}
				if s.values != nil {
					w.check(s, one.at, before{[]SessionHandler{h}, one.b.sure})
				}
			}
		}
	}
}

// alternatives reports whether no request runs both routes.
func alternatives(a, b caddyhttp.Route) bool { return a.Group != "" && a.Group == b.Group }

// routesOf returns the lists of routes in a handler.
func routesOf(handler caddyhttp.MiddlewareHandler, server *caddyhttp.Server) (all []caddyhttp.RouteList) {
	responses := func(handlers []caddyhttp.ResponseHandler) {
		for _, h := range handlers {
			all = append(all, h.Routes)
		}
	}
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		all = append(all, h.Routes)
		if h.Errors != nil {
			all = append(all, h.Errors.Routes)
		}
	case *caddyhttp.Invoke:
		if named := server.NamedRoutes[h.Name]; named != nil {
			all = append(all, caddyhttp.RouteList{*named})
		}
	case *reverseproxy.Handler:
		responses(h.HandleResponse)
	case *intercept.Intercept:
		responses(h.HandleResponse)
	}
	return all
}

// anyRegexp is for regular expressions whose names are not looked for.
const anyRegexp = "http.regexp.*"
