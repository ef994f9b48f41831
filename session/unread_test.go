package session_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/session/nearcache"
)

// beginnings is a flaky store that reads prefixes, too.
type beginnings struct{ *flaky }

func (b beginnings) GetPrefix(ctx context.Context, id string, size int) (e session.Entry, err error) {
	prefixes, _ := session.As[session.PrefixReader](b.Store)
	err = b.call(ctx, "GetPrefix", id, func() error { e, err = prefixes.GetPrefix(ctx, id, size); return err })
	return e, err
}

// apiEnv is newEnv for a site with the session API.
func apiEnv(t *testing.T, store session.Store, exposed int) *env {
	t.Helper()
	policy := session.DefaultPolicy()
	policy.MaxData, policy.Exposed = 1<<20, exposed
	e := newEnv(t, policy, store)
	e.protocol = e.protocol.WithAPI()
	m, err := session.NewManager(beginnings{e.store}, policy, e.protocol, session.Observer{Count: func(event session.Event) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.events[event]++
	}})
	if err != nil {
		t.Fatal(err)
	}
	e.Manager = m
	return e
}

func apiBubble(t *testing.T, f func(*env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(apiEnv(t, memstore.New(), 4096)) })
}

// large is a data object over every limit of what may be forwarded.
func large(user string) string {
	return `{"lang":"fr","text":"` + strings.Repeat("x", 100_000) + `","user":"` + user + `"}`
}

func (e *env) whole(s *session.Session) *session.Session {
	e.Helper()
	whole, err := e.Whole(context.Background(), s, time.Now())
	if err != nil {
		e.Fatal(err)
	}
	return whole
}

// asked loads as for an unsafe method.
func (e *env) asked(token session.Token) *session.Session {
	e.Helper()
	s, _, err := e.Load(context.Background(), e.site, []session.Token{token}, time.Now())
	if err != nil {
		e.Fatal(err)
	}
	return s
}

func (e *env) wantCalls(want map[string]int, f func()) {
	e.Helper()
	if got := e.calls(f); len(got) != len(want) {
		e.Errorf("calls %v, want %v", got, want)
	} else {
		for op, n := range want {
			if got[op] != n {
				e.Errorf("calls %v, want %v", got, want)
			}
		}
	}
}

func TestLargeDataIsReadWhenAsked(t *testing.T) {
	apiBubble(t, func(e *env) {
		made := e.create(large("alice"))
		var s *session.Session
		e.wantCalls(map[string]int{"GetPrefix": 1}, func() { s = e.live(made) })
		if !s.Unread() || s.Subject() != "alice" || s.Version() != made.Version() || !s.HasData() {
			t.Fatalf("unread %v, subject %q, version %d", s.Unread(), s.Subject(), s.Version())
		}
		h := http.Header{}
		if err := e.Inject(h, e.site, s, time.Now()); err != nil || h.Get("X-Session-User") != "alice" || h["X-Session-Data"] != nil {
			t.Errorf("injected %d headers, error %v", len(h), err)
		}
		for name, look := range map[string]func(){
			"Data": func() { s.Data() }, "Value": func() { s.Value("lang") }, "Has": func() { s.Has("lang") },
			"Text": func() { s.Text("lang") }, "Missing": func() { s.Missing(map[string]any{"lang": "de"}) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s says something of data that was not read", name)
					}
				}()
				look()
			}()
		}
		e.wantCalls(map[string]int{"Get": 1}, func() {
			if got := e.whole(s); got.Unread() || string(got.Data()) != large("alice") || got.Version() != s.Version() {
				t.Error("other data")
			}
		})
		e.wantCalls(map[string]int{}, func() { e.whole(nil) })
	})
}

