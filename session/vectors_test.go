package session_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"reflect"
	"testing"

	"github.com/caddy-session/caddy-session/session"
)

// The vectors say which headers adapters make of a change. Here these headers make
// the same change.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile("../adapters/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name          string
		Before, After map[string]any
		Set, Put      map[string]any
		Control       string
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors {
		bubble(t, nil, func(e *env) {
			start := e.commit(nil, func(*env) *session.Patch { return &session.Patch{Put: []map[string]any{v.Before}} }).Session
			h := http.Header{}
			for name, object := range map[string]map[string]any{"X-Session-Set": v.Set, "X-Session-Put": v.Put} {
				if object != nil {
					value, err := session.EncodeJSON(object)
					if err != nil {
						t.Fatal(err)
					}
					h.Set(name, string(value))
				}
			}
			if v.Control != "" {
				h.Set("X-Session-Control", v.Control)
			}
			sent := maps.Clone(h)
			s := start
			if patch, err := e.protocol.Take(h, e.policy.MaxData); err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			} else if patch != nil {
				s = e.commit(start, func(*env) *session.Patch { return patch }).Session
			}
			var got map[string]any
			if err := json.Unmarshal(e.live(s).Data(), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, v.After) {
				t.Errorf("%s: %v makes %v of %v, want %v", v.Name, sent, got, v.Before, v.After)
			}
		})
	}
}
