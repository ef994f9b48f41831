package sessionapp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/placeholders"
)

// Who is signed in must not come from what a client may write. What follows holds
// the directives that set data keys to that, in two steps: when a directive is
// set up, by what it reads itself; and at the start of the configuration, when all
// is known, by what that is made of.

// SessionHandler is what the check asks the handler `session`.
type SessionHandler interface {
	caddy.Module
	// SubjectKey returns the data key, or the path, of the subject.
	SubjectKey() string
	// StripsHeader reports whether clients can't send a request header.
	StripsHeader(name string) bool
	// ForwardedKey returns the data key that a request header shows the value
	// of, "" for none.
	ForwardedKey(header string) string
	// StripsCookie reports whether clients can't choose what a cookie of the
	// application says.
	StripsCookie(name string) bool
	// SetHeader returns the response header that sets data keys.
	SetHeader() string
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
func checkIdentity(app *caddyhttp.App, log *zap.Logger) error {
	var all error
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		w := &identityWalk{app: app, server: server, log: log, sureAt: sureAt{}}
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
	server *caddyhttp.Server
	log    *zap.Logger
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
			if h.Response != nil {
				w.headers = append(w.headers, headerOps{h, h.Response.HeaderOps, here, b})
			}
		default: // with routes for some responses
			if proxy, ok := handler.(*reverseproxy.Handler); ok {
				w.checkCopied(proxy, here, b)
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
		w.log.Warn("who is signed in may come from what a client writes: "+what, zap.String("at", sourceOf(s)))
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

// headerSetter is a line X-Session-Set that the site itself adds to responses. A
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
			s := headerSetter{Module: one.of, header: h.SetHeader(), subject: h.SubjectKey()}
			for _, value := range lines.made[s.header] {
				s.values = append(s.values, value.text)
			}
			if s.values != nil {
				w.check(s, one.at, before{[]SessionHandler{h}, one.b.sure})
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

// identityCheck holds a directive to the handlers that run before it.
type identityCheck struct {
	handlers []SessionHandler // that may have the session
	sure     []SessionHandler // those of them that run in any case
	defined  *definitions     // nil: not known yet
	server   *caddyhttp.Server
	warn     func(what string)
}

func (c *identityCheck) check(s SessionSetter) error {
	for _, h := range c.handlers {
		subject := h.SubjectKey()
		for _, text := range subjectTexts(s.Assignments(), subject) {
			found := c.text(text, map[string]bool{})
			if found.writer == placeholders.Trusted {
				continue
			}
			directive := "session_set " + subject
			if h, ok := s.(headerSetter); ok {
				directive = "header " + h.header
			}
			what := fmt.Sprintf("%s reads %s, %s", directive, found.via, found.what)
			if found.writer == placeholders.Visitor {
				if at := sourceOf(s); at != "" {
					what = at + ": " + what
				}
				return fmt.Errorf("%s, so anybody could sign in as anybody: %s", what, found.remedy(subject))
			}
			if c.warn != nil {
				c.warn(what)
			}
		}
	}
	return nil
}

// finding is who can write a value. Visitor is worse than Unknown, which is worse
// than Trusted; there are no others.
type finding struct {
	writer placeholders.Writer
	key    string // the placeholder that is read in the end
	via    string // the way to it
	what   string
}

func (f finding) worseThan(other finding) bool {
	return f.writer == placeholders.Visitor && other.writer != placeholders.Visitor ||
		f.writer == placeholders.Unknown && other.writer == placeholders.Trusted
}

// remedy says what to write instead.
func (f finding) remedy(subject string) string {
	if name, ok := strings.CutPrefix(f.key, placeholders.HeaderPrefix); ok {
		return fmt.Sprintf("write forward %s %s into the block of session, which removes that header from what clients send", subject, name)
	}
	if strings.HasPrefix(f.key, "http.request.cookie.") {
		return "keep, seal or sign that cookie in the block cookies of session"
	}
	return "take it from what has been checked, such as {http.auth.user.id}, or set another key"
}

// text returns the worst of the placeholders in a text.
func (c *identityCheck) text(text string, seen map[string]bool) finding {
	worst := finding{writer: placeholders.Trusted}
	for _, key := range placeholders.In(text) {
		if f := c.placeholder(key, seen); f.worseThan(worst) {
			worst = f
		}
	}
	return worst
}

// placeholder looks into one. seen has those that are being looked into.
func (c *identityCheck) placeholder(key string, seen map[string]bool) finding {
	f := finding{key: key, via: "{" + key + "}"}
	if seen[key] {
		f.writer = placeholders.Trusted // by itself it is nothing
		return f
	}
	seen[key] = true
	defer delete(seen, key)

	writer, what := placeholders.Of(key)
	f.what = what
	values, defined := c.defined.of(key)
	switch writer {
	case placeholders.Header:
		name := strings.TrimPrefix(key, placeholders.HeaderPrefix)
		writer = c.unless(func(h SessionHandler) bool { return h.StripsHeader(name) })
		for _, h := range c.handlers {
			if shown := h.ForwardedKey(name); shown != "" {
				values = append(slices.Clip(values), made{text: "{" + dataPrefix + shown + "}"})
			}
		}
	case placeholders.Cookie:
		writer = c.unless(func(h SessionHandler) bool { return h.StripsCookie(strings.TrimPrefix(key, "http.request.cookie.")) })
	case placeholders.Certificate:
		writer = placeholders.Trusted
		if c.server != nil && !verifiesClients(c.server) {
			writer = placeholders.Unknown
		}
	case placeholders.Defined:
		switch {
		case defined, c.defined == nil, strings.Contains(key, "session.data."):
			writer = placeholders.Trusted
		case strings.HasPrefix(key, "http.regexp."):
			writer = placeholders.Visitor
		default:
			writer = placeholders.Unknown
		}
	case placeholders.Unknown:
		if defined || c.defined == nil {
			writer = placeholders.Trusted
		}
	}
	f.writer = writer
	for _, value := range values {
		then := *c
		if value.early {
			then.sure = value.sure
		}
		if inner := then.text(value.text, seen); inner.worseThan(f) {
			inner.via = f.via + ", which is made of " + inner.via
			f = inner
		}
	}
	return f
}

// unless returns Visitor unless a handler that runs in any case says so.
func (c *identityCheck) unless(strips func(SessionHandler) bool) placeholders.Writer {
	if slices.ContainsFunc(c.sure, strips) {
		return placeholders.Trusted
	}
	return placeholders.Visitor
}

// verifiesClients reports whether certificates of clients are verified by an
// authority where any are asked for.
func verifiesClients(server *caddyhttp.Server) bool {
	for _, policy := range server.TLSConnPolicies {
		if policy.TLSConfig == nil {
			continue
		}
		switch policy.TLSConfig.ClientAuth {
		case tls.RequestClientCert, tls.RequireAnyClientCert:
			return false
		}
	}
	return true
}

// subjectTexts returns the strings in an object at a path: a key, or keys of
// nested objects joined by dots.
func subjectTexts(object map[string]any, path string) (texts []string) {
	for key, value := range object {
		rest, below := strings.CutPrefix(path, key+".")
		inner, isObject := value.(map[string]any)
		switch {
		case key == path, below && !isObject:
			texts = append(texts, textsIn(value)...)
		case below:
			texts = append(texts, subjectTexts(inner, rest)...)
		}
	}
	slices.Sort(texts) // the message does not depend on the order of a map
	return texts
}

// textsIn returns the strings in a value.
func textsIn(value any) (texts []string) {
	switch v := value.(type) {
	case string:
		texts = append(texts, v)
	case []any:
		for _, element := range v {
			texts = append(texts, textsIn(element)...)
		}
	case map[string]any:
		for _, member := range v {
			texts = append(texts, textsIn(member)...)
		}
	}
	return texts
}
