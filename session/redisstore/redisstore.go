// Package redisstore keeps sessions in Redis or Valkey.
//
// # Keys
//
// There is one key for each session and one for each indexed subject:
//
//	<prefix><id>              STRING  the encoded session; its TTL is the session's
//	<prefix>user:<index key>  ZSET    member = id, score = deadline in unix milliseconds
//
// An id is 22 characters of base64url, which has no colon, so the two never
// meet. Every command and every script touches a single key.
//
// Ends of sessions are published on the channel <prefix>ended, see notify.go.
//
// # Permissions
//
// This ACL is enough (with the default key prefix, in database 0):
//
//	user caddy on >secret ~session:* +get +set +del +pttl +eval +evalsha
//	  +getrange +exists +pexpire +zadd +zremrangebyscore +zrevrange +pexpireat
//	  +time +zscan +zrem +scan +ping +info
//
// To close open connections at once when another process ends their session,
// add &session:ended +publish +subscribe; without, it takes some seconds.
//
// Another database needs +select. Without +ping and +info everything works,
// but the server's ACL log fills up and nobody warns about a server that
// evicts sessions.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/redis/rueidis"
)

// noExpiry is the TTL reported for a key that has none, because somebody made
// it persistent: far above every setting, so that the caller's next touch
// gives it a TTL again.
const noExpiry = 100 * 365 * 24 * time.Hour

// Store is a session.Store on one Redis server. Make one with New.
//
// No call lasts longer than Options.Timeout or the deadline of its context,
// whichever is sooner. A context that is done before a call starts fails it;
// one that is cancelled later does not cut it short. A write that fails with
// anything but ErrNotFound or ErrConflict may have been done nevertheless, or
// be done later, when a server that was frozen reads what it was sent. No
// command is run twice.
//
// An error names the server and the id, never a value or a password. When the
// time is up it matches context.DeadlineExceeded.
type Store struct {
	prefix  string
	timeout time.Duration
	addr    string // for messages, without credentials
	link    *link
}

// New returns a store that connects when it is first used. It fails on options
// that can't work, never because of a server that is down.
func New(opts Options) (*Store, error) {
	cfg, err := opts.resolve()
	if err != nil {
		return nil, fmt.Errorf("configuring the redis store: %w", err)
	}
	return &Store{
		prefix:  cfg.prefix,
		timeout: cfg.timeout,
		addr:    cfg.String(),
		link:    newLink(cfg),
	}, nil
}

// Get implements session.Store. It is one round trip. A key that holds no
// string is an entry of version 0 without a value.
func (s *Store) Get(ctx context.Context, id string) (session.Entry, error) {
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return session.Entry{}, fmt.Errorf("reading session %s from redis %s: %w", id, s.addr, err)
	}
	defer cancel()

	key := s.key(id)
	res := client.DoMulti(ctx,
		client.B().Get().Key(key).Build(),
		client.B().Pttl().Key(key).Build(),
	)
	value, err := res[0].AsBytes()
	switch {
	case rueidis.IsRedisNil(err):
		s.link.worked()
		return session.Entry{}, session.ErrNotFound
	case isWrongType(err):
		err = nil
	}
	var ttl int64
	if err == nil {
		ttl, err = res[1].AsInt64()
	}
	if err := s.done(err); err != nil {
		return session.Entry{}, fmt.Errorf("reading session %s from redis %s: %w", id, s.addr, err)
	}

	// Zero is less than a millisecond: to writers the key is there still.
	e := session.Entry{Value: value, TTL: time.Duration(max(ttl, 1)) * time.Millisecond}
	switch {
	case ttl == -1:
		e.TTL = noExpiry
	case ttl < 0: // it expired between the two commands
		return session.Entry{}, session.ErrNotFound
	}
	e.Version, _ = session.ParseHead(value)
	return e, nil
}

// Put implements session.Store. It is one round trip, also with an IndexKey.
// If the index could not be written the error says so, even if the record was.
func (s *Store) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	const doing = "writing session %s to redis %s: %w"
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf(doing, id, s.addr, err)
	}
	defer cancel()

	// The value is copied: a command that was given up may still wait to be
	// sent when the caller has the slice back.
	key, value, ttl := s.key(id), string(e.Value), milliseconds(e.TTL)
	switch {
	case e.IndexKey != "":
		// The two share a connection, which keeps their order.
		var record rueidis.Completed
		if expect == 0 {
			record = create(client, key, value, ttl)
		} else {
			record = update(client, key, expect, value, ttl)
		}
		res := client.DoMulti(ctx, s.index(client, id, e), record)
		if err := res[0].Error(); err != nil {
			return fmt.Errorf("indexing session %s in redis %s: %w", id, s.addr, s.done(err))
		}
		err = outcome(res[1])
	case expect == 0:
		err = outcome(client.Do(ctx, create(client, key, value, ttl)))
	default:
		err = outcome(putLua.Exec(ctx, client, []string{key}, []string{head(expect), value, decimal(ttl)}))
	}
	return s.finish(err, doing, id)
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	const doing = "touching session %s in redis %s: %w"
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf(doing, id, s.addr, err)
	}
	defer cancel()

	res := touchLua.Exec(ctx, client, []string{s.key(id)}, []string{head(expect), decimal(milliseconds(ttl))})
	return s.finish(outcome(res), doing, id)
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, id string, expect uint64) error {
	const doing = "deleting session %s from redis %s: %w"
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf(doing, id, s.addr, err)
	}
	defer cancel()

	if expect == 0 {
		err = client.Do(ctx, client.B().Del().Key(s.key(id)).Build()).Error()
	} else {
		err = outcome(deleteLua.Exec(ctx, client, []string{s.key(id)}, []string{head(expect)}))
	}
	return s.finish(err, doing, id)
}

// Close ends the connections and, if one is being made, the attempt. Calls
// after it fail.
func (s *Store) Close() error {
	s.link.close()
	return nil
}

// key is the key of a session.
func (s *Store) key(id string) string { return s.prefix + id }

// begin returns the client and the context of one call.
//
// The context ends when the time is up and at nothing else. rueidis dials on
// the context of whoever finds a connection lost, and all who need that
// connection share the outcome: a visitor who hangs up must not fail them.
func (s *Store) begin(ctx context.Context) (rueidis.Client, context.Context, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, nil, err
	}
	deadline := time.Now().Add(s.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	call, cancel := context.WithDeadline(context.Background(), deadline)
	client, err := s.link.get(call)
	if err != nil {
		cancel()
		return nil, nil, nil, publicError(err)
	}
	return client, call, cancel, nil
}

// done notes that the server answered, if it did, and returns err as it may
// be shown.
func (s *Store) done(err error) error {
	if err == nil || isAnswer(err) {
		s.link.worked()
	}
	return publicError(err)
}

// finish is done for writes: it passes the sentinels bare and wraps the rest
// in format, which takes the id, the server and the error.
func (s *Store) finish(err error, format, id string) error {
	if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
		s.link.worked()
		return err
	}
	if err := s.done(err); err != nil {
		return fmt.Errorf(format, id, s.addr, err)
	}
	return nil
}

// milliseconds rounds up, so that nothing expires early and a TTL that is
// above zero stays so.
func milliseconds(d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return max(ms, 1)
}

var _ session.Store = (*Store)(nil)
