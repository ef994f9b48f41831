package caddysession

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/api"
	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/internal/appcookies"
	"github.com/caddy-session/caddy-session/internal/caching"
	"github.com/caddy-session/caddy-session/internal/cancel"
	"github.com/caddy-session/caddy-session/internal/logging"
	"github.com/caddy-session/caddy-session/internal/origin"
	"github.com/caddy-session/caddy-session/internal/response"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
)

// exchange is a request that a handler owns, and its response. In the order of
// the calls: begin loads the session, show gives it to the application, run has
// the application answer; then take reads what it asks for out of the response's
// header, commit does that, answer tells the browser.
type exchange struct {
	h       *Handler
	visit   *visit
	request *http.Request
	started time.Time

	site        session.Site // its Scope is zero where there can't be a session: see hasSite
	from        origin.Origin
	secure      bool // the session cookie is Secure on this request
	reserved    reserved
	came        visitor
	cookies     *appcookies.Cookies
	actions     []action       // of the site itself
	fromVisitor map[string]any // what they set of what the visitor has sent
	label       *string        // that they ask for, or nil
	private     bool           // shared caches must not store the response, though it says so

	capability *api.Capability // nil without the session API, unless the request is locked
	done       session.Result  // by the API, before the response began

	after    *session.Session               // as the response leaves it
	answered bool                           // after is
	moved    atomic.Pointer[session.Result] // what the API has done until now, else nil

	touch  bool // the session was used and not written
	writer response.Writer

	// What ends with the session: see join.
	joined  bool // stream is registered
	stream  sessionapp.Stream
	context cancel.Context
	body    body
	conn    atomic.Pointer[net.Conn] // after Hijack, else nil

	alive *keepAlive // nil without a session that may end for want of use

	// Memory for what most requests need once.
	room struct {
		tokens [1]session.Token
		tags   [1]string
		before [2]response.Field
		lines  caching.Room
	}
}

// visitor is whom a request comes from: with a live session, anonymous (the zero
// value), or unknown, where the store could not tell and the request passes as
// anonymous.
type visitor struct {
	session *session.Session // nil unless live
	tag     string           // that came with a token
	unknown bool
}

// anonymous reports whether it is sure that there is no session.
func (v visitor) anonymous() bool { return v.session == nil && !v.unknown }

// hasSite reports whether the request's host has a canonical form, and is within
// the cookie's domain.
func (x *exchange) hasSite() bool { return x.site.Scope.Host != "" }

// begin loads the session that the request's cookies present. The error is what
// the client gets.
func (x *exchange) begin(w http.ResponseWriter) error {
	x.started = time.Now()
	err := x.load(w)
	x.visit.session, x.visit.loaded = x.came.session, x
	if err == nil && x.came.session != nil && x.h.Lock != nil {
		err = x.lock(w)
		x.visit.session = x.came.session
	}
	return err
}

// release is called when the handler is done with the request.
func (x *exchange) release() {
	x.capability.Close() // of a request that was locked and did not run
	x.visit.exchange = nil
}

func (x *exchange) load(w http.ResponseWriter) error {
	h, r := x.h, x.request
	x.from = h.originOf(r)
	x.secure = h.cookie.SecureFor(x.from.HTTPS)
	name := h.cookie.NameFor(x.secure)
	if host, ok := h.cookie.ScopeHost(r.Host); ok {
		x.site = session.Site{Scope: session.Scope{Name: name, Host: host, Path: h.cookie.ScopePath()}, Realm: h.Realm}
		if x.site.Realm == "" {
			x.site.Realm = host
		}
		if h.RecordClient {
			ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
			x.site.Client = session.Client{IP: ip, UserAgent: r.UserAgent()}
		}
	}
	// Whatever comes in place of the cookie: a planted one that is SameSite=None is
	// not held back.
	x.site.NoAnonymous = x.from.MayHoldBack()
	tokens, tags, err := x.readTokens(name)
	if err != nil {
		return caddyhttp.Error(http.StatusRequestHeaderFieldsTooLarge, err)
	}
	if len(tokens) == 0 || !x.hasSite() {
		return nil
	}
	x.came.tag = tags[0] // with a session: that of its token
	ctx, span := x.span("session.load")
	load := h.manager.Load
	if mayBeCached(r) {
		load = h.manager.LoadCached
	}
	var stale bool
	x.came.session, stale, err = load(ctx, x.site, tokens, x.started)
	x.site.NoAnonymous = x.site.NoAnonymous || stale
	if span != nil {
		endLoad(span, x.came.session, err)
	}
	if err == nil {
		if s := x.came.session; s != nil {
			if i := slices.Index(tokens, s.Token()); i >= 0 {
				x.came.tag = tags[i]
			}
			x.logID(s)
		}
		return nil
	}
	return x.unavailable(w, err)
}

