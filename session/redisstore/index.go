package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/redis/rueidis"
)

// idSize is the length of a session's id in characters.
const idSize = 22

var errCursor = errors.New("the cursor is not one of ours")

// Indexed implements session.Store. A page may be empty although there is a
// next one, and may exceed limit: that is how ZSCAN pages. It is used rather
// than ranks or scores because it misses nobody when others come, go or get
// another deadline between two pages.
func (s *Store) Indexed(ctx context.Context, key, cursor string, limit int) ([]session.Indexed, string, error) {
	const doing = "reading index %s from redis %s: %w"
	from, err := parseCursor(cursor)
	if err != nil {
		return nil, "", fmt.Errorf(doing, key, s.addr, err)
	}
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, "", fmt.Errorf(doing, key, s.addr, err)
	}
	defer cancel()

	page, err := client.Do(ctx, client.B().Zscan().Key(s.indexKey(key)).Cursor(from).
		Count(int64(max(limit, 1))).Build()).AsScanEntry()
	filed := make([]session.Indexed, len(page.Elements)/2)
	read := make([]*session.Indexed, len(filed))
	for i := range filed {
		filed[i].ID = page.Elements[2*i] // what follows is the score
		read[i] = &filed[i]
	}
	if err == nil {
		err = s.headers(ctx, client, read)
	}
	if err := s.done(&s.link.reads, err); err != nil {
		return nil, "", fmt.Errorf(doing, key, s.addr, err)
	}
	return filed, formatCursor(page.Cursor), nil
}

// Unindex implements session.Store.
func (s *Store) Unindex(ctx context.Context, key, id string) error {
	const doing = "taking session %s out of an index in redis %s: %w"
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf(doing, id, s.addr, err)
	}
	defer cancel()

	err = client.Do(ctx, client.B().Zrem().Key(s.indexKey(key)).Member(id).Build()).Error()
	return s.finish(err, doing, id)
}

// List implements session.Store. Pages are those of SCAN, as with Indexed;
// keys under the prefix that are no sessions are left out. In a Cluster it goes
// from one primary to the next, and fails if they are others than at the
// beginning.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	const doing = "listing sessions of redis %s: %w"
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, "", fmt.Errorf(doing, s.addr, err)
	}
	defer cancel()

	if client.Mode() == rueidis.ClientModeCluster {
		ids, next, err := s.listCluster(ctx, client, cursor, limit)
		if err != nil {
			return nil, "", fmt.Errorf(doing, s.addr, err)
		}
		return ids, next, nil
	}
	from, err := parseCursor(cursor)
	if err != nil {
		return nil, "", fmt.Errorf(doing, s.addr, err)
	}
	ids, next, err := s.scan(ctx, client, from, limit)
	if err := s.done(&s.link.reads, err); err != nil {
		return nil, "", fmt.Errorf(doing, s.addr, err)
	}
	return ids, formatCursor(next), nil
}

// scan returns one page of one server, and where the next one begins, if that
// is not 0.
func (s *Store) scan(ctx context.Context, client rueidis.Client, from uint64, limit int) ([]string, uint64, error) {
	pattern := escapeGlob(s.prefix) + strings.Repeat("?", idSize)
	page, err := client.Do(ctx, client.B().Scan().Cursor(from).Match(pattern).
		Count(int64(max(limit, 1))).Build()).AsScanEntry()
	if err != nil {
		return nil, 0, err
	}
	ids := make([]string, 0, len(page.Elements))
	for _, key := range page.Elements {
		if id, ok := strings.CutPrefix(key, s.prefix); ok && isID(id) {
			ids = append(ids, id)
		}
	}
	return ids, page.Cursor, nil
}

// index is the command that files an entry. An entry is never forgotten
// before its record can expire, whatever Deadline says.
func (s *Store) index(client rueidis.Client, id string, e session.Entry) rueidis.Completed {
	until := e.Deadline
	if t := time.Now().Add(e.TTL); until.Before(t) {
		until = t
	}
	return client.B().Eval().Script(indexScript).Numkeys(1).Key(s.indexKey(e.IndexKey)).
		Arg(id, decimal(until.UnixMilli())).Build()
}

func (s *Store) indexKey(key string) string { return s.prefix + "user:" + key }

// parseCursor and formatCursor map the cursors of SCAN, where 0 is both the
// first and what follows the last, to those of the contract.
func parseCursor(cursor string) (uint64, error) {
	if cursor == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(cursor, 10, 64)
	if err != nil || n == 0 {
		return 0, errCursor
	}
	return n, nil
}

func formatCursor(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// escapeGlob returns the pattern that matches s alone.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

func isID(s string) bool {
	if len(s) != idSize {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
