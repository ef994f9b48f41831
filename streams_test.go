package caddysession

import (
	"net/http"
	"testing"
)

func TestIsEventStream(t *testing.T) {
	for value, want := range map[string]bool{
		"":                                 false,
		"text/html; charset=utf-8":         false,
		"text/event-streams":               false,
		"text/event-stream+json":           false,
		"text/event-stream":                true,
		"Text/Event-Stream; charset=utf-8": true,
		"text/event-stream ;charset":       true,
		"text/event-stream; a=1; a=2":      true, // it can't be read, but browsers do
	} {
		if got := isEventStream(http.Header{"Content-Type": {value}}); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	if isEventStream(http.Header{}) {
		t.Error("a response without a type is a stream")
	}
	page := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	if n := testing.AllocsPerRun(100, func() { isEventStream(page) }); n > 0 {
		t.Errorf("%v allocations for a page", n)
	}
}
