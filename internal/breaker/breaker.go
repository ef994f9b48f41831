// Package breaker keeps callers from waiting for a server that does not answer.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// ErrClosed is what Ready returns after Close.
var ErrClosed = errors.New("the store is closed")

var errNoAnswer = fmt.Errorf("the server does not answer: %w", context.DeadlineExceeded)

// How long to wait before the next probe of a server that is down: at least half of
// it, the rest at random, so that many Caddys don't come back as one.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = time.Second
)

// Breaker is a circuit breaker: once the server has not answered a probe within the
// timeout, calls fail at once until it answers one. Make one with New.
type Breaker struct {
	timeout time.Duration
	probe   func(context.Context) error
	changed func(error)
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	began   bool
	err     error         // why the server is down; nil if it is up
	known   chan struct{} // closed once the first probe has told which
	probing bool
	probed  time.Time // when a probe has last found the server up
}

// New returns a breaker that probes the server when it is first asked for. probe
// must end when its context does, which Close ends; it may take longer than timeout.
// changed is told why the server is down, once, and nil when it is up again; it must
// not call the breaker.
func New(timeout time.Duration, probe func(context.Context) error, changed func(error)) *Breaker {
	b := &Breaker{timeout: timeout, probe: probe, changed: changed, known: make(chan struct{})}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// Ready returns nil if the server may be asked, and why not otherwise. Only before
// the end of the first probe does it wait.
func (b *Breaker) Ready(ctx context.Context) error {
	b.mu.Lock()
	if !b.began {
		b.began = true
		b.begin()
	}
	b.mu.Unlock()
	select {
	case <-b.known:
	case <-ctx.Done():
		return fmt.Errorf("connecting: %w", ctx.Err())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrClosed
	case b.err != nil:
		return fmt.Errorf("the server is down: %w", b.err)
	}
	return nil
}

// Suspect probes the server, unless that was done a moment ago. It is for whoever got
// no answer.
func (b *Breaker) Suspect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.probed) >= minBackoff {
		b.begin()
	}
}

// Context ends with Close.
func (b *Breaker) Context() context.Context { return b.ctx }

// Close is final. It waits for the probe that is under way.
func (b *Breaker) Close() {
	b.mu.Lock()
	b.closed = true
	b.tell()
	b.mu.Unlock()
	b.stop()
	b.running.Wait()
}

// begin begins to probe the server until it answers, if that is not under way. The
// mutex is locked.
func (b *Breaker) begin() {
	if b.probing || b.closed {
		return
	}
	b.probing = true
	b.running.Go(func() {
		for delay := minBackoff; ; delay = min(2*delay, maxBackoff) {
			done := make(chan error, 1)
			go func() { done <- b.probe(b.ctx) }()
			var err error
			select {
			case err = <-done:
			case <-time.After(b.timeout):
				b.set(errNoAnswer)
				err = <-done
			}
			b.set(err)
			if err == nil {
				return
			}
			select {
			case <-time.After(delay/2 + rand.N(delay/2)):
			case <-b.ctx.Done():
				return
			}
		}
	})
}

// set notes what a probe has found.
func (b *Breaker) set(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.err
	b.err = err
	if err == nil {
		b.probing, b.probed = false, time.Now()
	}
	b.tell()
	if (was == nil) != (err == nil) && !b.closed {
		b.changed(err)
	}
}

// tell lets those go on who wait for the first probe. The mutex is locked.
func (b *Breaker) tell() {
	select {
	case <-b.known:
	default:
		close(b.known)
	}
}
