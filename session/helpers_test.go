package session_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
)

var errBroken = errors.New("the store is broken")

// flaky is a store that fails, stalls and counts as a test wants.
type flaky struct {
	session.Store

	mu     sync.Mutex
	calls  map[string]int
	before func(op, id string) error // an error keeps the call from happening
	after  func(op, id string) error // an error hides what the call did
	stall  func(op, id string) bool  // the call lasts until its context ends
	ttls   []time.Duration           // of all puts and touches
}

func (f *flaky) call(ctx context.Context, op, id string, do func() error) error {
	f.mu.Lock()
	f.calls[op]++
	before, after, stall := f.before, f.after, f.stall
	f.mu.Unlock()
	if stall != nil && stall(op, id) {
		<-ctx.Done()
		return ctx.Err()
	}
	if before != nil {
		if err := before(op, id); err != nil {
			return err
		}
	}
	err := do()
	if after != nil {
		if hidden := after(op, id); hidden != nil {
			return hidden
		}
	}
	return err
}

func (f *flaky) Get(ctx context.Context, id string) (e session.Entry, err error) {
	err = f.call(ctx, "Get", id, func() error { e, err = f.Store.Get(ctx, id); return err })
	return e, err
}

func (f *flaky) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	f.mu.Lock()
	f.ttls = append(f.ttls, e.TTL)
	f.mu.Unlock()
	return f.call(ctx, "Put", id, func() error { return f.Store.Put(ctx, id, expect, e) })
}

func (f *flaky) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	f.mu.Lock()
	f.ttls = append(f.ttls, ttl)
	f.mu.Unlock()
	return f.call(ctx, "Touch", id, func() error { return f.Store.Touch(ctx, id, expect, ttl) })
}

func (f *flaky) Delete(ctx context.Context, id string, expect uint64) error {
	return f.call(ctx, "Delete", id, func() error { return f.Store.Delete(ctx, id, expect) })
}

func (f *flaky) Indexed(ctx context.Context, key, cursor string, limit int) (page []session.Indexed, next string, err error) {
	err = f.call(ctx, "Indexed", key, func() error { page, next, err = f.Store.Indexed(ctx, key, cursor, limit); return err })
	return page, next, err
}

func (f *flaky) DeleteMany(ctx context.Context, key string, ids []string) error {
	return f.call(ctx, "DeleteMany", key, func() error { return f.Store.DeleteMany(ctx, key, ids) })
}

func (f *flaky) Unindex(ctx context.Context, key, id string) error {
	return f.call(ctx, "Unindex", id, func() error { return f.Store.Unindex(ctx, key, id) })
}

// Cached makes it a session.NearCache, which holds nothing if the store is none.
func (f *flaky) Cached(id string, now time.Time) *session.CachedEntry {
	if near, ok := f.Store.(session.NearCache); ok {
		return near.Cached(id, now)
	}
	return nil
}

// env is a manager on a store in memory, in a bubble where time is fake.
type env struct {
	*testing.T
	*session.Manager
	operator *session.Operator
	store    *flaky
	policy   session.Policy
	protocol *session.Protocol
	site     session.Site
	logs     *observer.ObservedLogs

	mu      sync.Mutex
	events  map[session.Event]int
	notices map[session.Event]int
}

var site = session.Site{
	Scope: session.Scope{Name: "__Host-csid", Host: "example.com", Path: "/"},
	Realm: "example.com",
}

// bubble runs f in a testing/synctest bubble, which also shows that all
// goroutines end.
func bubble(t *testing.T, configure func(*session.Policy), f func(*env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		policy := session.DefaultPolicy()
		if configure != nil {
			configure(&policy)
		}
		f(newEnv(t, policy, memstore.New()))
	})
}

func newEnv(t *testing.T, policy session.Policy, store session.Store) *env {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	e := &env{
		T: t, store: &flaky{Store: store, calls: map[string]int{}}, policy: policy, protocol: newProtocol(t, policy),
		site: site, logs: logs, events: map[session.Event]int{}, notices: map[session.Event]int{},
	}
	hears := session.Observer{Log: zap.New(core), Count: func(event session.Event) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.events[event]++
	}, Notify: func(n session.Notice) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.notices[n.Event]++
	}}
	e.Manager, e.operator = newManager(t, e.store, policy, hears), session.NewOperator(e.store, hears)
	return e
}

func newProtocol(t testing.TB, policy session.Policy) *session.Protocol {
	t.Helper()
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		t.Fatal(err)
	}
	return protocol
}

