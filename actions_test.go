package caddysession

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// set returns session_set of an object.
func set(t *testing.T, object string) *SessionSet {
	t.Helper()
	a := new(SessionSet)
	if err := json.Unmarshal([]byte(object), &a.Set); err != nil {
		t.Fatal(err)
	}
	if err := a.Provision(newSite(t).ctx); err != nil {
		t.Fatal(err)
	}
	return a
}

// What the site and the application ask for is one commit, in which the
// application wins.
func TestActions(t *testing.T) {
	h, s := handler(t, "")
	const unchanged = "no write"
	unset := func(keys ...string) *SessionUnset { return &SessionUnset{Keys: keys} }
	for _, tt := range []struct {
		what    string
		actions chain
		says    []string
		want    string
	}{
		{"set", chain{set(t, `{"b":2}`)}, nil, `{"a":1,"b":2}`},
		{"what is there", chain{set(t, `{"a":1}`)}, nil, unchanged},
		{"set and unset", chain{set(t, `{"b":2}`), unset("b", "a")}, nil, `{}`},
		{"unset and set", chain{unset("a"), set(t, `{"a":2}`)}, nil, `{"a":2}`},
		{"unset what is not there", chain{unset("b")}, nil, unchanged},
		{"the application wins", chain{set(t, `{"b":2,"c":3}`)}, []string{`X-Session-Set: {"b":"app"}`}, `{"a":1,"b":"app","c":3}`},
		{"the application clears", chain{set(t, `{"b":2}`)}, []string{"X-Session-Control: clear", "X-Session-Set: c=3"}, `{"c":"3"}`},
		{"the application destroys", chain{set(t, `{"b":2}`)}, []string{"X-Session-Control: destroy"}, ""},
		{"destroy", chain{new(SessionDestroy)}, []string{"X-Session-Set: b=2"}, ""},
		{"renew", chain{new(SessionRenew)}, nil, `{"a":1}`},
		{"an object", chain{set(t, `{"o":{"x":1}}`)}, []string{`X-Session-Set: {"o":{"y":2}}`}, `{"a":1,"o":{"x":1,"y":2}}`},
		{"placeholder", chain{set(t, `{"host":"{http.request.host}"}`)}, nil, `{"a":1,"host":"example.com"}`},
		{"empty placeholder", chain{set(t, `{"q":"{http.request.uri.query}"}`)}, nil, unchanged},
		{"empty text", chain{set(t, `{"q":""}`)}, nil, `{"a":1,"q":""}`},
		{"in lists and objects", chain{set(t, `{"l":["{http.request.host}","{none}",1],"e":["{none}"],"o":{"h":"{http.request.method}","n":"{none}"},"z":[]}`)},
			nil, `{"a":1,"l":["example.com",1],"o":{"h":"GET"},"z":[]}`},
		{"a later handler's", chain{set(t, `{"late":"{late}"}`), middleware(func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
			replacer(r).Set("late", "yes")
			return next.ServeHTTP(w, r)
		})}, nil, `{"a":1,"late":"yes"}`},
		{"not expanded again", chain{set(t, `{"h":"{http.request.header.X-Hostile}"}`)}, nil, `{"a":1,"h":"{env.HOME}"}`},
	} {
		t.Run(tt.what, func(t *testing.T) {
			own := begin(t, h, `{"a":1}`)
			before := s.store.sessions(t)
			r := request("/", own)
			r.Header.Set("X-Hostile", "{env.HOME}")
			w, err := answer(append(chain{h}, tt.actions...), r, says(tt.says...))
			if err != nil {
				t.Fatal(err)
			}
			for _, cookie := range w.Result().Cookies() {
				own = cookie.Name + "=" + cookie.Value
			}
			want := tt.want
			if want == unchanged {
				want = `{"a":1}`
				if v := visitOf(r); !v.first.touch {
					t.Error("it was written")
				}
			}
			if got := seen(t, h, own); got != want {
				t.Errorf("the session has %s, want %s", got, want)
			}
			if after := s.store.sessions(t); after > before {
				t.Errorf("%d sessions, then %d", before, after)
			}
		})
	}
}

