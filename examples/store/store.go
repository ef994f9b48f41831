// Package sqlitestore is an example: a store of caddy-session in SQLite.
package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/caddy-session/caddy-session/session"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Times are nanoseconds since 1970. What has expired is there until two later
// creations have removed it, and no statement takes it for a session.
const schema = `
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, value BLOB NOT NULL, expires INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires);
CREATE TABLE IF NOT EXISTS places (key BLOB, id TEXT, deadline INTEGER NOT NULL, PRIMARY KEY (key, id));
CREATE INDEX IF NOT EXISTS places_by_deadline ON places (deadline);`

// Each statement that changes a session compares what the session is now, so that
// there is nothing between looking and writing. A version is the first bytes of the
// value.
const (
	get    = `SELECT value, expires FROM sessions WHERE id = ?1 AND expires > ?2`
	create = `INSERT INTO sessions VALUES (?1, ?3, ?4) ON CONFLICT DO UPDATE SET value = ?3, expires = ?4 WHERE expires <= ?2`
	live   = ` WHERE id = ?1 AND expires > ?2 AND substr(value, 1, length(?3)) = ?3`
	update = `UPDATE sessions SET value = ?4, expires = ?5` + live
	touch  = `UPDATE sessions SET expires = ?4` + live
	remove = `DELETE FROM sessions` + live
	place  = `INSERT INTO places VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET deadline = max(deadline, excluded.deadline)`
	sweep  = `DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires <= ?1 LIMIT 2);
		DELETE FROM places WHERE rowid IN (SELECT rowid FROM places WHERE deadline <= ?1 LIMIT 2)`
	list    = `SELECT id, NULL FROM sessions WHERE id > ? AND expires > ? ORDER BY id LIMIT ?`
	indexed = `SELECT p.id, substr(s.value, 1, ?) FROM places p LEFT JOIN sessions s ON s.id = p.id AND s.expires > ?
		WHERE p.key = ? AND p.id > ? ORDER BY p.id LIMIT ?`
	removeMany = `DELETE FROM sessions WHERE id IN (SELECT value FROM json_each(?))`
	unindex    = `DELETE FROM places WHERE key = ? AND id IN (SELECT value FROM json_each(?))`
)

// Store is a session.Store. Several processes on one machine may have one file open.
type Store struct{ db *sql.DB }

// New returns a store without opening the file, which Open does.
func New(file string) (*Store, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)")
	if err != nil {
		return nil, fmt.Errorf("opening the sqlite store: %w", err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer, and waiting here heeds the context
	return &Store{db}, nil
}

// Open implements session.Opener.
func (s *Store) Open(ctx context.Context) error {
	_, err := s.exec(ctx, schema)
	return err
}

// Close implements session.Store.
func (s *Store) Close() error { return s.db.Close() }

// exec returns how many rows a statement has changed. All errors are "can't tell".
func (s *Store) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	result, err := s.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, fmt.Errorf("writing to sqlite: %w", err)
	}
	return result.RowsAffected()
}

// change runs a statement on the session if it has the version expected, and finds
// out why it has not. No session has the version 0.
func (s *Store) change(ctx context.Context, statement, id string, expect uint64, args ...any) error {
	n, err := s.exec(ctx, statement, append([]any{id, now(), session.AppendHead(nil, expect)}, args...)...)
	if err != nil || n == 1 {
		return err
	}
	if _, err := s.Get(ctx, id); err != nil {
		return err
	}
	return session.ErrConflict
}

// Get implements session.Store.
func (s *Store) Get(ctx context.Context, id string) (e session.Entry, err error) {
	var expires int64
	at := now()
	switch err = s.db.QueryRowContext(ctx, get, id, at).Scan(&e.Value, &expires); {
	case errors.Is(err, sql.ErrNoRows):
		return e, session.ErrNotFound
	case err != nil:
		return e, fmt.Errorf("reading session %s from sqlite: %w", id, err)
	}
	e.Version, _ = session.ParseHead(e.Value) // 0 for what is no record
	e.TTL = time.Duration(expires - at)
	return e, nil
}

// Put implements session.Store.
func (s *Store) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	if e.IndexKey != "" { // first: an entry too many is harmless
		if _, err := s.exec(ctx, place, []byte(e.IndexKey), id, e.Deadline.UnixNano()); err != nil {
			return err
		}
	}
	if expect != 0 {
		return s.change(ctx, update, id, expect, e.Value, now()+int64(e.TTL))
	}
	n, err := s.exec(ctx, create, id, now(), e.Value, now()+int64(e.TTL))
	if err == nil && n == 0 {
		return session.ErrConflict
	}
	s.exec(ctx, sweep, now()) // the session is stored, whatever comes of it
	return err
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	return s.change(ctx, touch, id, expect, now()+int64(ttl))
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, id string, expect uint64) error {
	if expect == 0 {
		return s.DeleteMany(ctx, "", []string{id})
	}
	return s.change(ctx, remove, id, expect)
}

// DeleteMany implements session.Store.
func (s *Store) DeleteMany(ctx context.Context, key string, ids []string) error {
	all, _ := json.Marshal(ids)
	_, err := s.exec(ctx, removeMany, string(all))
	if err == nil && key != "" {
		_, err = s.exec(ctx, unindex, []byte(key), string(all))
	}
	return err
}

// Unindex implements session.Store.
func (s *Store) Unindex(ctx context.Context, key, id string) error {
	all, _ := json.Marshal([]string{id})
	_, err := s.exec(ctx, unindex, []byte(key), string(all))
	return err
}

// Indexed implements session.Store.
func (s *Store) Indexed(ctx context.Context, key, cursor string, limit int) ([]session.Indexed, string, error) {
	return s.page(ctx, limit, indexed, session.MaxHeader, now(), []byte(key), cursor, limit)
}

// List implements session.Store.
func (s *Store) List(ctx context.Context, cursor string, limit int) (ids []string, next string, err error) {
	all, next, err := s.page(ctx, limit, list, cursor, now(), limit)
	for _, i := range all {
		ids = append(ids, i.ID)
	}
	return ids, next, err
}

// page returns the rows of a query, and the id of the last one if there may be more.
func (s *Store) page(ctx context.Context, limit int, query string, args ...any) (all []session.Indexed, next string, err error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, "", fmt.Errorf("listing sessions of sqlite: %w", err)
	}
	defer rows.Close()
	for rows.Next() && err == nil {
		var i session.Indexed
		err = rows.Scan(&i.ID, &i.Header)
		all = append(all, i)
	}
	if err = errors.Join(err, rows.Err()); err != nil {
		return nil, "", fmt.Errorf("listing sessions of sqlite: %w", err)
	}
	if len(all) == limit {
		next = all[limit-1].ID
	}
	return all, next, nil
}

func now() int64 { return time.Now().UnixNano() }

// Interface guards.
var (
	_ session.Store  = (*Store)(nil)
	_ session.Opener = (*Store)(nil)
)
