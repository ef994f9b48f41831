package pgstore

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/breaker"
	"github.com/caddy-session/caddy-session/session"
)

// minConnectTimeout lets an attempt to connect take longer than the call that needs
// the connection.
const minConnectTimeout = time.Second

// resetInterval is how often at most all connections are given up because the
// server is read-only: it may be meant to be.
const resetInterval = time.Second

// link holds the pool of connections, which is made at the first call, and the
// circuit breaker: when a call has no answer, or its connection is lost, the server is
// probed.
type link struct {
	cfg         config
	breaker     *breaker.Breaker
	conns       registry
	reads, wrts breaker.Health
	sweeping    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	pool   *pgxpool.Pool // nil before the first call
	good   int           // which of the hosts has answered the last probe that was
	reset  time.Time     // when connections were last given up
}

func newLink(cfg config) *link {
	log := cfg.logger.With(zap.String("address", cfg.addr))
	l := &link{
		cfg:   cfg,
		reads: breaker.Health{Log: log, Ill: "postgres refuses to read sessions", Well: "postgres reads sessions again"},
		wrts:  breaker.Health{Log: log, Ill: "postgres refuses to write sessions", Well: "postgres writes sessions again"},
	}
	l.cfg.logger = log
	l.breaker = breaker.New(cfg.timeout, l.probe, l.changed)
	l.conns.open = map[net.Conn]bool{}
	l.cfg.pool.ConnConfig.DialFunc = l.conns.dial
	l.cfg.pool.BeforeConnect = l.toGood
	return l
}

// acquire returns a connection. If the server is down it fails at once; only the
// first calls wait for that to be known.
func (l *link) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	pool, err := l.open()
	if err != nil {
		return nil, err
	}
	if err := l.breaker.Ready(ctx); err != nil {
		return nil, err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		l.breaker.Suspect()
		return nil, oneLine{err}
	}
	return conn, nil
}

// open makes the pool, if that has not been done.
func (l *link) open() (*pgxpool.Pool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, breaker.ErrClosed
	}
	if l.pool == nil {
		pool, err := pgxpool.NewWithConfig(l.breaker.Context(), l.cfg.pool)
		if err != nil {
			return nil, err
		}
		l.pool = pool
		l.sweeping.Go(l.sweepAgainAndAgain)
	}
	return l.pool, nil
}

// learn notes the outcome of what was asked on a connection.
func (l *link) learn(kind *breaker.Health, err error) {
	if err == nil {
		kind.Worked()
		return
	}
	code, ok := answered(err)
	switch {
	case !ok:
		l.breaker.Suspect()
		l.forget(0) // the others may be lost as well
	case code == codeReadOnly:
		kind.Failed(oneLine{err})
		l.forget(resetInterval) // what the host's name means may have changed
		l.breaker.Suspect()     // or another host has taken over
	case code == codeNoTable:
		kind.Failed(oneLine{err})
		l.breaker.Suspect() // which makes it
	default:
		kind.Failed(oneLine{err})
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

// probe asks whether there is a host that takes writes. If not, it leaves no
// connection.
func (l *link) probe(ctx context.Context) error {
	if err := l.try(ctx); err != nil {
		l.conns.closeAll(true)
		return oneLine{err}
	}
	return nil
}

// try connects to one host after the other, beginning with the one that has worked
// last, and makes the tables if they are missing.
func (l *link) try(ctx context.Context) error {
	var errs []error
	l.mu.Lock()
	good := l.good
	l.mu.Unlock()
	for i := range l.cfg.hosts {
		n := (good + i) % len(l.cfg.hosts)
		err := l.tryHost(ctx, n)
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

func (l *link) tryHost(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, probeKey{}, true), l.cfg.pool.ConnConfig.ConnectTimeout)
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

// changed notes why the server can't be used, nil if it can again.
func (l *link) changed(err error) {
	if err == nil {
		l.conns.refuse(false)
		l.cfg.logger.Info("postgres is back")
		return
	}
	l.cfg.logger.Warn("postgres is down", zap.Error(err))
	l.conns.refuse(true)
	l.conns.closeAll(false)
	l.forget(0)
}

// close is final. Calls that are under way have the time of a call to finish.
func (l *link) close() {
	l.mu.Lock()
	closed, pool := l.closed, l.pool
	l.closed = true
	l.mu.Unlock()
	if closed {
		return
	}
	l.breaker.Close()
	l.conns.refuse(true)
	impatient := time.AfterFunc(l.cfg.timeout, func() { l.conns.closeAll(true) })
	if pool != nil {
		pool.Close()
	}
	impatient.Stop()
	l.conns.closeAll(true)
	l.sweeping.Wait()
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
