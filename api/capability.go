// Package api lets an application read and change the session of a request while
// it has the request, beyond what headers can do. In reading order: what an
// application may do with one session (capability.go), what it says in HTTP
// (serve.go, answer.go), and where that is heard (listener.go). It knows the engine;
// what becomes of the request and its response is for the caller.
package api

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// Capability is what the application may do with the session of one request. A nil
// *Capability may do nothing. Its methods are safe for concurrent use.
type Capability struct {
	manager *session.Manager
	site    *session.Site
	of      Response
	name    name
	secret  secret

	// mu is held while the session is asked for or changed, and by the caller while
	// the response begins. It guards site, too.
	mu     sync.Mutex
	result session.Result // what the API has done that the response has to tell
	begun  bool           // the response has: the browser can be told nothing more. Begun alone sets it
}

// name is by which a capability is found, and secret what it takes besides: the
// one is looked up, which may take longer or less, and the other compared.
type (
	name   [8]byte
	secret [16]byte
)

// Response is the response to a request with a capability.
type Response interface {
	// Moved tells, before the response begins, which session the API leaves the
	// browser with.
	Moved(session.Result)
}

// New returns a capability for the session s of a request, nil if there is none, at
// a site. It opens nothing before Open.
func New(m *session.Manager, site *session.Site, s *session.Session, of Response) *Capability {
	c := &Capability{manager: m, site: site, of: of, result: session.Result{Session: s}}
	rand.Read(c.name[:])
	rand.Read(c.secret[:])
	return c
}

// appendPath appends what the capability's URL has after the slash: a secret.
func (c *Capability) appendPath(to []byte) []byte {
	var all [len(c.name) + len(c.secret)]byte
	copy(all[copy(all[:], c.name[:]):], c.secret[:])
	return base64.RawURLEncoding.AppendEncode(to, all[:])
}

// pathLength is how many bytes that are.
var pathLength = base64.RawURLEncoding.EncodedLen(len(name{}) + len(secret{}))

// open has the capabilities of this process that open something. Configurations
// share them: requests of the one before a reload go on after it.
var open = struct {
	sync.Mutex
	named map[name]*Capability
}{named: map[name]*Capability{}}

// find returns the open capability that a path is of, or nil. It takes the same
// time whatever is wrong with the secret.
func find(path string) *Capability {
	var all [len(name{}) + len(secret{})]byte
	n, err := base64.RawURLEncoding.Decode(all[:], []byte(path[:min(len(path), pathLength)]))
	if err != nil || n != len(all) || len(path) != pathLength {
		return nil
	}
	open.Lock()
	c := open.named[name(all[:len(name{})])]
	open.Unlock()
	if c == nil || subtle.ConstantTimeCompare(c.secret[:], all[len(name{}):]) != 1 {
		return nil
	}
	return c
}

// Open has the capability open the session until Close.
func (c *Capability) Open() {
	if c != nil {
		open.Lock()
		open.named[c.name] = c
		open.Unlock()
	}
}

// Close is called when the request is over, by who calls Begin. Moved is not called
// after it; what else is under way goes on.
func (c *Capability) Close() {
	if c == nil {
		return
	}
	open.Lock()
	if open.named[c.name] == c {
		delete(open.named, c.name)
	}
	open.Unlock()
	if !c.begun {
		done, _ := c.Begin()
		c.Begun(done.Session)
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
		c.mu.Unlock()
	}
}

var (
	errNone     = errors.New("there is no session")
	errGone     = errors.New("the session has ended or was renewed by somebody else since the request began")
	errHeldBack = errors.New("no session begins here without a user: the browser may have one whose cookie is newer or was held back")
)

// read returns the session as it is now. Errors are errNone, errGone, or mean that
// the store could not tell. The caller holds c.mu.
func (c *Capability) read(ctx context.Context, by func(context.Context, *session.Session, time.Time) (*session.Session, error)) (*session.Session, error) {
	if c.result.Session == nil {
		return nil, errNone
	}
	current, err := by(ctx, c.result.Session, time.Now())
	if err == nil && current == nil {
		err = errGone
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
	// An application that hangs up does not undo what it has asked for.
	result, err := c.manager.Commit(context.WithoutCancel(ctx), *c.site, was, p, time.Now())
	switch {
	case err != nil:
		return nil, err
	case result.Outcome == session.EventDropped && was == nil:
		return nil, errHeldBack
	case result.Outcome == session.EventDropped, p.Destroy && was != nil && !result.Committed:
		return nil, errGone
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

// signedIn returns the session, with errNone if nobody is signed in.
func (c *Capability) signedIn(ctx context.Context) (*session.Session, error) {
	s, err := c.Read(ctx)
	if err == nil && s.Subject() == "" {
		err = errNone
	}
	return s, err
}
