package caddysession

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-session/caddy-session/api"
	"github.com/caddy-session/caddy-session/session"
)

// span begins a span under that of the request. Without one that is recorded,
// which is without Caddy's tracing, it is nil and costs nothing.
func (x *exchange) span(name string) (context.Context, trace.Span) {
	ctx, parent := x.request.Context(), x.parent()
	if parent == nil {
		return ctx, nil
	}
	// Caddy's provider is not the global one.
	return parent.TracerProvider().Tracer("github.com/caddy-session/caddy-session").
		Start(ctx, name, trace.WithAttributes(attribute.String("session.store", x.h.storeName)))
}

// parent is the span of the request, nil if that is not recorded.
func (x *exchange) parent() trace.Span {
	if span := trace.SpanFromContext(x.request.Context()); span.IsRecording() {
		return span
	}
	return nil
}

func endLoad(span trace.Span, s *session.Session, err error) {
	outcome := "none"
	switch {
	case s != nil:
		outcome = "live"
	case errors.Is(err, context.Canceled):
		outcome, err = "cancelled", nil
	}
	endSpan(span, outcome, err)
}

func endLock(span trace.Span, err error) {
	outcome := "taken"
	switch {
	case errors.Is(err, session.ErrLocked):
		outcome, err = "busy", nil
	case errors.Is(err, api.ErrGone):
		outcome, err = "gone", nil
	}
	endSpan(span, outcome, err)
}

func endCommit(span trace.Span, r session.Result, err error) {
	outcome := string(r.Outcome)
	if outcome == "" {
		outcome = "nothing"
	}
	span.SetAttributes(attribute.Int("session.retries", r.Retries))
	endSpan(span, outcome, err)
}

// endSpan does not say what went wrong: that stands in the log.
func endSpan(span trace.Span, outcome string, err error) {
	if err != nil {
		outcome = "error"
		span.SetStatus(codes.Error, "")
	}
	span.SetAttributes(attribute.String("session.outcome", outcome))
	span.End()
}
