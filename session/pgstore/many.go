package pgstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-session/caddy-session/session"
)

// batchSize is how many sessions one transaction deletes.
const batchSize = 1000

// Indexed implements session.Store.
func (s *Store) Indexed(ctx context.Context, key, cursor string, limit int) ([]session.Indexed, string, error) {
	limit = max(limit, 1)
	var page []session.Indexed
	err := s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, s.sql.indexed, []byte(key), cursor, limit, session.MaxHeader)
		if err != nil {
			return err
		}
		page, err = pgx.CollectRows(rows, pgx.RowToStructByPos[session.Indexed])
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("reading index %s from postgres %s: %w", key, s.addr, err)
	}
	if len(page) < limit {
		return page, "", nil
	}
	return page, page[limit-1].ID, nil
}

// List implements session.Store.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	limit = max(limit, 1)
	var ids []string
	err := s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, s.sql.list, cursor, limit)
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing sessions of postgres %s: %w", s.addr, err)
	}
	if len(ids) < limit {
		return ids, "", nil
	}
	return ids, ids[limit-1], nil
}

// Unindex implements session.Store.
func (s *Store) Unindex(ctx context.Context, key, id string) error {
	if _, err := s.exec(ctx, s.sql.unindex, []byte(key), []string{id}); err != nil {
		return fmt.Errorf("taking session %s out of an index in postgres %s: %w", id, s.addr, err)
	}
	return nil
}

// DeleteMany implements session.Store. It takes a round trip for every thousand ids,
// each of which may last as long as Options.Timeout.
func (s *Store) DeleteMany(ctx context.Context, key string, ids []string) error {
	const doing = "deleting %d sessions from postgres %s: %w"
	deleted := false // any by the last transaction
	for part := range slices.Chunk(ids, batchSize) {
		n, err := s.deleteBatch(ctx, key, part)
		if err != nil {
			return fmt.Errorf(doing, len(ids), s.addr, err)
		}
		deleted = n > 0
	}
	if deleted {
		return nil
	}
	if err := s.confirm(ctx); err != nil {
		return fmt.Errorf(doing, len(ids), s.addr, err)
	}
	return nil
}

// deleteBatch is one transaction, since what is sent at once is. It returns how many
// there were.
func (s *Store) deleteBatch(ctx context.Context, key string, ids []string) (int64, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer call.end()
	var batch pgx.Batch
	var deleted int64
	batch.Queue(s.sql.lock, ids)
	batch.Queue(s.sql.deleteMany, ids).Exec(func(tag pgconn.CommandTag) error {
		deleted = tag.RowsAffected()
		return nil
	})
	if key != "" {
		batch.Queue(s.sql.unindex, []byte(key), ids)
	}
	err = call.conn.SendBatch(call.ctx, &batch).Close()
	s.link.learn(&s.link.wrts, err)
	return deleted, outcome(err)
}
