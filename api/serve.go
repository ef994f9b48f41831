package api

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/caddy-session/caddy-session/internal/logging"
	"github.com/caddy-session/caddy-session/session"
)

// Server answers applications. Make it with [Listener.Server].
type Server struct {
	base     string      // what the URL of a capability begins with, and ends with a slash
	host     string      // the Host of requests
	tls      *tls.Config // nil without TLS
	log      *zap.Logger
	failures logging.Repeated
	count    func(session.Event)
	unknown  *rate.Limiter // how often a capability that is not open is answered
}

// unknownRate is how many capabilities that are not open are answered a second, and
// unknownWait how long one waits for that at most.
const (
	unknownRate = 50
	unknownWait = time.Second
)

// operationTimeout bounds what an operation asks of the store, but for a commit,
// which has a bound of its own. maxWait is for a lock, and defaultWait for that the
// response begins, too.
const (
	operationTimeout = maxWait + 5*time.Second
	defaultWait      = 5 * time.Second
	maxWait          = 20 * time.Second
)

// Header returns what the request header has that says where the application finds
// the session: a URL, which is a secret.
func (s *Server) Header(c *Capability) []string {
	var room [128]byte // enough for most, without an allocation
	c.header[0] = string(base64.RawURLEncoding.AppendEncode(append(room[:0], s.base...), c.key[:]))
	return c.header[:]
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if why := forbidden(r, s.host); why != "" {
		s.fail(w, http.StatusForbidden, EventForbidden, why)
		return
	}
	path, action, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	c := find(path)
	if c == nil {
		s.unauthorized(w, r)
		return
	}
	methods := c.operations(action)
	o, ok := methods[r.Method]
	switch {
	case methods == nil:
		s.fail(w, http.StatusNotFound, EventRefused, "there is no such operation")
		return
	case !ok:
		var allow []string
		for method := range methods {
			allow = append(allow, method)
		}
		slices.Sort(allow)
		w.Header().Set("Allow", strings.Join(allow, ", "))
		s.fail(w, http.StatusMethodNotAllowed, EventRefused, "this operation has another method")
		return
	}
	s.count(o.event)
	ctx, cancel := context.WithTimeout(r.Context(), operationTimeout)
	defer cancel()
	ctx, end := c.trace(ctx, o.event)
	r = r.WithContext(ctx)
	begun, err := flag(r, "begun")
	if begun {
		err = c.wait(ctx)
	}
	if err == nil {
		err = o.do(w, r)
	}
	answer := EventOK
	if err != nil {
		answer = s.answerError(w, err)
	} else {
		s.count(answer)
	}
	end(answer)
}

// forbidden says why a request is not one of an application, "" if it may be:
// browsers say where a script is from, or what for they ask (Fetch, Fetch Metadata),
// and a name that leads here is that of somebody else's page.
func forbidden(r *http.Request, host string) string {
	for name := range r.Header {
		if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") {
			return "the session API is not for browsers"
		}
	}
	if r.Host != host {
		return "the Host is not that of the session API"
	}
	return ""
}

// unauthorized answers whatever opens nothing in the same way, and not more often
// than unknownRate: guesses are not worth a connection.
func (s *Server) unauthorized(w http.ResponseWriter, r *http.Request) {
	s.count(EventUnauthorized)
	ctx, cancel := context.WithTimeout(r.Context(), unknownWait)
	defer cancel()
	if s.unknown.Wait(ctx) != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Connection", "close")
	w.Header().Set("WWW-Authenticate", "SessionCapability")
	write(w, http.StatusUnauthorized, problem{"this opens no session: a capability is good until its response is complete"}, nil)
}

type problem struct {
	Error string `json:"error"`
}

func (s *Server) fail(w http.ResponseWriter, status int, event session.Event, why string) session.Event {
	s.count(event)
	write(w, status, problem{why}, nil)
	return event
}

