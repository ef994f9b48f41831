package caddysession

import (
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// keepAlive keeps a session from ending for want of use while a request lasts that
// uses it, be it sent or answered slowly.
type keepAlive struct {
	manager *session.Manager
	every   time.Duration
	session atomic.Pointer[session.Session] // nil: there is none to keep, or not any more
	timer   *time.Timer
	ticked  atomic.Bool
}

// keepAlives are those that have never ticked: nearly all requests are too short,
// and cost no memory.
var keepAlives = sync.Pool{New: func() any {
	k := new(keepAlive)
	k.timer = time.AfterFunc(math.MaxInt64, k.tick)
	return k
}}

func (k *keepAlive) tick() {
	k.ticked.Store(true)
	if s := k.session.Load(); s != nil {
		k.manager.KeepAlive(s, time.Now())
		k.timer.Reset(k.every)
	}
}

// keepAlive has the session, nil for none, not end for want of use before the
// request does. WebSockets by CONNECT (RFC 8441) are channels, which are no use.
func (x *exchange) keepAlive(s *session.Session) {
	switch {
	case x.alive != nil:
		x.alive.session.Store(s)
	case s != nil && !s.Remembered() && x.request.Method != http.MethodConnect:
		k := keepAlives.Get().(*keepAlive)
		k.manager = x.h.manager
		k.every = k.manager.Policy().Idle / 3 // so that one may fail
		k.session.Store(s)
		k.timer.Reset(k.every)
		x.alive = k
	}
}

// endKeepAlive is called when the request ends. If it has lasted, that is a use of
// the session at this time.
func (x *exchange) endKeepAlive() {
	k := x.alive
	if k == nil {
		return
	}
	if s := k.session.Swap(nil); s != nil && time.Since(x.started) > min(max(k.manager.Policy().Touch, time.Second), k.every) {
		k.manager.KeepAlive(s, time.Now())
	}
	if k.timer.Stop() && !k.ticked.Load() {
		keepAlives.Put(k)
	}
}
