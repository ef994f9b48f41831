package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
)

// minConnectTimeout lets an attempt to connect take longer than the call that needs
// the connection.
const minConnectTimeout = time.Second

// How long to wait before the next attempt to reach a server: at least half of
// it, the rest at random, so that many Caddys don't come back as one.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = time.Second
)

// resetInterval is how often at most all connections are given up because the
// server is read-only: it may be meant to be.
const resetInterval = time.Second

// link holds the pool of connections, which is made at the first call, and is the
// circuit breaker: when a call has no answer, or its connection is lost, the server
// is probed. Once it does not answer the probe within the time of a call, calls fail
// at once until it does.
type link struct {
	cfg         config
	ctx         context.Context // ends with close
	stop        context.CancelFunc
	conns       registry
	reads, wrts health
	running     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	pool    *pgxpool.Pool // nil before the first call
	err     error         // why the server is down; nil if it is up
	known   chan struct{} // closed once the first probe has told which
	probing bool
	good    int       // which of the hosts has answered the last probe that was
	probed  time.Time // when a probe has last found the server up
	reset   time.Time // when connections were last given up
}

func newLink(cfg config) *link {
	log := cfg.logger.With(zap.String("address", cfg.addr))
	l := &link{
		cfg:   cfg,
		known: make(chan struct{}),
		reads: health{log: log, ill: "postgres refuses to read sessions", well: "postgres reads sessions again"},
		wrts:  health{log: log, ill: "postgres refuses to write sessions", well: "postgres writes sessions again"},
	}
	l.cfg.logger = log
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.conns.open = map[net.Conn]bool{}
	l.cfg.pool.ConnConfig.DialFunc = l.conns.dial
	l.cfg.pool.BeforeConnect = l.toGood
	return l
}

// acquire returns a connection. If the server is down it fails at once; only the
// first calls wait for that to be known.
func (l *link) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	l.mu.Lock()
	if l.pool == nil && !l.closed {
		pool, err := pgxpool.NewWithConfig(l.ctx, l.cfg.pool)
		if err != nil {
			l.mu.Unlock()
			return nil, err
		}
		l.pool = pool
		l.probe()
		l.running.Go(l.sweepAgainAndAgain)
	}
	l.mu.Unlock()
	select {
	case <-l.known:
	case <-ctx.Done():
		return nil, fmt.Errorf("connecting: %w", ctx.Err())
	}
	l.mu.Lock()
	pool, err, closed := l.pool, l.err, l.closed
	l.mu.Unlock()
	switch {
	case closed:
		return nil, errClosed
	case err != nil:
		return nil, fmt.Errorf("the server is down: %w", err)
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		l.suspect()
		return nil, oneLine{err}
	}
	return conn, nil
}

// learn notes the outcome of what was asked on a connection.
func (l *link) learn(kind *health, err error) {
	if err == nil {
		kind.worked()
		return
	}
	code, ok := answered(err)
	switch {
	case !ok:
		l.suspect()
		l.forget(0) // the others may be lost as well
	case code == codeReadOnly:
		kind.failed(err)
		l.forget(resetInterval) // what the host's name means may have changed
		l.suspect()             // or another host has taken over
	case code == codeNoTable:
		kind.failed(err)
		l.suspect() // which makes it
	default:
		kind.failed(err)
	}
}

// forget closes the connections that nobody uses, and the others after that, unless
// it was done less than interval ago.
func (l *link) forget(interval time.Duration) {
	l.mu.Lock()
	due := time.Since(l.reset) >= interval && !l.closed
	if due {
		l.reset = time.Now()
	}
	l.mu.Unlock()
	if due {
		l.pool.Reset()
	}
}

// suspect probes the server, unless that was done a moment ago.
func (l *link) suspect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.probed) >= minBackoff {
		l.probe()
	}
}

// probe begins to probe the server until it answers, if that is not under way. The
// mutex is locked.
func (l *link) probe() {
	if l.probing || l.closed {
		return
	}
	l.probing = true
	l.running.Go(func() {
		for delay := minBackoff; ; delay = min(2*delay, maxBackoff) {
			done := make(chan error, 1)
			go func() { done <- l.try() }()
			var err error
			select {
			case err = <-done:
			case <-time.After(l.cfg.timeout):
				l.down(errNoAnswer)
				err = <-done
			}
			if err == nil {
				l.up()
				return
			}
			l.down(err)
			l.conns.closeAll(true)
			select {
			case <-time.After(delay/2 + rand.N(delay/2)):
			case <-l.ctx.Done():
				return
			}
		}
	})
}

