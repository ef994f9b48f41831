// Package pgstore keeps sessions in PostgreSQL 12 or later.
//
// There is a row for each session and one for each place in the index, see
// schema.go. Whether a session has expired is judged by the server's clock. Every
// write is one statement or one transaction, and takes the row of a session before
// that of its place in the index: so no two wait for each other.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-session/caddy-session/session"
)

// Store is a session.Store in a PostgreSQL database. Make one with New.
//
// No call lasts longer than Options.Timeout or the deadline of its context,
// whichever is sooner; once the server does not answer, calls fail at once until it
// does (see link). A context that is done before a call starts fails it; one that is
// cancelled later does not cut it short. A write that fails with anything but
// ErrNotFound, ErrConflict and ErrNotDone may have been done nevertheless, or be done
// later. No write is sent twice. A read whose connection was lost is tried once more.
//
// An error names the server and the id, never a value or a password. When the time
// is up it matches context.DeadlineExceeded.
type Store struct {
	timeout time.Duration
	addr    string // for messages, without credentials
	table   string
	sql     statements
	link    *link
}

// New returns a store that connects when it is first used, or told to. It fails on
// options that can't work, never because of a server that is down.
func New(opts Options) (*Store, error) {
	cfg, err := opts.resolve()
	if err != nil {
		return nil, fmt.Errorf("configuring the postgres store: %w", err)
	}
	return &Store{timeout: cfg.timeout, addr: cfg.addr, table: cfg.table, sql: statementsFor(cfg.table), link: newLink(cfg)}, nil
}

// Open implements session.Opener. It begins to connect, so that the log tells of
// trouble, such as a wrong password, before anybody needs a session. It neither waits
// nor fails.
func (s *Store) Open(context.Context) error {
	go func() {
		if call, err := s.begin(context.Background()); err == nil {
			call.end()
		}
	}()
	return nil
}

// Get implements session.Store. It is one round trip.
func (s *Store) Get(ctx context.Context, id string) (session.Entry, error) {
	return s.get(ctx, s.sql.get, id)
}

// GetPrefix implements session.PrefixReader. It is one round trip.
func (s *Store) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	e, err := s.get(ctx, s.sql.getPrefix, id, size)
	e.Cut = err == nil && len(e.Value) == size
	return e, err
}

// get runs a statement that reads a session, whose first parameter is the id.
func (s *Store) get(ctx context.Context, sql string, args ...any) (session.Entry, error) {
	var e session.Entry
	err := s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		var left int64
		err := conn.QueryRow(ctx, sql, args...).Scan(&e.Value, &left)
		e.TTL = time.Duration(max(left, 1)) * time.Microsecond
		return err
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return session.Entry{}, session.ErrNotFound
	case err != nil:
		return session.Entry{}, fmt.Errorf("reading session %s from postgres %s: %w", args[0], s.addr, err)
	}
	e.Version, _ = session.ParseHead(e.Value)
	return e, nil
}

// Put implements session.Store. It is one round trip, and one more if the session is
// not at the version expected. The place in the index is written with the session or
// not at all.
func (s *Store) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	version, _ := session.ParseHead(e.Value) // a value without a head is nobody's to update
	args := []any{id, int64(expect), int64(version), e.Value, microseconds(e.TTL)}
	sql := &s.sql.put
	if e.IndexKey != "" {
		sql = &s.sql.putIndexed
		args = append(args, []byte(e.IndexKey), e.Deadline)
	}
	if expect != 0 {
		return s.change(ctx, "writing session %s to postgres %s: %w", id, sql.update, args...)
	}
	args = append(args[:1], args[2:]...)
	n, err := s.exec(ctx, sql.create, args...)
	switch {
	case err != nil:
		return fmt.Errorf("writing session %s to postgres %s: %w", id, s.addr, err)
	case n == 0:
		return session.ErrConflict
	}
	return nil
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	return s.change(ctx, "touching session %s in postgres %s: %w", id, s.sql.touch, id, int64(expect), microseconds(ttl))
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, id string, expect uint64) error {
	const doing = "deleting session %s from postgres %s: %w"
	var err error
	if expect != 0 {
		err = s.change(ctx, doing, id, s.sql.deleteVersion, id, int64(expect))
		if !errors.Is(err, session.ErrNotFound) {
			return err
		}
	} else if n, failure := s.exec(ctx, s.sql.deleteAny, id); n == 1 {
		return nil
	} else if failure != nil {
		return fmt.Errorf(doing, id, s.addr, failure)
	}
	// That it is gone is no answer unless it stays so.
	if failure := s.confirm(ctx); failure != nil {
		return fmt.Errorf(doing, id, s.addr, failure)
	}
	return err
}

