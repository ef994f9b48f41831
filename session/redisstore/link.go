package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

// link holds the client, which is made in the background at the first call:
// making it dials. From then on the client looks after its connections.
type link struct {
	cfg    config
	ctx    context.Context // ends with close
	stop   context.CancelFunc
	dialer *dialer

	reach, reads, writes health

	client atomic.Pointer[rueidis.Client] // nil until connected and when closed

	mu      sync.Mutex
	closed  bool
	attempt chan struct{} // closed when the current attempt is over; nil in between
	err     error         // what the last attempt failed with; nil before the first
	loop    sync.WaitGroup
}

func newLink(cfg config) *link {
	log := cfg.logger.With(zap.Stringer("address", cfg))
	l := &link{
		cfg:    cfg,
		reach:  health{log: log, ill: "redis is down", well: "redis is back"},
		reads:  health{log: log, ill: "redis refuses to read sessions", well: "redis reads sessions again"},
		writes: health{log: log, ill: "redis refuses to write sessions", well: "redis writes sessions again"},
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.dialer = newDialer(l.ctx, cfg)
	return l
}

// get returns the client. While an attempt to connect is under way it waits
// for that, between two attempts it fails at once.
func (l *link) get(ctx context.Context) (rueidis.Client, error) {
	if c := l.client.Load(); c != nil {
		return *c, nil
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, errClosed
	}
	if l.attempt == nil && l.err == nil {
		l.attempt = make(chan struct{})
		l.loop.Go(l.connect)
	}
	attempt, err := l.attempt, l.err
	l.mu.Unlock()

	if attempt == nil {
		return nil, err
	}
	select {
	case <-attempt:
	case <-ctx.Done():
		return nil, fmt.Errorf("connecting: %w", ctx.Err())
	}
	if c := l.client.Load(); c != nil {
		return *c, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return nil, l.err
}

// connect tries until there is a client or the link is closed.
func (l *link) connect() {
	for delay := minBackoff; ; delay = min(2*delay, maxBackoff) {
		client, err := newClient(l.cfg, l.dialer)
		if l.finish(client, err) {
			return
		}
		l.reach.failed(publicError(err))
		select {
		case <-time.After(delay/2 + rand.N(delay/2)):
		case <-l.ctx.Done():
			return
		}
		l.mu.Lock()
		l.attempt = make(chan struct{})
		l.mu.Unlock()
	}
}

// finish ends an attempt and reports whether it was the last one.
func (l *link) finish(client rueidis.Client, err error) bool {
	l.mu.Lock()
	l.err = err
	if l.closed {
		l.err = errClosed
	} else if err == nil {
		l.client.Store(&client)
	}
	closed := l.closed
	close(l.attempt)
	if err != nil && !closed {
		l.attempt = nil
	}
	l.mu.Unlock()

	switch {
	case err == nil && closed:
		client.Close()
	case err == nil:
		l.reach.worked()
		for _, f := range inspect(l.ctx, client, l.cfg) {
			f.Log(l.cfg.logger)
		}
	}
	return err == nil || closed
}

// close is final. It waits for what the link has started.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.err = errClosed
	client := l.client.Swap(nil)
	l.mu.Unlock()

	for _, h := range []*health{&l.reach, &l.reads, &l.writes} {
		h.close()
	}
	// The client first: it lets the calls that are under way finish.
	if client != nil {
		(*client).Close()
	}
	l.stop()
	l.loop.Wait()
	l.dialer.close()
}

// learn notes the outcome of a call, whose kind is &l.reads or &l.writes.
func (l *link) learn(kind *health, err error) {
	switch {
	case err == nil:
		l.reach.worked()
		kind.worked()
	case isWrongType(err):
		l.reach.worked() // the trouble is with one key
	case isAnswer(err):
		l.reach.worked()
		kind.failed(publicError(err))
		if isReadOnly(err) {
			l.dialer.giveUp()
		}
	case errors.Is(err, errLeft): // our own doing
	case !errors.Is(err, errClosed):
		l.reach.failed(publicError(err))
	}
}
