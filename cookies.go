package caddysession

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session"
)

// Events of the application's own cookies.
const (
	eventCookieInvalid  session.Event = "cookie_invalid"  // a sealed or signed one that does not verify
	eventCookieIgnored  session.Event = "cookie_ignored"  // one of the application that was refused
	eventCookieEvicted  session.Event = "cookie_evicted"  // a kept one that had to go for others
	eventCookieReissued session.Event = "cookie_reissued" // sent again under a new key
)

var cookieEvents = []session.Event{eventCookieInvalid, eventCookieIgnored, eventCookieEvicted, eventCookieReissued}

// jarMember is the member of the session's private object that holds the kept
// cookies.
const jarMember = "jar"

// checkCookies checks the configuration, and takes the headers of its forward
// lines.
func (h *Handler) checkCookies(protocol *session.Protocol, own []string) error {
	if h.Cookies == nil {
		return nil
	}
	if err := h.Cookies.Validate(own); err != nil {
		return fmt.Errorf("cookies: %w", err)
	}
	for _, f := range h.Cookies.Forward {
		if err := protocol.Reserve(f.Name, protocol.HeaderName(cookieKind, f.Name, f.Header)); err != nil {
			return fmt.Errorf("cookies: %w", err)
		}
	}
	return nil
}

// cookieKind is in the names of headers that are called after cookies, so that
// they are not those of data keys.
const cookieKind = "Cookie-"

func (h *Handler) provisionCookies(policy session.Policy) error {
	if h.Cookies == nil {
		return nil
	}
	rules := *h.Cookies
	rules.Keys = make([]string, len(h.Cookies.Keys))
	for i, key := range h.Cookies.Keys {
		var err error
		if rules.Keys[i], err = resolve("cookies: keys", key); err != nil {
			return err
		}
	}
	fits := func(value string) bool { return len(session.EncodeValue(value)) <= policy.Exposed }
	var err error
	if h.keeper, err = rules.Compile(h.cookie.Names(), fits); err != nil {
		return fmt.Errorf("cookies: %w", err)
	}
	return nil
}

// withCookie adds Cookie to the headers that clients can't make a proxy delete,
// or send as trailers, while we put something into it.
func (h *Handler) withCookie(r *http.Request, managed func(string) bool) func(string) bool {
	if h.keeper == nil || r.Trailer == nil && len(r.Header["Connection"])+len(r.Header["Trailer"]) == 0 {
		return managed
	}
	return func(name string) bool { return managed(name) || strings.EqualFold(name, "Cookie") }
}

// jarExchange is what the cookies of one exchange are about.
type jarExchange struct {
	context cookiejar.Context
	in      cookiejar.Incoming
	stored  cookiejar.Stored // of the last application of the patch
	private bool             // shared caches must not store the response
}

// receive gives the application the cookies that it is to see.
func (h *Handler) receive(r *http.Request, state *requestState, s *session.Session) jarExchange {
	if state.reread { // another handler, before an error or with another matcher
		session.Strip(r.Header, func(name string) bool { return strings.EqualFold(name, "Cookie") })
		if len(state.cookies) > 0 {
			r.Header["Cookie"] = state.cookies
		}
		cookiejar.Strip(r.Header, state.names...)
	}
	state.reread, state.kept = true, nil
	host, _ := cookiejar.CanonicalHost(r.Host)
	j := jarExchange{context: cookiejar.NewContext(r, host, browserPath(r), isHTTPS(r), time.Now())}
	jar := ""
	if s != nil {
		j.context.Session = s.ID()
		jar = s.PrivateValue(jarMember)
	}
	j.in = h.keeper.Receive(r.Header, j.context, jar)
	return j
}

func (h *Handler) countInvalid(invalid []cookiejar.Ignored) {
	for _, one := range invalid {
		h.manager.Count(eventCookieInvalid)
		if c := h.logger.Check(zap.DebugLevel, "removing a cookie from a request"); c != nil {
			c.Write(zap.String("name", one.Name), zap.NamedError("reason", one.Reason))
		}
	}
}

// browserPath returns the path that the browser knows, whatever handlers have
// made of it since.
func browserPath(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL.EscapedPath()
	}
	return r.URL.EscapedPath()
}

func (x *exchange) openCookies() {
	if x.keeper != nil {
		j := x.receive(x.request, x.state, x.session)
		x.jar = &j
		x.countInvalid(x.jar.in.Invalid)
	}
}

// injectCookies sets the headers of forward lines.
func (h *Handler) injectCookies(header http.Header, in cookiejar.Incoming) {
	for i, value := range in.Forward {
		if value != nil {
			f := h.Cookies.Forward[i]
			header[h.protocol.HeaderName(cookieKind, f.Name, f.Header)] = []string{session.EncodeValue(*value)}
		}
	}
}

// closeCookies takes the session's cookies out of the request again, for error
// routes.
func (h *Handler) closeCookies(r *http.Request, state *requestState) {
	if h.keeper != nil {
		h.receive(r, state, nil)
	}
}