// confirm writes something that is committed as durably as any other write, after
// all that this server has committed before: what was seen to be gone may have been
// deleted by a transaction that waited for standbys and was cut short.
func (s *Store) confirm(ctx context.Context) error {
	if _, err := s.exec(ctx, s.sql.mark); err != nil {
		return fmt.Errorf("%w: %w", session.ErrNotReplicated, err)
	}
	return nil
}

// Close ends the connections and what the store does in the background. Calls after
// it fail.
func (s *Store) Close() error {
	s.link.close()
	return nil
}

// change runs a statement that changes the row of a session if it has the version
// expected, and finds out why it has not.
func (s *Store) change(ctx context.Context, doing, id, sql string, args ...any) error {
	n, err := s.exec(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf(doing, id, s.addr, err)
	}
	if n == 1 {
		return nil
	}
	var there bool
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, s.sql.exists, id).Scan(&there)
	})
	switch {
	case err != nil:
		return fmt.Errorf(doing, id, s.addr, session.NotDone(err))
	case there:
		return session.ErrConflict
	}
	return session.ErrNotFound
}

// exec runs a statement that writes, and returns how many rows it has written.
func (s *Store) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer call.end()
	tag, err := call.conn.Exec(call.ctx, sql, args...)
	s.link.learn(&s.link.wrts, err)
	return tag.RowsAffected(), outcome(err)
}

// read runs what reads, once more if the connection was lost.
func (s *Store) read(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	for attempt := 0; ; attempt++ {
		call, err := s.begin(ctx)
		if err != nil {
			return err
		}
		err = f(call.ctx, call.conn)
		over := call.ctx.Err() != nil
		call.end()
		if errors.Is(err, pgx.ErrNoRows) {
			s.link.learn(&s.link.reads, nil)
			return err
		}
		s.link.learn(&s.link.reads, err)
		if _, ok := answered(err); err == nil || ok || over || attempt > 0 {
			return outcome(err)
		}
	}
}

// call is what one call of the store has.
type call struct {
	ctx    context.Context
	cancel context.CancelFunc
	conn   *pgxpool.Conn
}

// begin returns a connection and the context of one call. Its context ends when the
// time is up and at nothing else: the driver gives up a connection when the context of
// a call ends, and a visitor who hangs up must not cost one.
func (s *Store) begin(ctx context.Context) (*call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(s.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	c := new(call)
	c.ctx, c.cancel = context.WithDeadline(context.Background(), deadline)
	var err error
	if c.conn, err = s.link.acquire(c.ctx); err != nil {
		c.cancel()
		return nil, session.NotDone(err)
	}
	return c, nil
}

func (c *call) end() {
	c.conn.Release()
	c.cancel()
}

// microseconds rounds up, so that nothing expires early and a TTL that is above zero
// stays so.
func microseconds(d time.Duration) int64 {
	return max(int64((d+time.Microsecond-1)/time.Microsecond), 1)
}

var (
	_ session.Store        = (*Store)(nil)
	_ session.Opener       = (*Store)(nil)
	_ session.PrefixReader = (*Store)(nil)
)
