package cancel

import (
	"context"
	"errors"
	"runtime"
	"testing"
)

type key struct{}

func ended(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

func TestContext(t *testing.T) {
	for _, tt := range []struct {
		name    string
		waiting bool // when it is cancelled
		cancel  func(own, parent func())
	}{
		{"its own", true, func(own, _ func()) { own() }},
		{"its own, and nobody waits", false, func(own, _ func()) { own() }},
		{"the parent's", true, func(_, parent func()) { parent() }},
		{"the parent's, and nobody waits", false, func(_, parent func()) { parent() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
			defer cancel()
			var c Context
			c.Init(parent)
			defer c.Cancel()
			if c.Err() != nil || c.Value(key{}) != "value" || tt.waiting && (ended(&c) || c.Err() != nil || c.Value(key{}) != "value") {
				t.Fatal("it has ended, or has not the parent's value")
			}
			tt.cancel(c.Cancel, cancel)
			if !errors.Is(c.Err(), context.Canceled) || !ended(&c) || !errors.Is(c.Err(), context.Canceled) {
				t.Errorf("it goes on: %v", c.Err())
			}
		})
	}
}

// Proxies derive contexts of their own, which end with this one and are no
// reason for a goroutine.
func TestChildren(t *testing.T) {
	var c Context
	c.Init(t.Context())
	before := runtime.NumGoroutine()
	child, cancel := context.WithCancel(context.WithValue(&c, key{}, "value"))
	defer cancel()
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines more", n-before)
	}
	if ended(child) {
		t.Error("it has ended")
	}
	c.Cancel()
	if !ended(child) {
		t.Error("it goes on")
	}
}

func TestAllocations(t *testing.T) {
	var c Context
	if n := testing.AllocsPerRun(100, func() {
		c.Init(t.Context())
		c.Value(key{})
		c.Cancel()
	}); n > 0 {
		t.Errorf("%v allocations, though nobody waits", n)
	}
}
