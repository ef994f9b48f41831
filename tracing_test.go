package caddysession

import (
	"errors"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/caddy-session/caddy-session/session"
)

// recorder is a span that is recorded, and makes others.
type recorder struct {
	noop.Span
	begun      int
	attributes map[attribute.Key]string
	status     codes.Code
	said       string
	ended      int
}

func (*recorder) IsRecording() bool                        { return true }
func (r *recorder) TracerProvider() trace.TracerProvider   { return provider{of: r} }
func (r *recorder) SetStatus(code codes.Code, said string) { r.status, r.said = code, said }
func (r *recorder) End(...trace.SpanEndOption)             { r.ended++ }
func (r *recorder) SetAttributes(all ...attribute.KeyValue) {
	for _, a := range all {
		r.attributes[a.Key] = a.Value.String()
	}
}

type provider struct {
	noop.TracerProvider
	of *recorder
}

func (p provider) Tracer(name string, _ ...trace.TracerOption) trace.Tracer {
	p.of.begun++
	return noop.Tracer{}
}

func TestSpans(t *testing.T) {
	for _, tt := range []struct {
		what    string
		end     func(trace.Span)
		outcome string
		retries string
		failed  bool
	}{
		{"live", func(s trace.Span) { endLoad(s, new(session.Session), nil) }, "live", "", false},
		{"none", func(s trace.Span) { endLoad(s, nil, nil) }, "none", "", false},
		{"no load", func(s trace.Span) { endLoad(s, nil, errDown) }, "error", "", true},
		{"commit", func(s trace.Span) { endCommit(s, session.Result{Outcome: session.EventCreated, Retries: 2}, nil) }, "created", "2", false},
		{"nothing to do", func(s trace.Span) { endCommit(s, session.Result{}, nil) }, "nothing", "0", false},
		{"no commit", func(s trace.Span) { endCommit(s, session.Result{}, errors.New("a secret")) }, "error", "0", true},
	} {
		r := &recorder{attributes: map[attribute.Key]string{}}
		tt.end(r)
		if r.attributes["session.outcome"] != tt.outcome || r.attributes["session.retries"] != tt.retries ||
			(r.status == codes.Error) != tt.failed || r.said != "" || r.ended != 1 {
			t.Errorf("%s: %+v", tt.what, r)
		}
	}
}

// Spans begin where the request has one, at the load and the commit.
func TestSpansNeedAParent(t *testing.T) {
	h, _ := handler(t, "")
	own := begin(t, h, `{"a":1}`)
	for _, tt := range []struct {
		cookie, says string
		want         int
	}{
		{"", "X-A: b", 0}, {own, "X-A: b", 1}, {own, "X-Session-Set: b=1", 2},
	} {
		r := request("/", tt.cookie)
		parent := &recorder{attributes: map[attribute.Key]string{}}
		if _, err := answer(h, r.WithContext(trace.ContextWithSpan(r.Context(), parent)), says(tt.says)); err != nil {
			t.Fatal(err)
		}
		if parent.begun != tt.want {
			t.Errorf("%q: %d spans, want %d", tt.says, parent.begun, tt.want)
		}
	}
}