func newManager(t testing.TB, store session.Store, policy session.Policy, observer session.Observer) *session.Manager {
	t.Helper()
	m, err := session.NewManager(store, policy, newProtocol(t, policy), observer)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// patch is what the control headers ask for.
func (e *env) patch(set, unset, control string) *session.Patch {
	e.Helper()
	h := http.Header{}
	for name, value := range map[string]string{"Set": set, "Unset": unset, "Control": control} {
		if value != "" {
			h.Set("X-Session-"+name, value)
		}
	}
	p, err := e.protocol.Take(h, e.policy.MaxData)
	if err != nil {
		e.Fatal(err)
	}
	if p == nil {
		p = &session.Patch{}
	}
	return p
}

func set(object string) func(*env) *session.Patch {
	return func(e *env) *session.Patch { return e.patch(object, "", "") }
}

func control(directives string) func(*env) *session.Patch {
	return func(e *env) *session.Patch { return e.patch("", "", directives) }
}

func setControl(object, directives string) func(*env) *session.Patch {
	return func(e *env) *session.Patch { return e.patch(object, "", directives) }
}

func (e *env) try(s *session.Session, p func(*env) *session.Patch) (session.Result, error) {
	e.Helper()
	r, err := e.Commit(context.Background(), e.site, s, p(e), time.Now())
	if err == nil && r.Outcome == session.EventCreated {
		r.Session = e.claimed(r.Session)
	}
	return r, err
}

// claimed is a new session whose cookie has come back, without any trace of that
// in what the environment counts.
func (e *env) claimed(s *session.Session) *session.Session {
	e.Helper()
	if s.Subject() != "" {
		return s
	}
	now := time.Now()
	ttl := e.policy.TTL(now, s.Deadline(), s.Remembered())
	if err := e.store.Store.Touch(context.Background(), s.ID(), s.Version(), ttl); err != nil {
		e.Fatal(err)
	}
	behind := newManager(e.T, e.store.Store, e.policy, session.Observer{})
	s, _, err := behind.Load(context.Background(), e.site, []session.Token{s.Token()}, now)
	if s == nil {
		e.Fatalf("a new session is gone: error %v", err)
	}
	return s
}

func (e *env) commit(s *session.Session, p func(*env) *session.Patch) session.Result {
	e.Helper()
	r, err := e.try(s, p)
	if err != nil {
		e.Fatal(err)
	}
	return r
}

// create makes a new session with this data.
func (e *env) create(object string) *session.Session {
	e.Helper()
	r := e.commit(nil, set(object))
	if r.Session == nil || r.Cookie != session.CookieSet || !r.Committed {
		e.Fatalf("creating a session: got %+v", r)
	}
	return r.Session
}

// tryLoad loads as for an unsafe method. If the store has a near-cache it must
// know the same before and after: one process always reads its own commits.
func (e *env) tryLoad(tokens ...session.Token) (*session.Session, error) {
	e.Helper()
	if _, near := e.store.Store.(session.NearCache); !near || len(tokens) != 1 {
		s, _, err := e.Load(context.Background(), e.site, tokens, time.Now())
		return s, err
	}
	before, _, err1 := e.LoadCached(context.Background(), e.site, tokens, time.Now())
	s, _, err := e.Load(context.Background(), e.site, tokens, time.Now())
	after, _, err2 := e.LoadCached(context.Background(), e.site, tokens, time.Now())
	for _, cached := range []*session.Session{before, after} {
		if err := errors.Join(err1, err, err2); err != nil {
			e.Errorf("loading session %s: %v", tokens[0].ID, err)
		} else if (s == nil) != (cached == nil) ||
			s != nil && (s.Version() != cached.Version() || !bytes.Equal(s.Data(), cached.Data()) || s.Token() != cached.Token() ||
				s.Subject() != cached.Subject() || !s.Deadline().Equal(cached.Deadline())) {
			e.Errorf("session %s: from memory %v, from the store %v", tokens[0].ID, cached, s)
		}
	}
	return s, err
}

// live loads the session that a browser with this one's token has now.
func (e *env) live(s *session.Session) *session.Session {
	e.Helper()
	got, err := e.tryLoad(s.Token())
	if err != nil {
		e.Fatal(err)
	}
	if got == nil {
		e.Fatalf("%v is not live", s)
	}
	return got
}

func (e *env) dead(s *session.Session) {
	e.Helper()
	if got, err := e.tryLoad(s.Token()); err != nil || got != nil {
		e.Fatalf("%v is alive: %v, error %v", s, got, err)
	}
}

func (e *env) data(s *session.Session, want string) {
	e.Helper()
	if got := e.live(s); string(got.Data()) != want {
		e.Errorf("data is %s, want %s", got.Data(), want)
	}
}

// nothing asserts a patch that was dropped: no session, no cookie, no write.
func (e *env) nothing(r session.Result) {
	e.Helper()
	if r != (session.Result{}) && r != (session.Result{Outcome: session.EventDropped}) {
		e.Errorf("got %+v, want nothing", r)
	}
}

// calls runs f and returns what it called, without the background.
func (e *env) calls(f func()) map[string]int {
	synctest.Wait()
	e.store.mu.Lock()
	e.store.calls = map[string]int{}
	e.store.mu.Unlock()
	f()
	synctest.Wait()
	e.store.mu.Lock()
	defer e.store.mu.Unlock()
	return e.store.calls
}

func (e *env) counted(event session.Event, want int) {
	e.Helper()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if got := e.events[event]; got != want {
		e.Errorf("event %s was counted %d times, want %d", event, got, want)
	}
}

// faults sets what goes wrong from now on; nil is nothing.
func (e *env) faults(before, after func(op, id string) error, stall func(op, id string) bool) {
	e.store.mu.Lock()
	defer e.store.mu.Unlock()
	e.store.before, e.store.after, e.store.stall = before, after, stall
}

func failing(op string) func(string, string) error {
	return func(got, _ string) error {
		if got == op {
			return errBroken
		}
		return nil
	}
}

// once lets f fail a single time.
func once(f func(op, id string) error) func(op, id string) error {
	var mu sync.Mutex
	done := false
	return func(op, id string) error {
		mu.Lock()
		defer mu.Unlock()
		if done {
			return nil
		}
		err := f(op, id)
		done = err != nil
		return err
	}
}