// whole returns a session of the request with its data, nil if it has ended or was
// renewed meanwhile. The error is what the client gets.
func (x *exchange) whole(s *session.Session) (*session.Session, error) {
	// A client that hangs up does not undo what the application has done.
	s, err := x.h.manager.Whole(context.WithoutCancel(x.request.Context()), s, time.Now())
	if err != nil {
		return nil, caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	return s, nil
}

// leaves returns the session that the response leaves, or the API until that begins; own
// tells that one of them has said so. Nobody else may know its secret yet.
func (x *exchange) leaves() (s *session.Session, own bool) {
	if x.answered {
		return x.after, true
	}
	if moved := x.moved.Load(); moved != nil {
		return moved.Session, true
	}
	return nil, false
}

// unavailable is for a request whose session the store could not tell. The error is
// what the client gets.
func (x *exchange) unavailable(w http.ResponseWriter, err error) error {
	if errors.Is(err, context.Canceled) {
		return caddyhttp.Error(clientClosedRequest, err) // which Caddy logs at DEBUG
	}
	if x.h.OnStoreError == "pass" {
		x.came.session, x.came.unknown = nil, true
		// The store logs that it is down, once.
		x.h.logger.Debug("the store can't be asked; letting the request pass as anonymous", zap.Error(err))
		return nil
	}
	return x.later(w, http.StatusServiceUnavailable, err)
}

// later is the error for a client that may ask again.
func (x *exchange) later(w http.ResponseWriter, status int, err error) error {
	if !x.visit.reached { // else a retry would repeat what the application has done
		w.Header().Set("Retry-After", "1")
	}
	return caddyhttp.Error(status, err)
}

// readTokens returns the different well-formed tokens in the Cookie lines, with
// their tags, and none if there are more than anybody has by honest means.
func (x *exchange) readTokens(name string) (tokens []session.Token, tags []string, err error) {
	if len(x.visit.cookies.Lines) == 0 {
		x.h.manager.Count(session.EventNone)
		return nil, nil, nil
	}
	var room [cookiejar.MaxCandidates + 1]string
	tokens, tags = x.room.tokens[:0], x.room.tags[:0]
	malformed := false
	values, err := cookiejar.Values(room[:0], x.visit.cookies.Lines, name, func(value string) bool {
		t, tag, ok := session.ParseCookie(value)
		if ok && !slices.Contains(tokens, t) { // or one with two tags would be two
			tokens, tags = append(tokens, t), append(tags, tag)
		}
		malformed = malformed || !ok
		return ok
	})
	if err != nil {
		return nil, nil, err
	}
	tooMany := len(values) > cookiejar.MaxCandidates
	switch {
	case tooMany || malformed && len(tokens) == 0:
		x.h.manager.Count(session.EventMalformed)
		return nil, nil, nil
	case len(tokens) == 0:
		x.h.manager.Count(session.EventNone)
	}
	return tokens, tags, nil
}

// mayBeCached reports whether a session from a near-cache is good enough: the
// request changes nothing (RFC 9110, section 9.2.1) and ends soon, unlike one
// that asks for a WebSocket. TRACE is safe too, but nobody uses it.
func mayBeCached(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return len(r.Header["Upgrade"]) == 0
	}
	return false
}

// askAnew takes away what would let the application answer that the browser's copy
// of a page, or the part that it has, is still good, where the browser has that from
// other kept cookies than the application gets: after an operator has ended the
// session, for example.
func (x *exchange) askAnew() {
	header := x.request.Header
	if x.cookies == nil || len(header["If-None-Match"])+len(header["If-Modified-Since"])+len(header["If-Range"]) == 0 ||
		x.request.Method != http.MethodGet && x.request.Method != http.MethodHead || x.cookies.Tag(x.came.session) == x.came.tag {
		return
	}
	delete(header, "If-None-Match")
	delete(header, "If-Modified-Since")
	if len(header["If-Range"]) > 0 {
		delete(header, "If-Range")
		delete(header, "Range") // which would be for the part in any case now (RFC 9110, section 13.1.5)
	}
}

