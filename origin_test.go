package caddysession

import (
	"crypto/tls"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestIsHTTPS(t *testing.T) {
	for _, tt := range []struct {
		what    string
		tls     bool
		trusted any
		lines   []string
		want    bool
	}{
		{"plain", false, nil, nil, false},
		{"TLS", true, nil, nil, true},
		{"TLS, whatever a proxy says", true, true, []string{"http"}, true},
		{"a client says so", false, false, []string{"https"}, false},
		{"nobody knows of the proxy", false, nil, []string{"https"}, false},
		{"a trusted proxy", false, true, []string{"https"}, true},
		{"a trusted proxy, spelled otherwise", false, true, []string{" HTTPS "}, true},
		{"a trusted proxy with plain clients", false, true, []string{"http"}, false},
		{"a trusted proxy that says nothing", false, true, nil, false},
		{"the last line is the proxy's", false, true, []string{"http", "https"}, true},
		{"the first is not", false, true, []string{"https", "http"}, false},
	} {
		r := request("/", "")
		if tt.tls {
			r.TLS = new(tls.ConnectionState)
		}
		caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, tt.trusted)
		r.Header["X-Forwarded-Proto"] = tt.lines
		if got := isHTTPS(r); got != tt.want {
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
	bare := httptest.NewRequest("GET", "/a%2Fb", nil)
	if got := browserPath(bare); got != "/a%2Fb" {
		t.Errorf("without a server: %s", got)
	}
}
