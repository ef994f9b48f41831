package session_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-session/caddy-session/session"
)

// edit is a patch whose Edit sees the private object and returns a patch for it.
func edit(f func(private []byte) map[string]any) func(*env) *session.Patch {
	return func(*env) *session.Patch {
		return &session.Patch{Edit: func(private []byte) (map[string]any, any) { return f(private), nil }}
	}
}

// setting is an edit that sets one member of the jar.
func setting(key string, value any) func(*env) *session.Patch {
	return edit(func([]byte) map[string]any { return map[string]any{"jar": map[string]any{key: value}} })
}

func private(e *env, s *session.Session, want string) {
	e.Helper()
	if got := string(s.Private()); got != want {
		e.Errorf("private is %s, want %s", got, want)
	}
}

func TestEditMakesASession(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.live(e.commit(nil, setting("a", "1")).Session)
		e.data(s, "{}")
		private(e, s, `{"jar":{"a":"1"}}`)
		if s.PrivateValue("jar") != `{"a":"1"}` || s.PrivateValue("other") != "" || (*session.Session)(nil).PrivateValue("jar") != "" {
			e.Errorf("the jar is %s", s.PrivateValue("jar"))
		}
		s = e.live(e.commit(s, setting("b", "2")).Session)
		private(e, s, `{"jar":{"a":"1","b":"2"}}`)
		s = e.live(e.commit(s, setting("a", nil)).Session)
		private(e, s, `{"jar":{"b":"2"}}`)
		s = e.live(e.commit(s, edit(func([]byte) map[string]any { return nil })).Session)
		private(e, s, `{"jar":{"b":"2"}}`)
	})
}

// An Edit sees what is there when it is applied, not what its request has
// loaded: what many of them count is right.
func TestEditSeesTheCurrentPrivateObject(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create("{}")
		nodes := []*env{e, newEnv(e.T, e.policy, e.store.Store)}
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				r := nodes[i%2].commit(s, func(*env) *session.Patch {
					return &session.Patch{Edit: func(private []byte) (map[string]any, any) {
						n := bytes.Count(private, []byte(":"))
						return map[string]any{fmt.Sprintf("k%d", n): 1}, n
					}}
				})
				// What comes back is from the application that was written.
				if n, _ := r.Edited.(int); n+2 != int(r.Session.Version()) {
					e.Errorf("version %d was made from %v members", r.Session.Version(), r.Edited)
				}
			})
		}
		wg.Wait()
		if got := e.live(s); strings.Count(string(got.Private()), ":") != 30 {
			e.Errorf("private is %s", got.Private())
		}
	})
}

// What an application knows a user by is not for the next user of the browser.
func TestPrivateGoesWithTheSubject(t *testing.T) {
	bubble(t, nil, func(e *env) {
		signedIn := func() *session.Session {
			s := e.commit(nil, setting("a", "visitor")).Session
			s = e.live(e.commit(s, set(`{"user":"alice"}`)).Session)
			private(e, s, `{"jar":{"a":"visitor"}}`) // signing in keeps it
			return s
		}
		for name, leaving := range map[string]func(*env) *session.Patch{
			"signing out": set(`{"user":null}`), "another user": set(`{"user":"bob"}`), "clear": control("clear"),
			"unset":                    func(e *env) *session.Patch { return e.patch("", "user", "") },
			"clear and the same again": setControl(`{"user":"alice"}`, "clear"),
		} {
			s := signedIn()
			next := e.live(e.commit(s, leaving).Session)
			private(e, next, "")
			e.dead(s)

			// The same response may set something for the next one.
			s = signedIn()
			next = e.live(e.commit(s, func(e *env) *session.Patch {
				p := leaving(e)
				p.Edit = func(private []byte) (map[string]any, any) {
					if private != nil {
						e.Errorf("%s: an Edit sees %s", name, private)
					}
					return map[string]any{"jar": map[string]any{"b": "next"}}, nil
				}
				return p
			}).Session)
			private(e, next, `{"jar":{"b":"next"}}`)
		}
		s := signedIn()
		s = e.live(e.commit(s, set(`{"user":"alice","x":1}`)).Session)
		private(e, s, `{"jar":{"a":"visitor"}}`) // the same user
		s = e.live(e.commit(s, control("renew")).Session)
		private(e, s, `{"jar":{"a":"visitor"}}`)
		e.commit(s, control("destroy"))
		e.dead(s)
	})
}

// The limits of data are not those of the private object, and a change of the
// one leaves the other as it is.
func TestPrivateHasABoundOfItsOwn(t *testing.T) {
	bubble(t, func(p *session.Policy) { p.MaxData = 16 }, func(e *env) {
		s := e.create(`{"a":1}`)
		s = e.live(e.commit(s, setting("big", strings.Repeat("x", 500<<10))).Session)
		e.data(s, `{"a":1}`)
		s = e.live(e.commit(s, set(`{"b":2}`)).Session)
		if len(s.Private()) < 500<<10 {
			e.Error("a change of data changes the private object")
		}
		if _, err := e.try(s, setting("big", strings.Repeat("x", 1<<20))); err == nil || !strings.Contains(err.Error(), "private data") {
			e.Errorf("over the bound: %v", err)
		}
		// max_data was lowered: what is there must not keep a cookie out.
		lower := e.policy
		lower.MaxData = 8
		s = e.live(newEnv(e.T, lower, e.store.Store).commit(s, setting("big", nil)).Session)
		private(e, s, `{"jar":{}}`)
	})
}

func TestReserve(t *testing.T) {
	policy := session.DefaultPolicy()
	p, err := session.NewProtocol("", []session.Forward{{Key: "role", Header: "X-Role"}}, policy)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ key, header, name, problem string }{
		{"a.b", "", "X-Session-Cookie-A-B", ""},
		{"a_b", "", "X-Session-Cookie-A-B", "can't be told from"},
		{"c", "x-own", "X-Own", ""},
		{"d", "X-OWN", "X-Own", "can't be told from"},
		{"e", "x-role", "X-Role", "can't be told from X-Role"},
		{"f", "X-Session-Set", "X-Session-Set", "can't be told from"},
		{"g", "Cookie", "Cookie", "can't be taken over"},
		{"h", "X Y", "X Y", "letters, digits and hyphens"},
	} {
		name := p.HeaderName("Cookie-", test.key, test.header)
		more, err := p.Reserve(test.key, name)
		if err == nil {
			before := http.Header{name: {"the application's"}}
			if p.StripRequest(before); name == "X-Own" && len(before) == 0 {
				t.Errorf("%s was added to a protocol that may be in use", name)
			}
			p = more
		}
		if name != test.name || (test.problem == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s %q: %s, %v", test.key, test.header, name, err)
		}
	}
	h := http.Header{"X_own": {"evil"}, "X-Own": {"evil"}, "X-Session-Cookie-A-B": {"evil"}, "X-Other": {"1"}}
	p.StripRequest(h)
	if len(h) != 1 {
		t.Errorf("left %v", h)
	}
}
