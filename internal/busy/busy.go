// Package busy tells tests that watch the clock how busy the machine is. No other
// code needs it.
package busy

import (
	"runtime"
	"time"
)

// Exceeds reports whether something took longer than bound, which is meant for an
// idle machine: on a busy one it may take as many times longer as computing does
// at the moment, and half as long again, since the load changes.
func Exceeds(took, bound time.Duration) bool {
	return took > bound && float64(took) > 1.5*slowness()*float64(bound)
}

// slowness returns how many times longer than on an idle machine it takes now to
// compute something, 1 or more. It takes some 50 ms of computing to find out.
func slowness() float64 {
	const rounds = 500
	start, best := time.Now(), time.Hour
	for range rounds {
		round := time.Now()
		compute()
		best = min(best, time.Since(round)) // in one piece, as all are when nobody else computes
	}
	return float64(time.Since(start)) / float64(rounds*best)
}

// compute takes some 100 µs.
func compute() {
	x := uint32(1)
	for range 50_000 {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
	}
	runtime.KeepAlive(x) // or nothing would be computed
}