// show gives the session and the cookies to the application.
func (x *exchange) show() error {
	x.cookies = x.h.appCookies.Enter(x.request, &x.visit.cookies, x.came.session, x.from, browserPath(x.request))
	if x.hasSite() && !x.came.unknown {
		x.site.NewID = x.h.protocol.NewID()
	}
	if err := x.h.manager.Inject(x.request.Header, x.site, x.came.session, x.started); err != nil {
		// The limit was lowered, and leaving something out would be a lie.
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	if x.h.api != nil && x.hasSite() && !x.came.unknown {
		if x.capability == nil {
			x.capability = api.New(x.h.manager, &x.site, x.came.session, x, x.parent())
		}
		x.request.Header[x.h.protocol.APIHeader()] = x.h.api.Header(x.capability)
	}
	x.cookies.Show()
	x.askAnew()
	x.visit.showUser(x.request, x.came.session)
	return nil
}

// run has the application answer, and makes sure that the response was committed
// or that the client gets none of it.
func (x *exchange) run(w http.ResponseWriter, next caddyhttp.Handler) (err error) {
	before := response.Save(x.room.before[:0], w.Header())
	x.writer.Wrap(w, x)
	defer func() {
		if failure := x.writer.Failure(); failure != nil {
			// reverse_proxy aborts like this when it can't write the body.
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic value
				panic(p)
			}
			before.Restore(w.Header())
			x.withheld(w.Header())
			err = failure
		}
		// Of trailers, and of what the site itself has set before us; and the
		// access log shows it, after a panic too.
		x.h.protocol.StripResponse(w.Header())
		x.h.appCookies.StripTrailers(w.Header())
	}()
	x.visit.reached = true
	x.join()
	defer x.leave()
	x.keepAlive(x.came.session)
	defer x.endKeepAlive()
	if x.h.api != nil {
		x.capability.Open()
	}
	defer x.capability.Close()
	if err := next.ServeHTTP(&x.writer, x.request); err != nil {
		if x.writer.Abandon() {
			x.abandoned(w.Header())
		}
		return err
	}
	x.writer.End()
	if x.writer.CutOff() {
		panic(http.ErrAbortHandler) // or a client would take it for complete
	}
	return nil
}

// Interim implements [response.Hooks]: it keeps a 1xx response clean. It obeys
// nothing, since the final response is still to come.
func (x *exchange) Interim(header http.Header) {
	x.h.protocol.StripResponse(header)
	x.cookies.Clean(header, x.visit.line)
	x.h.dropCookies(header, x.reserved, x.visit.line)
}

// abandoned cleans the header of a response that never went out. It commits
// nothing.
func (x *exchange) abandoned(header http.Header) {
	x.Interim(header)
	x.h.appCookies.StripTrailers(header)
	if done, ok := x.capability.Begin(); ok {
		x.done = done
		x.capability.Begun(done.Session)
		x.withheld(header)
	}
	// Another page for everybody with this cookie, and caches may keep a 404:
	// what error routes send depends on the session, too.
	caching.Protect(header, 0, x.visit.hasCookie(header), !x.came.anonymous(), false, &x.room.lines)
}

// Moved implements [api.Response].
func (x *exchange) Moved(result session.Result) {
	x.moved.Store(&result)
	x.belong(result)
	if x.alive != nil {
		x.alive.session.Store(result.Session)
	}
}

// withheld tells the browser what the API has done in the header of what it gets in
// place of the response: that stands.
func (x *exchange) withheld(header http.Header) {
	if line := x.setCookie(x.done, time.Now()); line != "" {
		x.visit.setCookie(header, line)
		caching.Protect(header, 0, true, true, false, &x.room.lines)
	}
}

// Final implements [response.Hooks]: before the first byte goes out, it takes what
// the application asks for, commits it, and answers.
func (x *exchange) Final(header http.Header, status int) error {
	if done, ok := x.capability.Begin(); ok {
		// The response goes on from there.
		x.done, x.came.session, x.after = done, done.Session, done.Session
		x.logID(done.Session)
		defer func() { x.capability.Begun(x.after) }()
	}
	patch, err := x.take(header, status)
	if err != nil {
		return err
	}
	patch = x.withLabel(patch)
	if patch != nil && patch.IfVersion == nil && !patch.Destroy && !patch.OnlyLabels() {
		patch.IfVersion = x.capability.Fence()
	}
	result := session.Result{Session: x.came.session, Cookie: x.done.Cookie, Committed: x.done.Committed}
	now := time.UnixMilli(time.Now().UnixMilli()) // as records keep it
	if patch != nil && patch.Writes() {
		if result, err = x.commit(patch, now); err != nil {
			return err
		}
		result = result.After(x.done)
	}
	used := (patch == nil || !patch.NoTouch) && status != clientClosedRequest
	x.answer(header, status, result, used, now)
	x.touch = used && !result.Committed
	if used {
		x.keepAlive(x.after)
	} else {
		x.keepAlive(nil)
	}
	return nil
}