// answerError answers what an operation could not do.
func (s *Server) answerError(w http.ResponseWriter, err error) session.Event {
	var malformed *session.MalformedError
	var tooLarge *http.MaxBytesError
	var refused *refusedError
	switch {
	case errors.Is(err, errNone), errors.Is(err, errUnlocked):
		return s.fail(w, http.StatusNotFound, EventNone, err.Error())
	case errors.Is(err, ErrGone):
		return s.fail(w, http.StatusGone, EventConflict, err.Error())
	case errors.Is(err, session.ErrVersion):
		return s.fail(w, http.StatusPreconditionFailed, EventConflict, err.Error())
	case errors.Is(err, session.ErrCookie), errors.Is(err, errHeldBack), errors.Is(err, errNotBegun):
		return s.fail(w, http.StatusConflict, EventConflict, err.Error())
	case errors.Is(err, session.ErrLocked):
		return s.fail(w, http.StatusLocked, EventLocked, err.Error())
	case errors.As(err, &tooLarge):
		return s.fail(w, http.StatusRequestEntityTooLarge, EventRefused, fmt.Sprintf("the body has more than the %d bytes of max_data", tooLarge.Limit))
	case errors.As(err, &malformed):
		return s.fail(w, http.StatusUnprocessableEntity, EventRefused, malformed.Err.Error())
	case errors.As(err, &refused):
		return s.fail(w, refused.status, EventRefused, refused.Error())
	default:
		s.failures.Log(s.log.Error, "the session API could not do what an application asked for", "", zap.Error(err))
		return s.fail(w, http.StatusServiceUnavailable, EventFailed, "the store could not do it")
	}
}

// refusedError is what is wrong with a request.
type refusedError struct {
	error
	status int
}

func refuse(err error) error { return &refusedError{err, http.StatusBadRequest} }

// flag reports whether a query has a word that takes no value. With one, such as
// false, nobody can tell what is meant.
func flag(r *http.Request, name string) (bool, error) {
	values := r.URL.Query()[name]
	for _, value := range values {
		if value != "" {
			return false, refuse(fmt.Errorf("%s takes no value: write ?%s, or leave it out", name, name))
		}
	}
	return len(values) > 0, nil
}

// operation is what a request asks for. It answers, or returns why not.
type operation struct {
	event session.Event
	do    func(http.ResponseWriter, *http.Request) error
}

// operations returns those of a path behind the capability by their methods, nil if
// there are none.
func (c *Capability) operations(path string) map[string]operation {
	control := func(event session.Event, patch func(*session.Patch, *http.Request) error) map[string]operation {
		return map[string]operation{http.MethodPost: {event, func(w http.ResponseWriter, r *http.Request) error {
			p := new(session.Patch)
			if err := patch(p, r); err != nil {
				return err
			}
			return c.change(w, r, p)
		}}}
	}
	switch path {
	case "":
		return map[string]operation{
			http.MethodGet: {EventRead, c.get}, http.MethodPatch: {EventPatch, c.patch},
			http.MethodPut: {EventPut, c.put}, http.MethodDelete: {EventDelete, c.destroy},
		}
	case "renew":
		return control(EventRenew, func(p *session.Patch, _ *http.Request) error { p.Renew = true; return nil })
	case "clear":
		return control(EventClear, func(p *session.Patch, _ *http.Request) error { p.Clear = true; return nil })
	case "max-age":
		return control(EventMaxAge, maxAge)
	case "touch":
		return map[string]operation{http.MethodPost: {EventTouch, c.touch}}
	case "lock":
		return map[string]operation{http.MethodPost: {EventLock, c.lock}, http.MethodDelete: {EventLock, c.unlock}}
	case "sessions":
		return map[string]operation{http.MethodGet: {EventSessions, c.list}, http.MethodDelete: {EventSessions, c.endOthers}}
	}
	if id, ok := strings.CutPrefix(path, "sessions/"); ok && session.ValidID(id) {
		return map[string]operation{http.MethodDelete: {EventSessions, func(w http.ResponseWriter, r *http.Request) error { return c.endOne(w, r, id) }}}
	}
	return nil
}

func (c *Capability) get(w http.ResponseWriter, r *http.Request) error {
	keys, some, err := keysOf(r.URL.RawQuery)
	if err != nil {
		return refuse(err)
	}
	s, err := c.Read(r.Context())
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(s))
	if hasTag(r.Header, etag(s)) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	write(w, http.StatusOK, c.headOf(s), dataOf(s, keys, some))
	return nil
}

func (c *Capability) patch(w http.ResponseWriter, r *http.Request) error {
	object, err := c.body(w, r)
	if err != nil {
		return err
	}
	return c.change(w, r, &session.Patch{Set: []map[string]any{object}})
}

func (c *Capability) put(w http.ResponseWriter, r *http.Request) error {
	object, err := c.body(w, r)
	if err != nil {
		return err
	}
	all, err := flag(r, "all")
	if err != nil {
		return err
	}
	return c.change(w, r, &session.Patch{Put: []map[string]any{object}, Replace: all})
}

