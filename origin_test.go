package caddysession

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What a proxy says counts if Caddy trusts it, or if the cookie is Secure always.
// The rest of the question is answered in internal/origin.
func TestOriginOf(t *testing.T) {
	for _, tt := range []struct {
		what, block string
		trusted     any
		want        bool
	}{
		{"a client says so", "", false, false},
		{"nobody knows of the proxy", "", nil, false},
		{"a trusted proxy", "", true, true},
		{"secure on", "cookie {\n\tsecure on\n}", nil, true},
		{"a cookie that is Secure always", "cookie {\n\tsame_site none\n}", nil, true},
	} {
		h, _ := handler(t, tt.block)
		r := request("/", "")
		caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, tt.trusted)
		r.Header.Set("X-Forwarded-Proto", "https")
		if got := h.originOf(r).HTTPS; got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
}

func TestBrowserPath(t *testing.T) {
	r := request("/shop/a%20b?c", "")
	r.URL.Path, r.URL.RawPath = "/index.php", ""
	if got := browserPath(r); got != "/shop/a%20b" {
		t.Errorf("after a rewrite: %s", got)
	}
	var bare *http.Request = httptest.NewRequest("GET", "/a%2Fb", nil)
	if got := browserPath(bare); got != "/a%2Fb" {
		t.Errorf("without a server: %s", got)
	}
}