// minControl lets an application sign out whatever max_data is.
const minControl = 256

// clientClosedRequest is what clients are answered that have gone before the
// application answered, by Caddy and here.
const clientClosedRequest = 499

// take takes what the application asks for out of a response's header, and adds
// what the site itself asks for and the cookies that are to be kept. The patch is
// nil if there is nothing. The error is what the client gets.
func (x *exchange) take(header http.Header, status int) (*session.Patch, error) {
	patch, err := x.h.protocol.Take(header, max(x.h.manager.Policy().MaxData, minControl))
	kept := x.cookies.Take(header, x.visit.line)
	x.h.dropCookies(header, x.reserved, x.visit.line)
	x.h.appCookies.StripTrailers(header)
	if (patch != nil || err != nil) && caching.FromCache(header) {
		x.h.manager.Count(session.EventCached)
		x.log(&x.h.lines.cached, x.h.logger.Error, "ignoring session headers of a response that comes from a cache: it is not about this request")
		patch, err = nil, nil
	}
	if err != nil {
		x.h.manager.Count(session.EventRefused)
		x.h.manager.Count(sessionapp.EventControlMalformed)
		return nil, x.refuse(err)
	}
	if x.private = (patch != nil || x.done.Committed) && caching.Shareable(header); x.private {
		x.h.manager.Count(sessionapp.EventControlCacheable)
		x.log(&x.h.lines.shareable, x.h.logger.Warn, "making a response private: it changes the session, and says that shared caches may store it, which would give one user's session to others; send Cache-Control: no-store or private")
	}
	if status != clientClosedRequest {
		if patch, err = x.withActions(patch); err != nil {
			return nil, err
		}
	}
	if kept {
		switch {
		case caching.FromCache(header):
			x.h.manager.Count(session.EventCached)
			x.log(&x.h.lines.cachedCookies, x.h.logger.Error, "not keeping the cookies of a response that comes from a cache: they are not for this visitor")
		case !x.hasSite():
			x.log(&x.h.lines.noHost, x.h.logger.Warn, "not keeping the cookies of a response: its host has no canonical form or is outside of the session cookie's domain")
		default:
			patch = x.cookies.Keep(patch, x.came.session)
		}
	}
	return patch, nil
}

// commit applies a patch and returns what the response has to do. The error is
// what the client gets instead of the response.
func (x *exchange) commit(patch *session.Patch, now time.Time) (session.Result, error) {
	switch {
	case !x.hasSite():
		return session.Result{}, x.refuse(fmt.Errorf("a session for the host %q, which has no canonical form or is outside of the cookie's domain", x.request.Host))
	case x.came.unknown:
		return session.Result{}, caddyhttp.Error(http.StatusServiceUnavailable,
			errors.New("the response changes a session that could not be loaded"))
	}
	// A client that hangs up does not undo what the application has done.
	ctx, span := x.span("session.commit")
	result, err := x.commitFitting(context.WithoutCancel(ctx), patch, now)
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
		x.h.manager.Count(sessionapp.EventControlMalformed)
		return result, x.refuse(err)
	case patch.OnlyLabels(): // of which the application knows nothing
		x.log(&x.h.lines.unlabelled, x.h.logger.Warn, "a session's label was not saved", zap.Error(err))
		return session.Result{Session: x.came.session}, nil
	}
	x.log(&x.h.lines.unsaved, x.h.logger.Error, "session was not saved; withholding the response", zap.Error(err))
	return result, caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// commitFitting commits a patch, without what is of the visitor in it if that does
// not fit: of this session, or of what a parallel response has made of it.
func (x *exchange) commitFitting(ctx context.Context, patch *session.Patch, now time.Time) (result session.Result, err error) {
	var malformed *session.MalformedError
	if x.fromVisitor != nil {
		err = x.h.manager.Fits(x.came.session, patch)
	}
	if err == nil {
		result, err = x.h.manager.Commit(ctx, x.site, x.came.session, patch, now)
	}
	if x.fromVisitor == nil || !errors.As(err, &malformed) {
		return result, err
	}
	if patch = x.withoutVisitor(patch); !patch.Writes() {
		return session.Result{Session: x.came.session}, nil
	}
	return x.h.manager.Commit(ctx, x.site, x.came.session, patch, now)
}

