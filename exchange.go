package caddysession

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session"
)

// exchange is one request and its response under a handler that owns them.
type exchange struct {
	*Handler
	request *http.Request
	state   *requestState
	started time.Time

	secure  bool // the cookie is Secure on this request
	site    session.Site
	hasSite bool             // the request's host has a canonical form within the cookie's domain
	session *session.Session // as loaded, nil if anonymous
	blind   bool             // the store could not tell, and the request passes as anonymous

	actions []action // of the site itself

	result  *session.Session   // as the response leaves it
	cancel  context.CancelFunc // ends the request's context, nil if it has none of its own
	watched *connection        // the response stays open, nil if it does not

	jar *jarExchange // nil without rules for cookies

	writer hookWriter
	failed bool // no response of the application goes out
	touch  bool // the session was used and not written

	// Memory for what most requests need once.
	tokens  [1]session.Token
	before  [2]headerField // the response's header as it was before
	caching [2]string      // for setCaching
}

// open loads the session that the request's cookies present. The error is what
// the client gets.
func (x *exchange) open(w http.ResponseWriter, cookies []string) error {
	r := x.request
	x.secure = x.cookie.SecureFor(isHTTPS(r))
	name := x.cookie.NameFor(x.secure)
	host, ok := x.cookie.ScopeHost(r.Host)
	if x.hasSite = ok; ok {
		x.site = session.Site{Scope: session.Scope{Name: name, Host: host, Path: x.cookie.ScopePath()}, Realm: x.Realm}
		if x.site.Realm == "" {
			x.site.Realm = host
		}
		if x.RecordClient {
			ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
			x.site.Client = session.Client{IP: ip, UserAgent: r.UserAgent()}
		}
	}
	if len(cookies) == 0 {
		x.manager.Count(session.EventNone)
		return nil
	}
	tokens, err := x.readTokens(cookies, name)
	if err != nil {
		return caddyhttp.Error(http.StatusRequestHeaderFieldsTooLarge, err)
	}
	if len(tokens) == 0 || !x.hasSite {
		return nil
	}
	ctx, span := x.span("session.load")
	open := x.manager.Open
	if mayBeCached(r) {
		open = x.manager.OpenCached
	}
	x.session, err = open(ctx, x.site, tokens, x.started)
	if span != nil {
		endLoad(span, x.session, err)
	}
	if err == nil {
		x.logID(x.session)
		return nil
	}
	if x.OnStoreError == "pass" {
		x.blind = true
		// The store logs that it is down, once.
		x.logger.Debug("the store can't be asked; letting the request pass as anonymous", zap.Error(err))
		return nil
	}
	if !x.state.asked { // else a retry would repeat what the application has done
		w.Header().Set("Retry-After", "1")
	}
	return caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// readTokens returns the different well-formed tokens in the Cookie lines, and
// none if there are more than anybody has by honest means.
func (x *exchange) readTokens(cookies []string, name string) ([]session.Token, error) {
	var room [cookiejar.MaxCandidates + 1]string
	tokens := x.tokens[:0]
	malformed := false
	values, err := cookiejar.Values(room[:0], cookies, name, func(value string) bool {
		t, ok := session.ParseToken(value)
		if ok {
			tokens = append(tokens, t)
		}
		malformed = malformed || !ok
		return ok
	})
	if err != nil {
		return nil, err
	}
	tooMany := len(values) > cookiejar.MaxCandidates
	switch {
	case tooMany || malformed && len(tokens) == 0:
		x.manager.Count(session.EventMalformed)
		return nil, nil
	case len(tokens) == 0:
		x.manager.Count(session.EventNone)
	}
	return tokens, nil
}

// inject shows the session to the application.
func (x *exchange) inject() error {
	if err := x.protocol.Inject(x.request.Header, x.session); err != nil {
		// The limit was lowered, and leaving something out would be a lie.
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	if x.jar != nil {
		x.injectCookies(x.request.Header, x.jar.in)
	}
	x.state.showUser(x.request, x.session)
	return nil
}

// serve runs the application and makes sure that the response was committed,
// or that the client gets none of it.
func (x *exchange) serve(w http.ResponseWriter, next caddyhttp.Handler) (err error) {
	before := saveHeader(x.before[:0], w.Header())
	x.writer.wrap(w, x)
	rw := &x.writer
	defer func() {
		if rw.failure != nil {
			// reverse_proxy aborts like this when it can't write the body.
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic value
				panic(p)
			}
			restoreHeader(w.Header(), before)
			err = rw.failure
		}
		// Of trailers, and of what the site itself has set before us; and the
		// access log shows it, after a panic too.
		x.protocol.StripResponse(w.Header())
		x.stripCookieTrailers(w.Header())
	}()
	x.state.asked = true
	defer x.unwatch()
	defer x.interruptible()()
	if err := next.ServeHTTP(rw, x.request); err != nil {
		// What never went out commits nothing.
		x.failed = true
		rw.end()
		return err
	}
	rw.end()
	if rw.cut.Load() {
		panic(http.ErrAbortHandler) // or a client would take it for complete
	}
	return nil
}

// interim keeps a 1xx response clean. It obeys nothing: the final response is
// still to come.
func (x *exchange) interim(header http.Header) {
	x.protocol.StripResponse(header)
	x.dropCookies(header, x.state.cookie)
	x.cleanCookies(header, x.state)
}

// minControl lets an application sign out whatever max_data is.
const minControl = 256

// clientClosedRequest is what Caddy answers to clients that have gone before
// the application answered.
const clientClosedRequest = 499

// final takes what the application asks for out of the header, commits it, and
// puts in what the browser has to know.
func (x *exchange) final(header http.Header, status int) error {
	patch, err := x.protocol.Take(header, max(x.manager.Policy.MaxData, minControl))
	x.dropCookies(header, x.state.cookie)
	x.stripCookieTrailers(header)
	if x.failed {
		x.cleanCookies(header, x.state)
		// Another page for everybody with this cookie, and caches may keep
		// a 404: what error routes send depends on the session, too.
		setCaching(header, status, x.state.sentCookie(header), x.session != nil || x.blind, &x.caching)
		return nil
	}
	mistake := malformedControl
	if patch != nil || err != nil {
		switch {
		case fromCache(header):
			x.manager.Count(session.EventCached)
			x.logger.Error("ignoring session headers of a response that comes from a cache: it is not about this request", x.where())
			patch, err = nil, nil
		case err == nil && sharedCacheable(header):
			mistake = cacheableControl
			err = errors.New("the response says that shared caches may store it, and would give one user's session to others: send Cache-Control: no-store or private")
		}
	}
	if err != nil {
		x.manager.Count(session.EventRefused)
		mistake.Inc()
		return x.refuse(err)
	}
	if status != clientClosedRequest {
		if patch, err = x.wishes(patch); err != nil {
			return err
		}
	}
	result := session.Result{Session: x.session}
	patch = x.keepCookies(header, patch)
	if patch != nil && patch.Writes() {
		if result, err = x.commit(patch); err != nil {
			return err
		}
	}
	x.sendCookies(header, result.Session)
	if line := x.setCookie(result); line != "" {
		x.state.sendCookie(header, line)
		if x.actions != nil && sharedCacheable(header) {
			// What an application says so is refused above; a site's own
			// header lines are for its pages rather than for this cookie.
			delete(header, "Cdn-Cache-Control")
			delete(header, "Surrogate-Control")
		}
	}
	x.result = result.Session
	setCaching(header, status, x.state.sentCookie(header), x.session != nil || result.Session != nil || x.blind, &x.caching)
	if x.jar != nil && x.jar.private {
		makePrivate(header)
	}

	x.touch = !result.Committed && (patch == nil || !patch.NoTouch) && status != clientClosedRequest
	return nil
}

func (x *exchange) sent() {
	if x.touch {
		x.manager.Touch(x.session, time.Now())
	}
	if x.session != nil && isEventStream(x.writer.Header()) {
		x.watch(x.interrupt, false)
	}
}

// setCookie returns the Set-Cookie line that a result calls for, or "".
func (x *exchange) setCookie(result session.Result) string {
	switch result.Cookie {
	case session.CookieSet:
		var age time.Duration // until the browser closes
		if s := result.Session; s.Remembered() || x.Cookie.Persistent {
			age = max(time.Until(s.Deadline()), time.Second)
		}
		return x.cookie.SetLine(result.Session.Token().Bearer(), x.secure, age)
	case session.CookieExpire:
		return x.cookie.ExpireLine(x.secure)
	}
	return ""
}

// commit applies a patch and returns what the response has to do. The error is
// what the client gets instead of the response.
func (x *exchange) commit(patch *session.Patch) (session.Result, error) {
	switch {
	case !x.hasSite:
		return session.Result{}, x.refuse(fmt.Errorf("a session for the host %q, which has no canonical form or is outside of the cookie's domain", x.request.Host))
	case x.blind:
		return session.Result{}, caddyhttp.Error(http.StatusServiceUnavailable,
			errors.New("the response changes a session that could not be loaded"))
	}
	// A client that hangs up does not undo what the application has done.
	ctx, span := x.span("session.commit")
	result, err := x.manager.Commit(context.WithoutCancel(ctx), x.site, x.session, patch, time.Now())
	if span != nil {
		endCommit(span, result, err)
	}
	x.logID(result.Session)
	var malformed *session.MalformedError
	switch {
	case err == nil:
		return result, nil
	case errors.Is(err, session.ErrVersion):
		return result, caddyhttp.Error(http.StatusConflict, err)
	case errors.As(err, &malformed):
		malformedControl.Inc()
		return result, x.refuse(err)
	}
	x.logger.Error("session was not saved; withholding the response", x.where(), zap.Error(err))
	return result, caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// refuse is the answer to an application that asks for what can't be done.
func (x *exchange) refuse(err error) error {
	x.logger.Error("refusing a response: its session headers are wrong", x.where(), zap.Error(err))
	return caddyhttp.Error(http.StatusBadGateway, err)
}

// logID puts the id into the access log, if the server has one. The session of
// the response takes the place of the one that the request came with.
func (x *exchange) logID(s *session.Session) {
	if s == nil {
		return
	}
	ctx := x.request.Context()
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server != nil && server.Logs == nil {
		return
	}
	if extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.String("session", s.ID()))
	}
}

// where tells which request a log line is about, without its query, which may
// hold secrets.
func (x *exchange) where() zap.Field { return where(x.request) }

func where(r *http.Request) zap.Field {
	return zap.Dict("request", zap.String("method", r.Method), zap.String("host", r.Host), zap.String("path", r.URL.Path))
}