// keepCookies takes the cookies that are kept out of a response, and adds them
// to what is committed; patch may be nil. Where the session has them already,
// there is nothing to commit.
func (x *exchange) keepCookies(header http.Header, patch *session.Patch) *session.Patch {
	if x.keeper == nil {
		return patch
	}
	x.state.kept = x.Handler
	x.jar.context.Now = time.Now()
	taken := x.keeper.Take(header, x.state.cookie, x.jar.context.Now)
	x.jar.private = taken.Lines > 0
	x.jar.stored.Ignored = taken.Ignored
	switch {
	case len(taken.Kept) == 0:
		return patch
	case fromCache(header):
		x.manager.Count(session.EventCached)
		x.logger.Error("not keeping the cookies of a response that comes from a cache: they are not for this visitor", x.where())
		return patch
	case !x.hasSite:
		x.logger.Warn("not keeping the cookies of a response: its host has no canonical form or is outside of the session cookie's domain", x.where())
		return patch
	}
	edit := func(private []byte) map[string]any {
		x.jar.stored = cookiejar.StoreKept(session.PrivateValue(private, jarMember), x.jar.context, taken.Kept, x.manager.Policy.Touch)
		x.jar.stored.Ignored = append(x.jar.stored.Ignored, taken.Ignored...)
		if x.jar.stored.Changes == nil {
			return nil
		}
		return map[string]any{jarMember: x.jar.stored.Changes}
	}
	var private []byte
	if x.session != nil {
		private = x.session.Private()
	}
	changes := edit(private) != nil
	// A patch may empty the jar first, or change a session that has another
	// jar by now.
	if changes || x.session != nil && patch != nil && patch.Writes() {
		if patch == nil {
			patch = new(session.Patch)
		}
		patch.Edit = edit
	}
	return patch
}

// sendCookies makes the cookies of a response what the browser is to see. s is
// the session from now on.
func (x *exchange) sendCookies(header http.Header, s *session.Session) {
	if x.keeper == nil {
		return
	}
	if x.jar.context.Session = ""; s != nil {
		x.jar.context.Session = s.ID()
	}
	x.send(header, x.jar, x.state.cookie)
	x.logIgnored(x.jar.stored.Ignored, x.request)
	for _, name := range x.jar.stored.Evicted {
		x.manager.Count(eventCookieEvicted)
		x.logger.Warn("a session has more cookies than it may keep: removing the one written longest ago", x.where(),
			zap.String("name", name), zap.Int("most", cookiejar.MaxKept))
	}
}

func (h *Handler) send(header http.Header, j *jarExchange, own string) {
	// A cookie that nobody asked for must not get into a cache.
	again := j.in.Stale() && !sharedCacheable(header) && !fromCache(header)
	ignored, added := h.keeper.Send(header, j.context, j.in, own, again)
	for range added {
		h.manager.Count(eventCookieReissued)
	}
	j.private = j.private || added > 0
	j.stored.Ignored = append(j.stored.Ignored, ignored...)
}

func (h *Handler) logIgnored(ignored []cookiejar.Ignored, r *http.Request) {
	for _, one := range ignored {
		h.manager.Count(eventCookieIgnored)
		h.logger.Warn("ignoring a cookie that the application sets", where(r),
			zap.String("name", one.Name), zap.NamedError("reason", one.Reason))
	}
}

// cleanCookies removes what browsers must not see from a response that comes to
// nothing.
func (h *Handler) cleanCookies(header http.Header, state *requestState) {
	if h.keeper != nil {
		h.keeper.Clean(header, state.cookie)
	}
}

// stripCookieTrailers removes cookies that come as trailers: user agents ignore
// them there, but they would be seen.
func (h *Handler) stripCookieTrailers(header http.Header) {
	if h.keeper == nil {
		return
	}
	session.StripList(header, "Trailer", isSetCookie)
	session.Strip(header, func(name string) bool {
		name, ok := strings.CutPrefix(name, http.TrailerPrefix)
		return ok && isSetCookie(name)
	})
}

func isSetCookie(name string) bool { return strings.EqualFold(name, "Set-Cookie") }

// rules reports whether the handler's rules apply to a request that it does not
// own: nobody else's do.
func (p *passing) rules() bool { return p.keeper != nil && p.owner == nil }

func (p *passing) openCookies(r *http.Request) {
	if p.rules() {
		p.jar = p.receive(r, p.state, nil)
		p.countInvalid(p.jar.in.Invalid)
		p.injectCookies(r.Header, p.jar.in)
	}
}

// sendCookies is that of exchange without a session: nothing can be kept, or
// bound.
func (p *passing) sendCookies(header http.Header) {
	if !p.rules() || p.state.kept != nil {
		return
	}
	p.state.kept = p.Handler
	p.jar.context.Now = time.Now()
	taken := p.keeper.Take(header, p.state.cookie, p.jar.context.Now)
	p.jar.private = taken.Lines > 0
	for _, cookie := range taken.Kept {
		p.jar.stored.Ignored = append(p.jar.stored.Ignored, cookiejar.Ignored{Name: cookie.Name, Reason: errNoSession})
	}
	p.send(header, &p.jar, p.state.cookie)
	p.logIgnored(append(p.jar.stored.Ignored, taken.Ignored...), p.request)
	if p.jar.private {
		makePrivate(header)
	}
}

var errNoSession = errors.New("it is to be kept, and the matcher leaves the request without a session")