// A value that a placeholder shows encoded is not encoded anew with each request.
func TestSetWhatASessionShows(t *testing.T) {
	h, _ := handler(t, "")
	own := begin(t, h, `{"user":"Zoë {1}"}`)
	for range 2 {
		r := request("/", own)
		if _, err := answer(chain{h, set(t, `{"user":"{session.user}"}`)}, r, says()); err != nil {
			t.Fatal(err)
		}
		if !visitOf(r).first.touch {
			t.Error("it was written")
		}
	}
}

func TestActionsThatCannotBe(t *testing.T) {
	h, _ := handler(t, "")
	var begun bool
	writes := middleware(func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
		begun = true
		w.WriteHeader(200)
		return next.ServeHTTP(w, r)
	})
	elsewhere := &Handler{}
	*elsewhere = *h
	elsewhere.matchers = caddyhttp.MatcherSets{{&matcher{}}}
	for _, tt := range []struct {
		what   string
		before chain
		says   string
		status int
	}{
		{"no handler", nil, "", 500},
		{"the response has begun", chain{h, writes}, "", 500},
		{"no session where the matcher does not match", chain{elsewhere}, "", 0},
		{"invalid UTF-8", chain{h}, "\xff", 400},
	} {
		begun = false
		r := request("/", "")
		r.Header.Set("X-Text", tt.says)
		w, err := answer(append(tt.before, set(t, `{"b":"{http.request.header.X-Text}"}`)), r, says())
		if status(err) != tt.status || len(w.Header()["Set-Cookie"]) > 0 {
			t.Errorf("%s: %v, %v", tt.what, err, w.Header())
		}
		if begun != (tt.what == "the response has begun") {
			t.Errorf("%s: begun %v", tt.what, begun)
		}
	}
}

// Nothing is committed for a client that has gone before the application
// answered, or by an error.
func TestNoActionsWithoutAnAnswer(t *testing.T) {
	h, s := handler(t, "")
	for what, app := range map[string]application{
		"the client is gone": func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(clientClosedRequest)
			return nil
		},
		"an error": func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(404, nil) },
	} {
		w, _ := answer(chain{h, set(t, `{"b":2}`)}, request("/", ""), app)
		if n := s.store.sessions(t); n > 0 || len(w.Header()["Set-Cookie"]) > 0 {
			t.Errorf("%s: %d sessions, %v", what, n, w.Header())
		}
	}
}

// A site that sets something on a page for shared caches gets what a cookie
// needs, since the header lines are not about that.
func TestActionsOnCacheablePages(t *testing.T) {
	h, _ := handler(t, "")
	w, err := answer(chain{h, set(t, `{"b":2}`)}, request("/", ""), says("Cache-Control: public", "CDN-Cache-Control: max-age=60", "Surrogate-Control: max-age=60"))
	if err != nil || len(w.Header()["Set-Cookie"]) != 1 || w.Header().Get("Cache-Control") != "no-store" ||
		w.Header().Get("Cdn-Cache-Control")+w.Header().Get("Surrogate-Control") != "" {
		t.Errorf("%v, %v", w.Header(), err)
	}
}

func TestActionErrors(t *testing.T) {
	for _, tt := range []struct {
		action caddy.Provisioner
		want   string
	}{
		{&SessionSet{}, "session_set needs a key and a value"},
		{&SessionSet{Set: map[string]json.RawMessage{"": json.RawMessage("1")}}, "the key is empty"},
		{&SessionSet{Set: map[string]json.RawMessage{"a": json.RawMessage(`{"b":1,"b":2}`)}}, "session_set: "},
		{&SessionUnset{}, "session_unset needs a key"},
	} {
		if err := tt.action.Provision(newSite(t).ctx); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.want, err)
		}
	}
}
