package redisstore

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

const (
	// minDialTimeout lets an attempt to connect take longer than the call
	// that needs the connection.
	minDialTimeout = time.Second

	// spareFor is how long a connection is kept that came too late for the
	// call that asked for it.
	spareFor = 5 * time.Second

	// outageFor is how long a server that is down is tried when no call needs
	// it: in a Sentinel or Cluster set-up it may be gone for good.
	outageFor = 30 * time.Second

	// resetInterval is how often at most all connections are given up.
	resetInterval = time.Second
)

// How long to wait before the next attempt to reach a server: at least half of
// it, the rest at random, so that many Caddys don't come back as one.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = time.Second
)

// dialer makes the connections of a client, and is the circuit breaker for
// each server: once a server can't be reached, or leaves a connection without
// an answer for the time of a call, connections to it fail at once until it
// answers a ping. So a server that is frozen costs the time of a call only to
// those that were under way.
type dialer struct {
	cfg config
	ctx context.Context // ends with the store

	mu      sync.Mutex
	closed  bool
	outages map[string]*outage    // by address
	spares  map[string]spare      // by address
	live    map[*watched]struct{} // all connections in use
	reset   time.Time             // when they were last given up
	running sync.WaitGroup        // attempts and pings
}

// outage is a server that does not answer.
type outage struct {
	err    error
	tls    *tls.Config // of the connections to it
	needed time.Time   // when a call last asked for the server
}

// spare is a connection without a user.
type spare struct {
	net.Conn
	made time.Time
}

func newDialer(ctx context.Context, cfg config) *dialer {
	return &dialer{
		cfg: cfg, ctx: ctx,
		outages: make(map[string]*outage), spares: make(map[string]spare), live: make(map[*watched]struct{}),
	}
}

// dial returns a connection for a call. What a call that gets none was to write
// was not sent.
func (d *dialer) dial(call context.Context, address string, conf *tls.Config) (net.Conn, error) {
	conn, err := d.await(call, address, conf)
	return conn, session.NotDone(err)
}

// await does not wait longer than the call or the timeout of one; an attempt
// that takes longer goes on, for the next.
func (d *dialer) await(call context.Context, address string, conf *tls.Config) (net.Conn, error) {
	conn, err := d.ready(address)
	if conn != nil || err != nil {
		return conn, err
	}
	call, cancel := context.WithTimeout(call, d.cfg.timeout)
	defer cancel()
	begin := time.Now()
	deadline, _ := call.Deadline()
	type result struct {
		net.Conn
		error
	}
	made := make(chan result) // unbuffered: what nobody takes stays with us
	started := d.start(func() {
		ctx, cancel := context.WithTimeout(d.ctx, max(d.cfg.timeout, minDialTimeout))
		defer cancel()
		conn, err := d.connect(ctx, address, conf)
		if err != nil {
			d.broke(address, conf, err)
		}
		select {
		case made <- result{conn, err}:
		case <-call.Done():
			if err == nil {
				d.keep(address, conn)
			}
		}
	})
	if !started {
		return nil, errClosed
	}
	select {
	case r := <-made:
		if r.error != nil || 2*time.Since(begin) < time.Until(deadline) {
			return r.Conn, r.error
		}
		// Two more round trips, to sign in and to ask, would be too long.
		d.keep(address, r.Conn)
	case <-call.Done():
	}
	return nil, fmt.Errorf("connecting to %s: %w", address, context.DeadlineExceeded)
}

// start runs f on a goroutine, unless the dialer is closed.
func (d *dialer) start(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.running.Go(f)
	return true
}

// close waits for all that runs. The context must have ended.
func (d *dialer) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.running.Wait()
}

// ready returns a spare connection, or why there can't be one now, or neither.
func (d *dialer) ready(address string) (net.Conn, error) {
	d.mu.Lock()
	if o := d.outages[address]; o != nil {
		defer d.mu.Unlock()
		o.needed = time.Now()
		return nil, fmt.Errorf("the server %s is down: %w", address, o.err)
	}
	s := d.spares[address]
	delete(d.spares, address)
	d.mu.Unlock()
	if time.Since(s.made) > spareFor {
		s.discard()
		return nil, nil
	}
	return s.Conn, nil
}

