package sessionapp

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/finding"
)

// An auth server that is asked for some sessions only, as by
// `forward_auth @anonymous`, tells the application in a request header who it is.
// With all other requests, the application gets that header as the client has sent
// it, unless it is removed.

// checkCopied warns about the headers that a proxy copies from its response to the
// request, where a matcher of ours decides whether it runs and nothing removes
// them from what clients send.
func (w *identityWalk) checkCopied(proxy *reverseproxy.Handler, here *place, b before) {
	if len(b.maybe) == 0 || !here.asksForSession() {
		return
	}
	copied := map[string]bool{}
	for _, routes := range routesOf(proxy, w.server) {
		eachHeaders(routes, func(h *headers.Handler) {
			for name, values := range h.Request.Set {
				copied[name] = copied[name] || strings.Contains(strings.Join(values, ""), "{http.reverse_proxy.header.")
			}
		})
	}
	eachHeaders(w.server.Routes, func(h *headers.Handler) {
		maps.DeleteFunc(copied, func(name string, _ bool) bool {
			return slices.ContainsFunc(h.Request.Delete, func(deleted string) bool { return strings.EqualFold(deleted, name) })
		})
	})
	for _, name := range slices.Sorted(maps.Keys(copied)) {
		if !copied[name] || slices.ContainsFunc(b.sure, func(h SessionHandler) bool { return h.StripsHeader(name) }) {
			continue
		}
		w.find(finding.Finding{
			Problem: "a request header comes from an auth server for some sessions, and from the client for all others",
			Remedy:  "write forward KEY " + name + " into the block of session, which removes it from what clients send",
			Where:   []zap.Field{zap.String("header", name)}})
	}
}

// asksForSession reports whether a matcher of ours decides whether requests get
// here.
func (p *place) asksForSession() bool {
	for ; p != nil; p = p.up {
		if p.at >= 0 && asksForSession(p.routes[p.at].MatcherSets) {
			return true
		}
	}
	return false
}

func asksForSession(sets caddyhttp.MatcherSets) bool {
	return slices.ContainsFunc(sets, func(set caddyhttp.MatcherSet) bool {
		return slices.ContainsFunc(set, func(matcher any) bool {
			switch m := matcher.(type) {
			case *caddyhttp.MatchNot:
				return asksForSession(m.MatcherSets)
			case *caddyhttp.MatchExpression:
				return strings.Contains(m.Expr, "session(") || strings.Contains(m.Expr, "session.")
			}
			return moduleID(matcher) == "http.matchers.session"
		})
	})
}

// eachHeaders calls f for the handlers that change headers of requests, in routes
// and their subroutes.
func eachHeaders(routes caddyhttp.RouteList, f func(*headers.Handler)) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *headers.Handler:
				if h.Request != nil {
					f(h)
				}
			case *caddyhttp.Subroute:
				eachHeaders(h.Routes, f)
			}
		}
	}
}
