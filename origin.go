package caddysession

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// isHTTPS reports whether the client speaks HTTPS, with us or with a trusted
// proxy in front of us.
func isHTTPS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		return false
	}
	lines := r.Header["X-Forwarded-Proto"]
	return len(lines) > 0 && strings.EqualFold(strings.TrimSpace(lines[len(lines)-1]), "https")
}

// browserPath returns the path that the browser knows, whatever handlers have
// made of it since.
func browserPath(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL.EscapedPath()
	}
	return r.URL.EscapedPath()
}
