package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-session/caddy-session/session"
)

// Ends and renewals of sessions are told on one channel of the database; the payload
// is the id. Nothing but the closing of open connections depends on it.

func (s *Store) channel() string { return s.table + "_ended" }

// Notify implements session.Notifier.
func (s *Store) Notify(ctx context.Context, id string) error {
	if _, err := s.exec(ctx, "SELECT pg_notify($1, $2)", s.channel(), id); err != nil {
		return fmt.Errorf("telling what became of session %s by postgres %s: %w", id, s.addr, err)
	}
	return nil
}

// Listen implements session.Notifier. It holds one connection.
func (s *Store) Listen(ctx context.Context, heard func(id string)) error {
	// Only once the server is known to be up, as for any call.
	call, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("listening to postgres %s: %w", s.addr, err)
	}
	call.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.link.breaker.Context(), cancel)()
	if err := s.listen(ctx, heard); err != nil {
		return fmt.Errorf("listening to postgres %s: %w", s.addr, oneLine{err})
	}
	return nil
}

func (s *Store) listen(ctx context.Context, heard func(id string)) error {
	config := s.link.cfg.pool.ConnConfig.Copy()
	if err := s.link.toGood(ctx, config); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.Background(), s.timeout)
		defer cancel()
		conn.Close(last)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{s.channel()}.Sanitize()); err != nil {
		return err
	}
	for {
		wait, cancel := context.WithTimeout(ctx, aliveInterval)
		n, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			heard(n.Payload)
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		default: // a connection that a firewall has forgotten looks the same
			ping, cancel := context.WithTimeout(ctx, max(s.timeout, minConnectTimeout))
			err := conn.Ping(ping)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}

var _ session.Notifier = (*Store)(nil)
