package caddysession

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/origin"
)

// originOf returns where a request comes from.
func (h *Handler) originOf(r *http.Request) origin.Origin {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	from := origin.Of(r, origin.Settings{
		TrustedProxy: trusted, AlwaysHTTPS: h.cookie.SecureFor(false), HeldBack: h.Cookie.SameSite != "none", Strict: h.Cookie.SameSite == "strict"})
	if !from.HTTPS && !trusted && origin.SaysHTTPS(r.Header) {
		h.forwardedHTTPS.Do(func() {
			h.logger.Warn("a peer that is not trusted says that browsers speak HTTPS with it, so the session cookie is not Secure: "+
				"if it is a proxy of yours, name it in trusted_proxies in the servers option, or write secure on into the cookie block",
				zap.String("peer", r.RemoteAddr))
		})
	}
	return from
}

// browserPath returns the path that the browser knows, whatever handlers have
// made of it since.
func browserPath(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL.EscapedPath()
	}
	return r.URL.EscapedPath()
}