// A commit on a session without its data reads it once, and loses nothing of it.
func TestCommitOnUnreadData(t *testing.T) {
	apiBubble(t, func(e *env) {
		s := e.live(e.create(large("alice")))
		var r session.Result
		e.wantCalls(map[string]int{"Get": 1, "Put": 1}, func() { r = e.commit(s, set(`{"lang":"de"}`)) })
		want := strings.Replace(large("alice"), `"fr"`, `"de"`, 1)
		if string(r.Session.Data()) != want || string(e.whole(e.live(r.Session)).Data()) != want {
			t.Error("other data")
		}
		label := "of Sales"
		s = e.live(s)
		r = e.commit(s, func(*env) *session.Patch { return &session.Patch{Label: &label} })
		if got := e.live(r.Session); !got.Unread() || got.Label() != label || string(e.whole(got).Data()) != want {
			t.Error("a label has changed the data")
		}
		s = e.live(s)
		edit := func(*env) *session.Patch {
			return &session.Patch{Edit: func([]byte) (map[string]any, any) { return map[string]any{"jar": strings.Repeat("j", 100)}, nil }}
		}
		r = e.commit(s, edit)
		if got := e.live(r.Session); !got.Unread() || got.PrivateValue("jar") == "" || string(e.whole(got).Data()) != want {
			t.Error("the private object is not where the beginning is")
		}
		// Less data: one part, read at once.
		r = e.commit(e.live(s), func(e *env) *session.Patch { return e.patch("", "text", "") })
		e.wantCalls(map[string]int{"GetPrefix": 1}, func() {
			if got := e.live(r.Session); got.Unread() || string(got.Data()) != `{"lang":"de","user":"alice"}` || got.PrivateValue("jar") == "" {
				t.Errorf("unread %v", got.Unread())
			}
		})
		s = e.live(e.commit(r.Session, set(large("alice"))).Session)
		e.wantCalls(map[string]int{"Delete": 1, "Unindex": 1}, func() { e.commit(s, control("destroy")) })
		e.dead(s)
	})
}

// Nor does what asks whether the session is still there, or keeps it alive.
func TestRefreshLeavesTheData(t *testing.T) {
	apiBubble(t, func(e *env) {
		s := e.live(e.create(large("alice")))
		other := e.create(`{"user":"alice"}`)
		time.Sleep(2 * e.policy.Touch)
		var got *session.Session
		var err error
		e.wantCalls(map[string]int{"GetPrefix": 1, "Touch": 1}, func() { got, err = e.Use(context.Background(), s, time.Now()) })
		if err != nil || !got.Unread() || !got.Expires().After(s.Expires()) {
			t.Errorf("Use: %v, error %v", got, err)
		}
		time.Sleep(2 * e.policy.Touch)
		e.wantCalls(map[string]int{"GetPrefix": 1, "Touch": 1}, func() { e.KeepAlive(s, time.Now()) })
		other = e.live(other)
		e.wantCalls(map[string]int{"GetPrefix": 1, "Delete": 1, "Unindex": 1}, func() {
			if there, err := e.EndOwn(context.Background(), other, s.ID()); !there || err != nil {
				t.Errorf("EndOwn: %v, error %v", there, err)
			}
		})
		if got, err := e.Refresh(context.Background(), s, time.Now()); got != nil || err != nil {
			t.Errorf("Refresh after the end: %v, error %v", got, err)
		}
	})
}

// What was not read is as it is when somebody asks: changed, renewed, or gone.
func TestWholeIsAsOfNow(t *testing.T) {
	apiBubble(t, func(e *env) {
		s := e.live(e.create(large("alice")))
		e.commit(s, set(`{"lang":"de"}`))
		if got := e.whole(s); got == nil || got.Version() != s.Version()+1 || !got.Has("lang", "de") {
			t.Errorf("after a commit: %v", got)
		}
		renewed := e.commit(s, control("renew")).Session
		if got := e.whole(s); got != nil {
			t.Errorf("after a renewal: %v", got)
		}
		s = e.live(renewed)
		e.commit(s, control("destroy"))
		if got := e.whole(s); got != nil {
			t.Errorf("after its end: %v", got)
		}
		s = e.live(e.create(large("bob")))
		e.faults(failing("Get"), nil, nil)
		if got, err := e.Whole(context.Background(), s, time.Now()); got != nil || err == nil {
			t.Errorf("with the store down: %v, error %v", got, err)
		}
		if r, err := e.try(s, set(`{"lang":"de"}`)); err == nil || r.Session != nil {
			t.Errorf("a commit with the store down: %+v, error %v", r, err)
		}
	})
}

