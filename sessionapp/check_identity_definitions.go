package sessionapp

import (
	"net/textproto"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-session/caddy-session/internal/placeholders"
)

// definitions are what placeholders are made of by directives of the site, by the
// placeholders' names.
type definitions struct {
	made map[string][]made
	sureAt
	module any // that add is about, nil for one that takes values when it is asked
}

// made is a text that a placeholder is made of. If early, its own placeholders are
// replaced where only the session handlers in sure have run in any case.
type made struct {
	text  string
	early bool
	sure  []SessionHandler
}

func newDefinitions(at sureAt) *definitions {
	return &definitions{made: map[string][]made{}, sureAt: at}
}

func (d *definitions) route(route caddyhttp.Route, server *caddyhttp.Server, depth int) {
	d.matchers(route.MatcherSets)
	for _, handler := range route.Handlers {
		d.handler(handler, server, depth)
	}
}

func (d *definitions) handler(handler caddyhttp.MiddlewareHandler, server *caddyhttp.Server, depth int) {
	d.module = nil
	switch h := handler.(type) {
	case *caddyhttp.VarsMiddleware:
		d.module = h
		for name, value := range *h {
			text, _ := value.(string)
			d.add("http.vars."+name, text)
			if name == "http.auth.user.id" { // a special case of vars
				d.add(name, text)
			}
		}
	case *maphandler.Handler:
		for i, name := range h.Destinations {
			d.add(name, h.Source)
			for _, m := range h.Mappings {
				if i < len(m.Outputs) {
					text, _ := m.Outputs[i].(string)
					d.add(name, text)
				}
			}
			if i < len(h.Defaults) {
				d.add(name, h.Defaults[i])
			}
		}
	case *headers.Handler:
		d.module = h
		d.headers(placeholders.HeaderPrefix, h.Request)
		if h.Response != nil {
			d.headers(responsePrefix, h.Response.HeaderOps)
		}
	case *reverseproxy.Handler:
		d.module = h
		if h.Headers != nil && h.Headers.Response != nil {
			d.headers(responsePrefix, h.Headers.Response.HeaderOps)
		}
	case SessionSetter:
		for key, value := range h.Assignments() {
			for _, text := range textsIn(value) {
				d.add(dataPrefix+key, text)
			}
		}
	}
	if depth < maxDepth {
		for _, routes := range routesOf(handler, server) {
			for _, route := range routes {
				d.route(route, server, depth+1)
			}
		}
	}
}

func (d *definitions) headers(prefix string, ops *headers.HeaderOps) {
	if ops == nil {
		return
	}
	for _, fields := range []map[string][]string{ops.Add, ops.Set} {
		for name, values := range fields {
			for _, value := range values {
				d.add(prefix+textproto.CanonicalMIMEHeaderKey(name), value)
			}
		}
	}
	for name, replacements := range ops.Replace {
		for _, r := range replacements {
			d.add(prefix+textproto.CanonicalMIMEHeaderKey(name), r.Replace)
		}
	}
}

// dataPrefix and responsePrefix are how the names of placeholders of session data
// and of response headers begin here, whatever else they are called by.
const (
	dataPrefix     = "session.data."
	responsePrefix = "http.response.header."
)

// headerPrefixes are how the placeholders of headers begin, by what they begin
// with here.
var headerPrefixes = map[string]string{
	placeholders.HeaderPrefix: placeholders.HeaderPrefix,
	responsePrefix:            responsePrefix,
	"http.intercept.header.":  responsePrefix,
}

// matchers adds what regular expressions find.
func (d *definitions) matchers(sets caddyhttp.MatcherSets) {
	add := func(re *caddyhttp.MatchRegexp, of string) {
		d.add("http.regexp.", of)
		if re.Name != "" {
			d.add("http.regexp."+re.Name, of)
		}
	}
	eachMatcher(sets, func(matcher any) {
		d.module = matcher
		switch m := matcher.(type) {
		case *caddyhttp.MatchPathRE:
			add(&m.MatchRegexp, "{http.request.uri.path}")
		case *caddyhttp.MatchHeaderRE:
			for name, re := range *m {
				add(re, "{"+placeholders.HeaderPrefix+name+"}")
			}
		case *caddyhttp.MatchVarsRE:
			for name, re := range *m {
				if !strings.HasPrefix(name, "{") {
					name = "{http.vars." + name + "}"
				}
				add(re, name)
			}
		case *caddyhttp.MatchExpression:
			if strings.Contains(m.Expr, "_regexp") { // under any name
				d.add(anyRegexp, "{http.request.uri}")
			}
		}
	})
}

// eachMatcher calls f for the matchers that may have regular expressions.
func eachMatcher(sets caddyhttp.MatcherSets, f func(any)) {
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchPathRE, *caddyhttp.MatchHeaderRE, *caddyhttp.MatchVarsRE, *caddyhttp.MatchExpression:
				f(m)
			case *caddyhttp.MatchNot:
				eachMatcher(m.MatcherSets, f)
			}
		}
	}
}

func (d *definitions) add(name, text string) {
	d.made[name] = append(d.made[name], made{text, d.module != nil, d.sureAt[d.module]})
}

// of returns what a placeholder is made of, and whether the site defines it.
func (d *definitions) of(placeholder string) (all []made, ok bool) {
	if d == nil {
		return nil, false
	}
	if path, isData := strings.CutPrefix(strings.TrimPrefix(placeholder, "http."), dataPrefix); isData {
		for name, values := range d.made {
			key, isData := strings.CutPrefix(name, dataPrefix)
			if isData && (path == key || strings.HasPrefix(path, key+".")) {
				all, ok = append(all, values...), true
			}
		}
		return all, ok
	}
	if group, isFound := strings.CutPrefix(placeholder, "http.regexp."); isFound {
		if name, _, named := strings.Cut(group, "."); named {
			all, ok = d.made["http.regexp."+name]
		} else {
			all, ok = d.made["http.regexp."]
		}
		return append(slices.Clip(all), d.made[anyRegexp]...), ok
	}
	for prefix, here := range headerPrefixes {
		if name, isHeader := strings.CutPrefix(placeholder, prefix); isHeader {
			placeholder = here + textproto.CanonicalMIMEHeaderKey(name)
			break
		}
	}
	all, ok = d.made[placeholder]
	return all, ok
}
