package sessionapp

import (
	"net/http"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-session/caddy-session/internal/finding"
)

// stand is a module with an id, in place of one of the handler's package.
type stand caddy.ModuleID

func (s stand) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: caddy.ModuleID(s)} }

func (stand) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error { return nil }
func (stand) MatchWithError(*http.Request) (bool, error)                            { return false, nil }

// Whether a session handler runs before what needs one.
func TestWiring(t *testing.T) {
	const (
		has   = stand("http.handlers.session")
		set   = stand("http.handlers.session_set")
		match = stand("http.matchers.session")
		other = stand("http.handlers.other")
	)
	handlers := func(all ...caddyhttp.MiddlewareHandler) caddyhttp.Route { return caddyhttp.Route{Handlers: all} }
	matched := func(m any) caddyhttp.Route {
		return caddyhttp.Route{MatcherSets: caddyhttp.MatcherSets{{m}}, Handlers: []caddyhttp.MiddlewareHandler{other}}
	}
	subroute := func(routes ...caddyhttp.Route) *caddyhttp.Subroute { return &caddyhttp.Subroute{Routes: routes} }
	terminal := func(r caddyhttp.Route) caddyhttp.Route { r.Terminal = true; return r }
	grouped := func(r caddyhttp.Route) caddyhttp.Route { r.Group = "g"; return r }
	type routes = []caddyhttp.Route
	for _, tt := range []struct {
		what   string
		routes routes
		errors routes
		warns  int
	}{
		{"nothing", nil, nil, 0},
		{"before", routes{handlers(has), handlers(set), matched(match)}, nil, 0},
		{"in one route", routes{handlers(has, set)}, nil, 0},
		{"after", routes{handlers(set), handlers(has)}, nil, 1},
		{"after, in one route", routes{handlers(set, has)}, nil, 1},
		{"never, thrice", routes{handlers(set), handlers(set, set)}, nil, 1},
		{"a matcher and an action", routes{matched(match), handlers(set)}, nil, 2},
		{"inside of not", routes{matched(&caddyhttp.MatchNot{MatcherSets: []caddyhttp.MatcherSet{{match}}})}, nil, 1},
		{"in an expression", routes{matched(&caddyhttp.MatchExpression{Expr: "session('user') && method('GET')"})}, nil, 1},
		{"in another expression", routes{matched(&caddyhttp.MatchExpression{Expr: "method('GET')"})}, nil, 0},
		{"its own matcher", routes{{MatcherSets: caddyhttp.MatcherSets{{match}}, Handlers: []caddyhttp.MiddlewareHandler{has}}}, nil, 1},
		{"in a subroute", routes{handlers(subroute(handlers(has), handlers(set)))}, nil, 0},
		{"in a subroute before", routes{handlers(subroute(handlers(has))), handlers(set)}, nil, 0},
		{"around a subroute", routes{handlers(has, subroute(handlers(set)))}, nil, 0},
		{"in a route that ends", routes{terminal(handlers(has)), handlers(set)}, nil, 1},
		{"in one of a group", routes{grouped(handlers(has)), grouped(handlers(set))}, nil, 1},
		{"in a subroute's route that ends", routes{handlers(subroute(terminal(handlers(has)))), handlers(set)}, nil, 1},
		{"in an error route", routes{handlers(has)}, routes{handlers(set)}, 1},
		{"in an error route of its own", nil, routes{handlers(has, set)}, 0},
		{"in a subroute's error route", routes{handlers(&caddyhttp.Subroute{Routes: routes{handlers(has)},
			Errors: &caddyhttp.HTTPErrorConfig{Routes: routes{handlers(set)}}})}, nil, 1},
		{"in a named route", routes{handlers(&caddyhttp.Invoke{Name: "has"}), handlers(set)}, nil, 0},
		{"of a named route", routes{handlers(&caddyhttp.Invoke{Name: "set"})}, nil, 1},
		{"of a named route, after", routes{handlers(has, &caddyhttp.Invoke{Name: "set"})}, nil, 0},
		{"of no named route", routes{handlers(&caddyhttp.Invoke{Name: "none"})}, nil, 0},
		{"in a circle", routes{handlers(&caddyhttp.Invoke{Name: "circle"})}, nil, 0},
	} {
		core, logs := observer.New(zapcore.WarnLevel)
		named := map[string]*caddyhttp.Route{}
		for name, handler := range map[string]caddyhttp.MiddlewareHandler{"has": has, "set": set, "circle": &caddyhttp.Invoke{Name: "circle"}} {
			route := handlers(handler)
			named[name] = &route
		}
		server := &caddyhttp.Server{Routes: tt.routes, NamedRoutes: named, Errors: &caddyhttp.HTTPErrorConfig{Routes: tt.errors}}
		if tt.errors == nil {
			server.Errors = nil
		}
		checkWiring(&caddyhttp.App{Servers: map[string]*caddyhttp.Server{"srv0": server}}, func(f finding.Finding) { f.Log(zap.New(core)) })
		var said []string
		for _, entry := range logs.All() {
			said = append(said, entry.Message)
			if entry.ContextMap()["server"] != "srv0" {
				t.Errorf("%s: the line does not say where: %v", tt.what, entry)
			}
		}
		if slices.Sort(said); len(said) != tt.warns {
			t.Errorf("%s: %q", tt.what, said)
		}
	}
}
