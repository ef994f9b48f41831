package api

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-session/caddy-session/session"
)

// trace begins the span of an operation, under that of the request whose session it
// is for, unless that is not recorded. The caller ends it with its answer.
func (c *Capability) trace(ctx context.Context, operation session.Event) (context.Context, func(answer session.Event)) {
	if c.span == nil {
		return ctx, func(session.Event) {}
	}
	// Caddy's provider is not the global one.
	ctx, span := c.span.TracerProvider().Tracer("github.com/caddy-session/caddy-session").
		Start(trace.ContextWithSpan(ctx, c.span), "session.api", trace.WithAttributes(attribute.String("session.operation", Label(operation))))
	return ctx, func(answer session.Event) {
		span.SetAttributes(attribute.String("session.outcome", Label(answer)))
		if answer == EventFailed {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Label is what an event of the API is called beside its kind: patch of api_patch.
func Label(e session.Event) string { return strings.TrimPrefix(string(e), "api_") }
