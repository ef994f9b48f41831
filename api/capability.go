// Package api lets an application read and change the session of a request while
// it has the request, beyond what headers can do. In reading order: what an
// application may do with one session (capability.go), what it says in HTTP
// (serve.go, answer.go, trace.go), and where that is heard (listener.go, tls.go). It knows the engine;
// what becomes of the request and its response is for the caller.
package api

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-session/caddy-session/session"
)

// Capability is what the application may do with the session of one request. A nil
// *Capability may do nothing. Its methods are safe for concurrent use.
type Capability struct {
	manager *session.Manager
	site    *session.Site
	of      Response
	span    trace.Span
	key     key
	header  [1]string // room for Server.Header

	// mu is held while the session is asked for or changed, and by the caller while
	// the response begins. It guards site, too.
	mu     sync.Mutex
	result session.Result // what the API has done that the response has to tell
	begun  bool           // the response has: the browser can be told nothing more. Begun alone sets it
	begins chan struct{}  // is closed then; nil as long as nobody waits for it

	// held is the lock of the session that the request has. It has a mutex of its own,
	// since nobody waits for the session to give it back.
	held struct {
		sync.Mutex
		lock   *session.Lock // nil without one
		closed bool
	}
}

// key is random. By its name, which is a part of it, a capability is looked up, which
// may take longer or less; the rest, its secret, is compared.
type (
	key  [24]byte
	name [8]byte
)

func (k *key) name() name     { return name(k[:]) }
func (k *key) secret() []byte { return k[len(name{}):] }

// Response is the response to a request with a capability.
type Response interface {
	// Moved tells, before the response begins, which session the API leaves the
	// browser with.
	Moved(session.Result)
}

// New returns a capability for the session s of a request, nil if there is none, at
// a site. It opens nothing before Open. The span is that of the request, nil if that
// is not recorded.
func New(m *session.Manager, site *session.Site, s *session.Session, of Response, span trace.Span) *Capability {
	c := &Capability{manager: m, site: site, of: of, span: span, result: session.Result{Session: s}}
	rand.Read(c.key[:])
	return c
}

// pathLength is how many bytes the URL of a capability has after its base.
var pathLength = base64.RawURLEncoding.EncodedLen(len(key{}))

// open has the capabilities of this process that open something. Configurations
// share them: requests of the one before a reload go on after it.
var open = struct {
	sync.Mutex
	named map[name]*Capability
}{named: map[name]*Capability{}}

// find returns the open capability that a path is of, or nil. It takes the same
// time whatever is wrong with the secret.
func find(path string) *Capability {
	var k key
	if len(path) != pathLength {
		return nil
	}
	if n, err := base64.RawURLEncoding.Decode(k[:], []byte(path)); err != nil || n != len(k) {
		return nil
	}
	open.Lock()
	c := open.named[k.name()]
	open.Unlock()
	if c == nil || subtle.ConstantTimeCompare(c.key.secret(), k.secret()) != 1 {
		return nil
	}
	return c
}

// Open has the capability open the session until Close.
func (c *Capability) Open() {
	if c != nil {
		open.Lock()
		open.named[c.key.name()] = c
		open.Unlock()
	}
}

// Close is called when the request is over, by who calls Begin. Moved is not called
// after it; what else is under way goes on. It does nothing the second time.
func (c *Capability) Close() {
	if c == nil {
		return
	}
	open.Lock()
	if open.named[c.key.name()] == c {
		delete(open.named, c.key.name())
	}
	open.Unlock()
	if !c.begun {
		done, _ := c.Begin()
		c.Begun(done.Session)
	}
	c.held.Lock()
	lock := c.held.lock
	c.held.lock, c.held.closed = nil, true
	c.held.Unlock()
	if lock != nil {
		go lock.Unlock() // the response does not wait for the store
	}
}

// Begin is called when the response begins. It returns what the API has done, which
// the response has to tell the browser, and keeps the API waiting until Begun. A nil
// *Capability has done nothing: ok is false.
func (c *Capability) Begin() (done session.Result, ok bool) {
	if c == nil {
		return session.Result{}, false
	}
	c.mu.Lock()
	return c.result, true
}

// Begun goes on with the session that the response leaves the browser with, nil
// for none.
func (c *Capability) Begun(s *session.Session) {
	if c != nil {
		c.begun, c.result.Session = true, s
		if c.begins != nil {
			close(c.begins)
			c.begins = nil
		}
		c.mu.Unlock()
	}
}

// ErrGone says that the session is another one now, or none.
var ErrGone = errors.New("the session has ended or was renewed by somebody else since the request began")

// wait waits until the response has begun. The error is errNotBegun.
func (c *Capability) wait(ctx context.Context) error {
	c.mu.Lock()
	if c.begun {
		c.mu.Unlock()
		return nil
	}
	if c.begins == nil {
		c.begins = make(chan struct{})
	}
	begins := c.begins
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	select {
	case <-begins:
		return nil
	case <-ctx.Done():
		return errNotBegun
	}
}

var (
	errNone     = errors.New("there is no session")
	errUnlocked = errors.New("the request has no lock")
	errNotBegun = errors.New("the response has not begun: its head has not come yet")
	errHeldBack = errors.New("no session begins here without a user: the browser may have one whose cookie is newer or was held back")
)

