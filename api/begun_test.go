package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// With ?begun, what is asked for comes after the head of the response, or not at all.
func TestBegun(t *testing.T) {
	server, c := testCapability(t, `{"a":1}`)
	url := server.Header(c)[0] + "?begun"
	ask := func(ctx context.Context) int {
		r := httptest.NewRequestWithContext(ctx, "PATCH", url, strings.NewReader(`{"a":2}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		return w.Code
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if status := ask(over); status != http.StatusConflict {
		t.Errorf("the response has not begun: %d", status)
	}
	c.mu.Lock()
	c.begins = nil
	c.mu.Unlock()
	const both = 2
	answers := make(chan int, both)
	for range both {
		go func() { answers <- ask(t.Context()) }()
	}
	for waits := false; !waits; runtime.Gosched() {
		c.mu.Lock()
		waits = c.begins != nil
		c.mu.Unlock()
	}
	done, _ := c.Begin()
	if version := done.Session.Version(); version != 1 {
		t.Errorf("before the response begins: version %d", version)
	}
	c.Begun(done.Session)
	for range both {
		if status := <-answers; status != http.StatusOK {
			t.Errorf("once it has begun: %d", status)
		}
	}
	if status := ask(over); status != http.StatusOK {
		t.Errorf("long after: %d", status)
	}
}
