package sessionapp

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/finding"
)

// wiring finds matchers and handlers of ours that no session handler runs
// before, and applications that requests reach without one, as far as routes can
// be followed: through subroutes, named routes and error routes. Only a whole
// configuration shows it, so it is told when that starts or is validated.
type wiring struct {
	server *caddyhttp.Server
	name   string
	find   func(finding.Finding)

	hosts, paths []string // of the matchers around what is looked at
	depth        int
	told         map[string]bool

	guarded map[string]bool // the sites in which there is a session handler
	bare    []bare
}

// bare is an application that requests reach without a session handler.
type bare struct {
	site   string
	fields []zap.Field
}

// checkWiring warns about what can't work in the servers of an app, and about
// what is open to forged headers.
func checkWiring(app *caddyhttp.App, find func(finding.Finding)) {
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		w := &wiring{
			server: server, name: name, find: find,
			told: map[string]bool{}, guarded: map[string]bool{},
		}
		w.routes(server.Routes, false)
		if server.Errors != nil {
			w.routes(server.Errors.Routes, false)
		}
		for _, b := range w.bare {
			if w.guarded[b.site] {
				find(finding.Finding{
					Problem: "a request reaches an application without session, although the site has it elsewhere",
					Remedy:  "clients can send this application headers such as X-Session-User; write session into the site, or above it in the same route",
					Where:   b.fields})
			}
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
	hosts, paths := len(w.hosts), len(w.paths)
	defer func() { w.hosts, w.paths, w.depth = w.hosts[:hosts], w.paths[:paths], w.depth-1 }()
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				w.hosts = append(w.hosts, *m...)
			case caddyhttp.MatchHost:
				w.hosts = append(w.hosts, m...)
			case *caddyhttp.MatchPath:
				w.paths = append(w.paths, *m...)
			case caddyhttp.MatchPath:
				w.paths = append(w.paths, m...)
			}
		}
	}
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
			if named := w.server.NamedRoutes[h.Name]; named != nil {
				before = w.route(named, before)
			}
		}
		switch moduleID(handler) {
		case "http.handlers.session":
			before = true
			w.guarded[w.site()] = true
		case "http.handlers.session_set", "http.handlers.session_unset", "http.handlers.session_destroy", "http.handlers.session_renew", "http.handlers.session_label":
			if !before {
				w.warn("a directive session_set, session_unset, session_destroy, session_renew or session_label, which answers 500", "directive", handler)
			}
		case "http.handlers.reverse_proxy", "http.handlers.php", "http.handlers.cgi":
			if !before {
				w.bare = append(w.bare, bare{w.site(), append(w.where(), zap.String("application", application(handler)))})
			}
		}
	}
	return before
}

func (w *wiring) matchers(sets caddyhttp.MatcherSets) {
	for _, set := range sets {
		for _, matcher := range set {
			const never = "a session matcher, which matches nothing"
			if moduleID(matcher) == "http.matchers.session" {
				w.warn(never, "matcher", matcher)
			}
			switch m := matcher.(type) {
			case *caddyhttp.MatchExpression:
				if strings.Contains(m.Expr, "session(") {
					w.warn(never, "matcher", m.Expr)
				}
			case *caddyhttp.MatchNot:
				w.matchers(m.MatcherSets)
			}
		}
	}
}

// warn tells about a matcher or directive, which is a module or its text.
func (w *wiring) warn(what, kind string, module any) {
	fields := w.where()
	switch m := module.(type) {
	case string:
		fields = append(fields, zap.String(kind, m))
	case caddy.Module:
		fields = append(fields, zap.String(kind, inJSON(m)))
		if at := sourceOf(m); at != "" {
			fields = append(fields, zap.String("at", at))
		}
	}
	told := what
	for _, f := range fields {
		told += "\n" + f.String
	}
	if !w.told[told] {
		w.told[told] = true
		w.find(finding.Finding{
			Problem: "no session handler runs before " + what,
			Remedy:  "write session into the site, or above it in the same route; where Caddy sorts it before session, move it into a route after session",
			Where:   fields})
	}
}

// site returns the hosts that requests are for here, else what the server
// listens on.
func (w *wiring) site() string {
	if len(w.hosts) == 0 {
		return strings.Join(w.server.Listen, " ")
	}
	return strings.Join(w.hosts, " ")
}

func (w *wiring) where() []zap.Field {
	fields := []zap.Field{zap.String("server", w.name), zap.String("site", w.site())}
	if len(w.paths) > 0 {
		fields = append(fields, zap.String("route", strings.Join(w.paths, " ")))
	}
	return fields
}

// application names what a handler sends requests to.
func application(handler any) string {
	var proxy struct {
		Upstreams []struct {
			Dial string `json:"dial"`
		} `json:"upstreams"`
	}
	if text, err := json.Marshal(handler); err != nil || json.Unmarshal(text, &proxy) != nil || len(proxy.Upstreams) == 0 {
		return moduleID(handler).Name()
	}
	var addresses []string
	for _, u := range proxy.Upstreams {
		addresses = append(addresses, u.Dial)
	}
	return strings.Join(slices.Compact(addresses), " ")
}

// moduleID returns the id of a module of Caddy, "" if it is none. The types are
// not known here: the package that has them imports this one.
func moduleID(value any) caddy.ModuleID {
	if module, ok := value.(caddy.Module); ok {
		return module.CaddyModule().ID
	}
	return ""
}