// keep keeps a connection for whoever asks next.
func (d *dialer) keep(address string, conn net.Conn) {
	d.mu.Lock()
	old := d.spares[address]
	d.spares[address] = spare{conn, time.Now()}
	d.mu.Unlock()
	old.discard()
}

// discard closes the connection, if there is one. Not under the lock: TLS says
// goodbye, and whoever watches the connection is told.
func (s spare) discard() {
	if s.Conn != nil {
		s.Close()
	}
}

// connect makes a connection that is watched.
func (d *dialer) connect(ctx context.Context, address string, conf *tls.Config) (net.Conn, error) {
	raw, err := (&net.Dialer{KeepAlive: pingInterval}).DialContext(ctx, d.cfg.network, address)
	if err != nil {
		return nil, err
	}
	conn := watch(d.ctx, raw, d.cfg.timeout)
	conn.expired = func() { d.broke(address, conf, errNoAnswer) }
	conn.gone = func() {
		d.mu.Lock()
		delete(d.live, conn)
		d.mu.Unlock()
	}
	d.mu.Lock()
	d.live[conn] = struct{}{}
	d.mu.Unlock()
	if conf == nil {
		return conn, nil
	}
	secure := tls.Client(conn, forServer(conf, address))
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// forServer returns conf with the name that the certificate must have.
func forServer(conf *tls.Config, address string) *tls.Config {
	if conf.ServerName != "" {
		return conf
	}
	host, _, _ := net.SplitHostPort(address)
	conf = conf.Clone()
	conf.ServerName = host
	return conf
}

// broke notes that a server can't be reached, until it answers.
func (d *dialer) broke(address string, conf *tls.Config, err error) {
	if d.ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	known := d.outages[address] != nil
	if !known {
		d.outages[address] = &outage{err: err, tls: conf, needed: time.Now()}
	}
	s := d.spares[address]
	delete(d.spares, address)
	d.mu.Unlock()
	s.discard()
	if !known {
		d.start(func() { d.recover(address, conf) })
	}
}

// recover pings a server until it answers or nobody needs it any more.
func (d *dialer) recover(address string, conf *tls.Config) {
	for delay := minBackoff; !d.answers(address, conf) && d.needed(address); delay = min(2*delay, maxBackoff) {
		select {
		case <-time.After(delay/2 + rand.N(delay/2)):
		case <-d.ctx.Done():
			return
		}
	}
	d.mu.Lock()
	delete(d.outages, address)
	d.mu.Unlock()
}

func (d *dialer) needed(address string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Since(d.outages[address].needed) < outageFor
}

// answers reports whether a server answers a ping on a connection of its own.
// It need not know who asks.
func (d *dialer) answers(address string, conf *tls.Config) bool {
	ctx, cancel := context.WithTimeout(d.ctx, max(d.cfg.timeout, minDialTimeout))
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, d.cfg.network, address)
	if err != nil {
		return false
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	conn := raw
	if conf != nil {
		conn = tls.Client(raw, forServer(conf, address))
	}
	if _, err := conn.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return false
	}
	switch code, _, _ := strings.Cut(strings.TrimSpace(line), " "); code {
	case "+PONG", "-NOAUTH", "-NOPERM":
		return true
	case "-MISCONF": // it can't save its data, but serves reads
		return true
	}
	return false // it is loading its data, say, or has too many clients
}

// giveUp closes all connections, so that names are looked up again: a server
// that is read-only now was the primary once. Not more often than once in
// resetInterval, since it may be meant to be read-only.
func (d *dialer) giveUp() {
	d.mu.Lock()
	if time.Since(d.reset) < resetInterval {
		d.mu.Unlock()
		return
	}
	d.reset = time.Now()
	conns := make([]*watched, 0, len(d.live))
	for conn := range d.live {
		conns = append(conns, conn)
	}
	d.mu.Unlock()
	for _, conn := range conns {
		conn.leave()
	}
}
