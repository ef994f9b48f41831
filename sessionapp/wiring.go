package sessionapp

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// wiring finds matchers and handlers of ours that no session handler runs
// before, as far as routes can be followed: through subroutes, named routes and
// error routes. Only a whole configuration shows it, so it is told when that
// starts.
type wiring struct {
	server string
	named  map[string]*caddyhttp.Route
	warn   func(what string)
	depth  int
}

// checkWiring warns about what can't work in the servers of an app.
func checkWiring(app *caddyhttp.App, log *zap.Logger) {
	for name, server := range app.Servers {
		told := map[string]bool{}
		w := &wiring{server: name, named: server.NamedRoutes, warn: func(what string) {
			if !told[what] {
				told[what] = true
				log.Warn("no session handler runs before "+what+": write session into the site, or above it in the same route",
					zap.String("server", name))
			}
		}}
		w.routes(server.Routes, false)
		if server.Errors != nil {
			w.routes(server.Errors.Routes, false)
		}
	}
}

// routes follows a list of routes and reports whether a session handler runs
// before what comes after it. before: one runs before the list.
func (w *wiring) routes(routes caddyhttp.RouteList, before bool) bool {
	for i := range routes {
		after := w.route(&routes[i], before)
		if r := routes[i]; !r.Terminal && r.Group == "" { // else nothing comes after it, or something in its place
			before = after
		}
	}
	return before
}

func (w *wiring) route(route *caddyhttp.Route, before bool) bool {
	if w.depth++; w.depth > 100 { // named routes may invoke each other
		return true
	}
	defer func() { w.depth-- }()
	if !before {
		w.matchers(route.MatcherSets)
	}
	for _, handler := range route.Handlers {
		switch h := handler.(type) {
		case *caddyhttp.Subroute:
			within := w.routes(h.Routes, before)
			if h.Errors != nil { // a session handler in h has returned by then
				w.routes(h.Errors.Routes, before)
			}
			before = within
		case *caddyhttp.Invoke:
			if named := w.named[h.Name]; named != nil {
				before = w.route(named, before)
			}
		}
		switch moduleID(handler) {
		case "http.handlers.session":
			before = true
		case "http.handlers.session_set", "http.handlers.session_unset", "http.handlers.session_destroy", "http.handlers.session_renew":
			if !before {
				w.warn("a directive session_set, session_unset, session_destroy or session_renew, which answers 500")
			}
		}
	}
	return before
}

func (w *wiring) matchers(sets caddyhttp.MatcherSets) {
	for _, set := range sets {
		w.set(set)
	}
}

func (w *wiring) set(set caddyhttp.MatcherSet) {
	const never = "a session matcher, which matches nothing"
	for _, matcher := range set {
		if moduleID(matcher) == "http.matchers.session" {
			w.warn(never)
		}
		switch m := matcher.(type) {
		case *caddyhttp.MatchExpression:
			if strings.Contains(m.Expr, "session(") {
				w.warn(never)
			}
		case *caddyhttp.MatchNot:
			for _, inner := range m.MatcherSets {
				w.set(inner)
			}
		}
	}
}

// moduleID returns the id of a module of Caddy, "" if it is none. The types are
// not known here: the package that has them imports this one.
func moduleID(value any) caddy.ModuleID {
	if module, ok := value.(caddy.Module); ok {
		return module.CaddyModule().ID
	}
	return ""
}
