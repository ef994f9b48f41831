// Package logging has what log lines about requests have in common.
package logging

import (
	"net/http"

	"go.uber.org/zap"
)

// Request tells which request a line is about, without its query, which may hold
// secrets.
func Request(r *http.Request) zap.Field {
	return zap.Dict("request", zap.String("method", r.Method), zap.String("host", r.Host), zap.String("path", r.URL.Path))
}