// refuse is the answer to an application that asks for what can't be done.
func (x *exchange) refuse(err error) error {
	x.log(&x.h.lines.refused, x.h.logger.Error, "refusing a response: its session headers are wrong", zap.Error(err))
	return caddyhttp.Error(http.StatusBadGateway, err)
}

// answer puts into a response's header what the browser and caches have to know.
// used tells that the request is a use of the session.
func (x *exchange) answer(header http.Header, status int, result session.Result, used bool, now time.Time) {
	x.after, x.answered = result.Session, true
	x.belong(result)
	x.cookies.Send(header, x.visit.line, result)
	if status != clientClosedRequest {
		x.refreshCookie(header, &result, used, now)
	}
	secret := x.visit.hasCookie(header) // from before an error
	if line := x.setCookie(result, now); line != "" {
		x.visit.setCookie(header, line)
		secret = secret || result.Cookie != session.CookieAgain
	}
	same := !x.came.unknown && !shows(x.came.session) && !shows(x.after) && caching.IsAsset(x.request.Header, header, status)
	caching.Protect(header, status, secret, !x.came.anonymous() || x.after != nil, same, &x.room.lines)
	if x.private || x.cookies.Private() || result.Cookie == session.CookieAgain {
		caching.MakePrivate(header)
	}
}

// shows reports whether a session shows the application anything that may make
// its responses differ. Kept cookies do not count: without us, it would have these
// as well, and say itself what varies by them.
func shows(s *session.Session) bool {
	return s != nil && (s.Subject() != "" || s.HasData())
}

// refreshCookie has the cookie sent again if the tag that came with it is not the
// one of the kept cookies as they are now, or if it ends with idle and the session
// goes on.
func (x *exchange) refreshCookie(header http.Header, result *session.Result, used bool, now time.Time) {
	s := result.Session
	if result.Cookie != session.CookieKeep || s == nil {
		return
	}
	goesOn := x.h.Cookie.PersistentIdle && used && (result.Committed || x.h.manager.TouchDue(s, now))
	if !goesOn && (x.cookies == nil || x.cookies.Tag(s) == x.came.tag) {
		return
	}
	if !result.Committed {
		// What asks for nothing must not set a cookie in a cache, nor put an
		// old secret in the place of one that a parallel response has sent.
		if caching.Shareable(header) || caching.FromCache(header) {
			return
		}
		current, err := x.h.manager.Refresh(context.WithoutCancel(x.request.Context()), s, now)
		if err != nil || current == nil || !goesOn && x.cookies.Tag(current) == x.came.tag {
			return
		}
		result.Session = current
	}
	result.Cookie = session.CookieAgain
}

// setCookie returns the Set-Cookie line that a result calls for, or "".
func (x *exchange) setCookie(result session.Result, now time.Time) string {
	switch s := result.Session; result.Cookie {
	case session.CookieSet, session.CookieAgain:
		var age time.Duration // until the browser closes
		switch {
		case x.h.Cookie.PersistentIdle:
			age = max(x.h.manager.UsedUntil(s, now).Sub(now), time.Second)
		case x.h.Cookie.Persistent || x.h.manager.Persistent(s, now):
			age = max(s.Deadline().Sub(now), time.Second)
		}
		return x.h.cookie.SetLine(s.Token().Cookie(x.cookies.Tag(s)), x.secure, age)
	case session.CookieExpire:
		return x.h.cookie.ExpireLine(x.secure)
	}
	return ""
}

// Sent implements [response.Hooks].
func (x *exchange) Sent() {
	if x.touch {
		x.h.manager.Touch(x.came.session, time.Now())
	}
	channel := x.request.Method == http.MethodConnect || isEventStream(x.writer.Header())
	if channel {
		x.keepAlive(nil) // which does not count as use
	}
	x.sending(channel)
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

// log writes a line about the request, which says where the browser has been:
// handlers that came since have perhaps made /index.php of that.
func (x *exchange) log(line *logging.Repeated, write func(string, ...zap.Field), message string, fields ...zap.Field) {
	path := browserPath(x.request)
	line.Log(write, message, path, append([]zap.Field{logging.Request(x.request, path)}, fields...)...)
}

var _ response.Hooks = (*exchange)(nil)
