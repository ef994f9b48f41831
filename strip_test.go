package caddysession

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session"
)

// The trailers of a request are a map that net/http writes when the body ends,
// on the goroutine that reads it: a proxy's, which may outlive the proxy.
func TestTrailersAreLeftAloneOnceTheBodyIsRead(t *testing.T) {
	protocol, err := session.NewProtocol("", nil, session.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{protocol: protocol, managed: protocol.ManagesRequest}
	tests := []struct {
		why  string
		then func(*visit, *http.Request)
		want bool // the second handler may look at the trailers
	}{
		{"nested", func(*visit, *http.Request) {}, true},
		{"in handle_response", func(_ *visit, r *http.Request) { r.Body.Read(make([]byte, 1)) }, false},
		{"in handle_errors", func(s *visit, _ *http.Request) { s.trailers.left = true }, false},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", strings.NewReader("body"))
			shared := http.Header{"X-Sum": nil, "X-Session-User": nil}
			r.Trailer = shared
			v := new(visit)
			h.stripRequest(r, v)
			if len(shared) != 1 {
				t.Errorf("announced: %v", shared)
			}
			tt.then(v, r)

			shared["X-Session-Id"] = []string{"forged"} // as net/http merges trailers
			again := r.WithContext(r.Context())
			h.stripRequest(again, v)
			_, there := shared["X-Session-Id"]
			if (again.Trailer != nil) != tt.want || there == tt.want {
				t.Errorf("trailers %v of %v", again.Trailer, shared)
			}
			if _, err := io.ReadAll(again.Body); err != nil {
				t.Error(err)
			}
			if _, there := shared["X-Session-Id"]; there {
				t.Error("a forged trailer is there at the end of the body")
			}
		})
	}
}

// Whatever has spelled the name of a Cookie line otherwise than net/http does.
func TestSessionCookieGoesInEachSpelling(t *testing.T) {
	protocol, err := session.NewProtocol("", nil, session.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	cookie, err := cookiejar.Cookie{}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{protocol: protocol, managed: protocol.ManagesRequest, cookie: cookie}
	for _, name := range []string{"Cookie", "cookie", "COOKIE"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header[name] = []string{"sid=secret; theme=dark"}
		v := new(visit)
		h.stripCookies(r, h.stripRequest(r, v))
		if got := r.Header[name]; len(got) != 1 || got[0] != "theme=dark" {
			t.Errorf("%s: %q is left", name, got)
		}
	}
}
