package caddysession

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func rawMatcher(text string) caddyhttp.RawMatcherSets {
	set := caddy.ModuleMap{}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		panic(err)
	}
	return caddyhttp.RawMatcherSets{set}
}

// matcher is one that looks at the Cookie line.
type matcher struct {
	sees string
	err  error
}

func (m *matcher) MatchWithError(r *http.Request) (bool, error) {
	m.sees = r.Header.Get("Cookie") + r.Header.Get("X-Session-User")
	return false, m.err
}

// The matcher sees the cookies, but no forged header; the application no session
// cookie, whatever the matcher says.
func TestMatcherComesBetweenHeadersAndCookies(t *testing.T) {
	for _, fails := range []error{nil, errors.New("no")} {
		h, _ := handler(t, "")
		m := &matcher{err: fails}
		h.matchers = caddyhttp.MatcherSets{{m}}
		r := request("/", "csid=secret")
		r.Header.Set("X-Session-User", "forged")
		asked := false
		_, err := answer(h, r, func(_ http.ResponseWriter, r *http.Request) error {
			asked = true
			return nil
		})
		if m.sees != "csid=secret" || r.Header.Get("Cookie") != "" {
			t.Errorf("the matcher sees %q, and %q is left", m.sees, r.Header.Get("Cookie"))
		}
		if asked != (fails == nil) || !errors.Is(err, fails) {
			t.Errorf("%v: asked %v, %v", fails, asked, err)
		}
	}
}

// Methods that are refused are refused whatever the matcher says.
func TestRefusedMethods(t *testing.T) {
	for _, matches := range []bool{true, false} {
		h, _ := handler(t, "")
		if !matches {
			h.matchers = caddyhttp.MatcherSets{{&matcher{}}}
		}
		r := request("/", "")
		r.Method = http.MethodTrace
		_, err := answer(h, r, func(http.ResponseWriter, *http.Request) error {
			t.Error("the application is asked")
			return nil
		})
		if status(err) != 405 {
			t.Errorf("matches %v: %v", matches, err)
		}
	}
}

// What can't be provisioned says why.
func TestProvisionErrors(t *testing.T) {
	for _, tt := range []struct {
		settings Handler
		want     string
	}{
		{Handler{}, ""},
		{Handler{MatcherSetsRaw: rawMatcher(`{"no_such_matcher":{}}`)}, "no_such_matcher"},
		{Handler{MatcherSetsRaw: rawMatcher(`{"path":["/a"]}`)}, ""},
		{Handler{OnEnd: "never"}, `on_end "never": write close or keep`},
	} {
		_, err := newSite(t).provision(&tt.settings)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.want, err)
		}
	}
}