func (c *Capability) destroy(w http.ResponseWriter, r *http.Request) error {
	if len(r.Header["If-Match"])+len(r.Header["If-None-Match"]) > 0 {
		return refuse(errors.New("a session is ended at whatever version: leave out If-Match"))
	}
	if _, err := c.Commit(r.Context(), &session.Patch{Destroy: true}, condition{}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func maxAge(p *session.Patch, r *http.Request) error {
	seconds, err := strconv.ParseUint(r.URL.Query().Get("seconds"), 10, 32)
	if err != nil {
		return refuse(errors.New("max-age takes ?seconds=N, and 0 for no more than idle and lifetime"))
	}
	age := time.Duration(seconds) * time.Second
	p.MaxAge = &age
	return nil
}

func (c *Capability) touch(w http.ResponseWriter, r *http.Request) error {
	s, err := c.Touch(r.Context())
	if err != nil {
		return err
	}
	return c.answer(w, s)
}

func (c *Capability) lock(w http.ResponseWriter, r *http.Request) error {
	wait := defaultWait
	if text := r.URL.Query().Get("wait"); text != "" {
		var err error
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 || wait > maxWait {
			return refuse(fmt.Errorf("lock takes ?wait=DURATION, such as 500ms or 5s, of %v at most", maxWait))
		}
	}
	s, err := c.Lock(r.Context(), wait)
	if err != nil {
		return err
	}
	return c.answer(w, s)
}

func (c *Capability) unlock(w http.ResponseWriter, _ *http.Request) error {
	if err := c.Unlock(); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// change commits a patch and answers with what has become of the session.
func (c *Capability) change(w http.ResponseWriter, r *http.Request, p *session.Patch) error {
	only, err := conditionOf(r.Header)
	if err != nil {
		return refuse(err)
	}
	s, err := c.Commit(r.Context(), p, only)
	if err != nil {
		return err
	}
	return c.answer(w, s)
}

func (c *Capability) answer(w http.ResponseWriter, s *session.Session) error {
	w.Header().Set("ETag", etag(s))
	write(w, http.StatusOK, c.headOf(s), nil)
	return nil
}

// minBody lets an application say little whatever max_data is.
const minBody = 4 << 10

// body returns the JSON object that a request has.
func (c *Capability) body(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	switch kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case err == nil && (kind == "application/json" || kind == "application/merge-patch+json"):
	default:
		return nil, &refusedError{errors.New("send Content-Type: application/json or application/merge-patch+json"), http.StatusUnsupportedMediaType}
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(max(c.manager.Policy().MaxData, minBody))))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, err
		}
		return nil, refuse(errors.New("the body ends too early"))
	}
	object, err := session.ParseObject(string(text))
	if err != nil {
		return nil, refuse(err)
	}
	return object, nil
}

func (c *Capability) list(w http.ResponseWriter, r *http.Request) error {
	s, err := c.signedIn(r.Context())
	if err != nil {
		return err
	}
	own, err := c.manager.Own(r.Context(), s)
	if err != nil {
		return err
	}
	answer := struct {
		Sessions []ownSession `json:"sessions"`
	}{make([]ownSession, 0, len(own))}
	for _, one := range own {
		answer.Sessions = append(answer.Sessions, ownSession{
			ID: one.ID, This: one.ID == s.ID(), Created: one.Created.Unix(), SignedIn: one.SignedIn.Unix(), Ends: one.Deadline.Unix(),
			Client: clientOf(one.Client), SignInClient: clientOf(one.SignInClient),
		})
	}
	write(w, http.StatusOK, answer, nil)
	return nil
}

func (c *Capability) endOne(w http.ResponseWriter, r *http.Request, id string) error {
	s, err := c.signedIn(r.Context())
	if err != nil {
		return err
	}
	if id == s.ID() {
		return c.destroy(w, r) // which the browser is told
	}
	there, err := c.manager.EndOwn(r.Context(), s, id)
	if err == nil && !there {
		err = errNone
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (c *Capability) endOthers(w http.ResponseWriter, r *http.Request) error {
	if _, err := c.signedIn(r.Context()); err != nil {
		return err
	}
	if _, err := c.Commit(r.Context(), &session.Patch{RevokeOthers: true}, condition{}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// unixHost is the Host of requests that come by a Unix socket, where it says
// nothing.
const unixHost = "localhost"
