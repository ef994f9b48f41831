package caddysession

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/logging"
)

// explain answers a request with the reason why it was refused, instead of with
// the empty page that Caddy makes of an error, if that is asked for and no error
// route of the server may have a page for it. Else it returns the error. Nothing of
// the response has been sent.
func (h *Handler) explain(w http.ResponseWriter, r *http.Request, err error) error {
	var e caddyhttp.HandlerError
	if !h.explains || !errors.As(err, &e) || e.Err == nil {
		return err
	}
	if server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server.Errors != nil && len(server.Errors.Routes) > 0 {
		return err
	}
	h.logger.Error("showing the client why its request was refused", logging.Request(r, browserPath(r)), zap.Error(e.Err))
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(e.StatusCode)
	_, err = fmt.Fprintf(w, "%d %s\n\nsession: %v\n\n(shown because of debug_errors)\n", e.StatusCode, http.StatusText(e.StatusCode), e.Err)
	return err
}