// read returns the session as it is now. Errors are errNone, ErrGone, or mean that
// the store could not tell. The caller holds c.mu.
func (c *Capability) read(ctx context.Context, by func(context.Context, *session.Session, time.Time) (*session.Session, error)) (*session.Session, error) {
	if c.result.Session == nil {
		return nil, errNone
	}
	current, err := by(ctx, c.result.Session, time.Now())
	if err == nil && current == nil {
		err = ErrGone
	}
	if err != nil {
		return nil, err
	}
	c.result.Session = current
	return current, nil
}

// Read returns the session as it is now.
func (c *Capability) Read(ctx context.Context) (*session.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read(ctx, c.manager.Reload)
}

// refresh is Read for who does not need the data.
func (c *Capability) refresh(ctx context.Context) (*session.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read(ctx, c.manager.Refresh)
}

// Touch is a use of the session.
func (c *Capability) Touch(ctx context.Context) (*session.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read(ctx, c.manager.Use)
}

// Commit applies a patch now, and returns the session from now on, nil if there is
// none. only says on which session.
func (c *Capability) Commit(ctx context.Context, p *session.Patch, only condition) (*session.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.result.Session
	if !only.holds(was) {
		return nil, session.ErrVersion
	}
	p.IfVersion, p.NoCookie = only.version, c.begun
	if p.IfVersion == nil && !p.Destroy {
		p.IfVersion = c.fence(was)
	}
	// An application that hangs up does not undo what it has asked for.
	result, err := c.manager.Commit(context.WithoutCancel(ctx), *c.site, was, p, time.Now())
	switch {
	case err != nil:
		return nil, err
	case result.Outcome == session.EventDropped && was == nil:
		return nil, errHeldBack
	case result.Outcome == session.EventDropped, p.Destroy && was != nil && !result.Committed:
		return nil, ErrGone
	case result.Session == nil && !p.Destroy, p.Destroy && was == nil:
		return nil, errNone
	}
	if s := result.Session; s != nil && s.ID() == c.site.NewID {
		c.site.NewID = "" // no id is used twice
	}
	c.result = result.After(c.result)
	if !c.begun {
		c.of.Moved(c.result)
	}
	return result.Session, nil
}

// waiting is how many requests of this process wait for a lock.
var waiting atomic.Int64

// Waiting returns how many requests of this process wait for the lock of their
// session, at all sites.
func Waiting() int { return int(waiting.Load()) }

// Lock waits for the lock of the session, and returns the session as it is then. A
// request that has it already has it. After an error the request does not have it:
// [session.ErrLocked] after the wait, [ErrGone], or the store could not tell.
func (c *Capability) Lock(ctx context.Context, wait time.Duration) (*session.Session, error) {
	c.held.Lock()
	has := c.held.lock != nil
	c.held.Unlock()
	if has {
		return c.refresh(ctx)
	}
	c.mu.Lock()
	s := c.result.Session
	c.mu.Unlock()
	if s == nil {
		return nil, errNone
	}
	s, err := c.take(ctx, s, wait)
	switch {
	case err == nil:
		c.manager.Count(EventLockTaken)
	case errors.Is(err, session.ErrLocked):
		c.manager.Count(EventLockBusy)
	case errors.Is(err, ErrGone):
		c.manager.Count(EventLockGone)
	default:
		c.manager.Count(EventLockFailed)
	}
	return s, err
}

// take is Lock for a request that does not have the lock of s.
func (c *Capability) take(ctx context.Context, s *session.Session, wait time.Duration) (*session.Session, error) {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	waiting.Add(1)
	lock, err := c.manager.Lock(limited, s)
	waiting.Add(-1)
	if err != nil {
		return nil, err
	}
	c.held.Lock()
	has := c.held.lock != nil || c.held.closed
	if !has {
		c.held.lock = lock
	}
	c.held.Unlock()
	if has { // the request is over, or asked twice at once
		lock.Unlock()
		return nil, session.ErrLocked
	}
	// Not before: whoever had the lock may have changed the session.
	s, err = c.refresh(ctx)
	if err != nil {
		c.Unlock()
	}
	return s, err
}

// Unlock gives the lock back. The error is errUnlocked.
func (c *Capability) Unlock() error {
	c.held.Lock()
	lock := c.held.lock
	c.held.lock = nil
	c.held.Unlock()
	if lock == nil {
		return errUnlocked
	}
	lock.Unlock()
	return nil
}

// Fence returns the version at which alone the response may change the session, nil
// for any. It is called between Begin and Begun.
func (c *Capability) Fence() *uint64 {
	if c == nil {
		return nil
	}
	return c.fence(c.result.Session)
}

// fence returns the version of s if the request has lost its lock: whoever has it now
// may have changed the session.
func (c *Capability) fence(s *session.Session) *uint64 {
	c.held.Lock()
	defer c.held.Unlock()
	if s == nil || c.held.lock == nil || !c.held.lock.Lost() {
		return nil
	}
	version := s.Version()
	return &version
}

// signedIn returns the session, with errNone if nobody is signed in.
func (c *Capability) signedIn(ctx context.Context) (*session.Session, error) {
	s, err := c.refresh(ctx)
	if err == nil && s.Subject() == "" {
		err = errNone
	}
	return s, err
}