// However much of a stored record is left, the session has the data that it had, or
// none of it is a session: never one without data.
func TestRestOfARecord(t *testing.T) {
	apiBubble(t, func(e *env) {
		s := e.create(large("alice"))
		entry, err := e.store.Store.Get(t.Context(), s.ID())
		if err != nil {
			t.Fatal(err)
		}
		for size := len(entry.Value); size > session.HeadSize; size -= max(1, size/50) {
			left := entry
			left.Value = bytes.Clone(entry.Value[:size])
			if err := e.store.Store.Put(t.Context(), s.ID(), entry.Version, left); err != nil {
				t.Fatal(err)
			}
			got, err := e.tryLoad(s.Token())
			if err != nil {
				t.Fatal(err)
			}
			if got = e.whole(got); (got != nil) != (size == len(entry.Value)) || got != nil && string(got.Data()) != large("alice") {
				t.Errorf("%d of %d bytes: %v", size, len(entry.Value), got)
			}
			if size < len(entry.Value) {
				if r, err := e.try(s, set(`{"lang":"de"}`)); err == nil && r.Committed && len(r.Session.Data()) < 100_000 {
					t.Errorf("%d bytes: a commit has made %d of the data", size, len(r.Session.Data()))
				}
			}
			if err := e.store.Store.Delete(t.Context(), s.ID(), 0); err != nil {
				t.Fatal(err)
			}
			if err := e.store.Store.Put(t.Context(), s.ID(), 0, entry); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Sites that share sessions may differ in what they expose, and in whether their
// applications ask.
func TestSitesThatReadDifferently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		cache := nearcache.New(4<<20, time.Hour)
		defer cache.Close()
		cache.Enable()
		near := prefixNear{nearStore{store, cache}}
		small, wide := apiEnv(t, near, 4096), apiEnv(t, near, 60<<10)
		policy := session.DefaultPolicy()
		policy.MaxData, policy.Exposed = 1<<20, 60<<10
		never := newEnv(t, policy, near) // its application can't ask
		middle := `{"text":"` + strings.Repeat("x", 20_000) + `","user":"alice"}`
		for _, by := range []*env{small, wide, never} {
			s := by.create(middle)
			for range 3 {
				for name, load := range map[string]func(*env) *session.Session{
					"asked":  func(e *env) *session.Session { return e.asked(s.Token()) },
					"cached": func(e *env) *session.Session { return e.cached(s.Token()) },
				} {
					for _, e := range []*env{never, wide} {
						if got := load(e); got.Unread() || string(got.Data()) != middle {
							t.Errorf("%s: data that is to be forwarded is unread", name)
						}
					}
					got := load(small)
					if got.Subject() != "alice" || string(small.whole(got).Data()) != middle {
						t.Errorf("%s: other data", name)
					}
				}
			}
		}
		// A private object that the beginning has no room for.
		s := small.commit(small.create(large("bob")), func(*env) *session.Patch {
			return &session.Patch{Edit: func([]byte) (map[string]any, any) { return map[string]any{"jar": strings.Repeat("j", 50_000)}, nil }}
		}).Session
		small.wantCalls(map[string]int{"GetPrefix": 1, "Get": 1}, func() {
			if got := small.asked(s.Token()); len(got.PrivateValue("jar")) < 50_000 {
				t.Error("half of a private object")
			}
		})
	})
}

// prefixNear is a nearStore that reads prefixes, too.
type prefixNear struct{ nearStore }

func (s prefixNear) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	r := s.Begin(id)
	e, err := s.Store.(*memstore.Store).GetPrefix(ctx, id, size)
	if err == nil {
		e.Cached = s.Known(r, e)
	}
	return e, err
}
