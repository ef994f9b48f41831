package caddysession

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// labelOf returns what operators see of the session that a cookie is for.
func (s *site) labelOf(cookie string) session.Info {
	s.t.Helper()
	ids, _, err := s.store.List(s.t.Context(), "", 100)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, id := range ids {
		if len(cookie) > len(id) && cookie[len(cookie)-len(id)-44:len(cookie)-44] == id {
			e, err := s.store.Get(s.t.Context(), id)
			if err != nil {
				s.t.Fatal(err)
			}
			info, err := session.Inspect(id, e, time.Now())
			if err != nil {
				s.t.Fatal(err)
			}
			return info
		}
	}
	s.t.Fatalf("no session is that of %s", cookie)
	return session.Info{}
}

func TestLabel(t *testing.T) {
	h, s := handler(t, "")
	sequence := []struct {
		what, label string
		says        []string
		want        string
		writes      bool
		version     uint64
	}{
		{"a label", "{http.request.uri.query} of Sales", nil, "alice of Sales", true, 1},
		{"the same", "alice  of {none} Sales", nil, "alice of Sales", false, 1},
		{"nothing is left of it", "{none} {none}", nil, "alice of Sales", false, 1},
		{"with what the application sets", "alice\x1b", []string{"X-Session-Set: a=2"}, "alice\ufffd", true, 2},
		{"with a version", "bob", []string{"X-Session-Set: a=3", "X-Session-Control: if-version=2"}, "bob", true, 3},
		{"taken away", "", nil, "", true, 3},
	}
	own := begin(t, h, `{"a":1}`)
	for _, tt := range sequence {
		r := request("/?alice", own)
		w, err := answer(chain{h, &SessionLabel{Label: tt.label}}, r, says(tt.says...))
		if err != nil || len(w.Result().Cookies()) > 0 {
			t.Fatalf("%s: %v, %v", tt.what, err, w.Header())
		}
		info := s.labelOf(own)
		if wrote := !visitOf(r).first.touch; info.Label != tt.want || wrote != tt.writes || info.Version != tt.version {
			t.Errorf("%s: label %q, version %d, written: %v", tt.what, info.Label, info.Version, wrote)
		}
	}

	// It begins no session, but comes with one that begins.
	if w, err := answer(chain{h, &SessionLabel{Label: "x"}}, request("/", ""), says()); err != nil || len(w.Result().Cookies()) > 0 || s.store.sessions(t) != 1 {
		t.Errorf("a label begins a session: %v, %v", w.Header(), err)
	}
	w, err := answer(chain{h, &SessionLabel{Label: "x"}}, request("/", ""), says("X-Session-Set: user=alice"))
	if err != nil || len(w.Result().Cookies()) != 1 {
		t.Fatal(w.Header(), err)
	}
	own = w.Result().Cookies()[0].Name + "=" + w.Result().Cookies()[0].Value
	if info := s.labelOf(own); info.Label != "x" || info.Subject != "alice" || info.Version != 1 {
		t.Errorf("a session that begins: %+v", info)
	}
	// One that ends is not labelled.
	if w, err = answer(chain{h, &SessionLabel{Label: "y"}, new(SessionDestroy)}, request("/", own), says()); err != nil || s.store.sessions(t) != 1 {
		t.Errorf("destroyed: %v, %v", w.Header(), err)
	}
}

// The store fails: a label that the application knows nothing of is no reason to
// withhold its response, and what it has asked for is.
func TestLabelThatIsNotSaved(t *testing.T) {
	h, s := handler(t, "on_store_error pass")
	own := begin(t, h, `{"a":1}`)
	down := func(lines ...string) application {
		return func(w http.ResponseWriter, r *http.Request) error {
			s.store.down.Store(true)
			return says(lines...)(w, r)
		}
	}
	w, err := answer(chain{h, &SessionLabel{Label: "x"}}, request("/", own), down())
	if err != nil || w.Body.String() != "body" || len(w.Result().Cookies()) > 0 {
		t.Errorf("a label alone: %v, %v", w.Header(), err)
	}
	// Nor is one for a session that could not be loaded.
	if w, err = answer(chain{h, &SessionLabel{Label: "x"}}, request("/", own), says()); err != nil || w.Body.String() != "body" {
		t.Errorf("unknown: %v, %v", w.Header(), err)
	}
	s.store.down.Store(false)
	if w, err = answer(chain{h, &SessionLabel{Label: "x"}}, request("/", own), down("X-Session-Set: a=2")); status(err) != http.StatusServiceUnavailable {
		t.Errorf("with a change: %v, %v", w.Header(), err)
	}
	s.store.down.Store(false)
	if info := s.labelOf(own); info.Label != "" {
		t.Errorf("it is saved: %q", info.Label)
	}
}
