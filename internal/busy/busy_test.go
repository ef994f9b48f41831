package busy

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestExceeds(t *testing.T) {
	if Exceeds(time.Second, time.Second) {
		t.Error("a second is more than a second")
	}
	if !Exceeds(time.Hour, time.Millisecond) {
		t.Error("an hour is no more than a millisecond")
	}
}

func TestSlowness(t *testing.T) {
	before := slowness()
	var stop atomic.Bool
	defer stop.Store(true)
	for range 8 * runtime.GOMAXPROCS(0) {
		go func() {
			for !stop.Load() {
				compute()
			}
		}()
	}
	// Others may begin and end meanwhile, but hardly each time.
	for range 10 {
		if now := slowness(); now > 1.5*before {
			return
		}
	}
	t.Errorf("beside eight times as many others as there are cores it is no slower than before, %.1f", before)
}