// try connects to one host after the other, beginning with the one that has worked
// last, and makes the tables if they are missing.
func (l *link) try() error {
	var errs []error
	l.mu.Lock()
	good := l.good
	l.mu.Unlock()
	for i := range l.cfg.hosts {
		n := (good + i) % len(l.cfg.hosts)
		err := l.tryHost(n)
		if err == nil {
			l.mu.Lock()
			l.good = n
			l.mu.Unlock()
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (l *link) tryHost(n int) error {
	ctx, cancel := context.WithTimeout(context.WithValue(l.ctx, probeKey{}, true), l.cfg.pool.ConnConfig.ConnectTimeout)
	defer cancel()
	config := l.cfg.pool.ConnConfig.Copy()
	direct(config, l.cfg.hosts[n])
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return prepare(ctx, conn, l.cfg.table)
}

// toGood has a connection made to the host that has worked last: one that does not
// answer would cost every new connection the time to find that out.
func (l *link) toGood(_ context.Context, config *pgx.ConnConfig) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	direct(config, l.cfg.hosts[l.good])
	return nil
}

// direct has a connection made to one host and no other.
func direct(config *pgx.ConnConfig, host pgconn.FallbackConfig) {
	config.Host, config.Port, config.TLSConfig, config.Fallbacks = host.Host, host.Port, host.TLSConfig, nil
}

// down notes that the server can't be used.
func (l *link) down(err error) {
	l.mu.Lock()
	first := l.err == nil && !l.closed
	l.err = oneLine{err}
	select {
	case <-l.known:
	default:
		close(l.known)
	}
	l.mu.Unlock()
	if first {
		l.cfg.logger.Warn("postgres is down", zap.Error(oneLine{err}))
		l.conns.refuse(true)
		l.conns.closeAll(false)
		l.forget(0)
	}
}

func (l *link) up() {
	l.conns.refuse(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil && !l.closed {
		l.cfg.logger.Info("postgres is back")
	}
	l.err, l.probing, l.probed = nil, false, time.Now()
	select {
	case <-l.known:
	default:
		close(l.known)
	}
}

// close is final. Calls that are under way have the time of a call to finish.
func (l *link) close() {
	l.mu.Lock()
	closed, pool := l.closed, l.pool
	l.closed = true
	select {
	case <-l.known:
	default:
		close(l.known)
	}
	l.mu.Unlock()
	if closed {
		return
	}
	l.stop()
	l.conns.refuse(true)
	impatient := time.AfterFunc(l.cfg.timeout, func() { l.conns.closeAll(true) })
	if pool != nil {
		pool.Close()
	}
	impatient.Stop()
	l.conns.closeAll(true)
	l.running.Wait()
}

// probeKey marks the context of a probe, which connects to a server that is down.
type probeKey struct{}

// registry makes the connections and keeps those that are open. The driver leaves a
// connection that it has given up open for some time, and makes another one to tell
// the server: with a server that does not answer these would add up.
type registry struct {
	mu      sync.Mutex
	refused bool              // but to probes
	open    map[net.Conn]bool // whether it is a probe's
}

var errRefused = session.NotDone(errors.New("no connection is made now"))

func (r *registry) dial(ctx context.Context, network, address string) (net.Conn, error) {
	probe := ctx.Value(probeKey{}) != nil
	if r.isRefused(probe) {
		return nil, errRefused
	}
	raw, err := (&net.Dialer{KeepAlive: aliveInterval}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := &tracked{Conn: raw, registry: r}
	r.mu.Lock()
	r.open[conn] = probe
	r.mu.Unlock()
	if r.isRefused(probe) { // since
		conn.Close()
		return nil, errRefused
	}
	return conn, nil
}

func (r *registry) isRefused(probe bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused && !probe
}

func (r *registry) refuse(refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = refused
}

// closeAll closes all connections, those of probes only if it is told to.
func (r *registry) closeAll(probes bool) {
	r.mu.Lock()
	var conns []net.Conn
	for conn, probe := range r.open {
		if probes || !probe {
			conns = append(conns, conn)
		}
	}
	r.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
}

// tracked is a connection of a registry.
type tracked struct {
	net.Conn
	registry *registry
}

func (c *tracked) Close() error {
	c.registry.mu.Lock()
	delete(c.registry.open, c)
	c.registry.mu.Unlock()
	return c.Conn.Close()
}

// health logs when something begins to be refused and when it works again, rather
// than each call.
type health struct {
	log       *zap.Logger
	ill, well string // what to log
	bad       atomic.Bool
}

func (h *health) failed(err error) {
	if h.bad.CompareAndSwap(false, true) {
		h.log.Warn(h.ill, zap.Error(oneLine{err}))
	}
}

func (h *health) worked() {
	if h.bad.Load() && h.bad.CompareAndSwap(true, false) {
		h.log.Info(h.well)
	}
}
