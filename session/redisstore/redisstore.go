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
//	  +time +zscan +zrem +scan +ping +info +cluster|slots +cluster|shards
//
// To close open connections at once when another process ends their session,
// add &session:ended +publish +subscribe; without, it takes some seconds.
//
// A database other than 0 needs +select, Wait needs +wait, Sentinel +role.
// Without +ping, +info and +cluster everything works on a single server, but
// its ACL log fills up and nobody warns about one that is not fit for
// sessions; +config|get lets the warnings tell whether there are snapshots.
// At Sentinels, +hello +ping +sentinel|sentinels +sentinel|replicas
// +sentinel|get-master-addr-by-name +subscribe +unsubscribe +punsubscribe with
// &* are enough.
//
// A near-cache needs +client|tracking +client|trackinginfo.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/nearcache"
	"github.com/redis/rueidis"
)

// noExpiry is the TTL reported for a key that has none, because somebody made
// it persistent: far above every setting, so that the caller's next touch
// gives it a TTL again.
const noExpiry = 100 * 365 * 24 * time.Hour

// Store is a session.Store on a Redis server, on the primary that Sentinels
// name, or on a Cluster. Make one with New.
//
// No call lasts longer than Options.Timeout or the deadline of its context,
// whichever is sooner; once a server does not answer, calls that need it fail
// at once until it does (see dialer). A context that is done before a call
// starts fails it; one that is cancelled later does not cut it short. A write
// that fails with anything but ErrNotFound or ErrConflict may have been done
// nevertheless, or be done later, when a server that was frozen reads what it
// was sent. No write is sent twice. A read whose connection was lost is tried
// once more.
//
// An error names the server and the id, never a value or a password. When the
// time is up it matches context.DeadlineExceeded.
type Store struct {
	prefix  string
	timeout time.Duration
	wait    Wait
	addr    string // for messages, without credentials
	link    *link
	cache   *nearcache.Cache // nil: nothing is kept
}

// New returns a store that connects when it is first used, or told to. It fails
// on options that can't work, never because of a server that is down.
func New(opts Options) (*Store, error) {
	cfg, err := opts.resolve()
	if err != nil {
		return nil, fmt.Errorf("configuring the redis store: %w", err)
	}
	return &Store{
		prefix:  cfg.prefix,
		timeout: cfg.timeout,
		wait:    cfg.wait,
		addr:    cfg.String(),
		link:    newLink(cfg),
		cache:   cfg.cache(),
	}, nil
}

// Open implements session.Opener. It begins to connect, so that the log tells of
// trouble, such as a wrong password, before anybody needs a session. It neither waits
// nor fails.
func (s *Store) Open(context.Context) error {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
		defer cancel()
		_, _ = s.link.get(ctx) // it logs what fails
	}()
	return nil
}

// Get implements session.Store. It is one round trip. A key that holds no
// string is an entry of version 0 without a value.
func (s *Store) Get(ctx context.Context, id string) (session.Entry, error) {
	return s.read(ctx, id, wholeValue)
}

// GetPrefix implements session.PrefixReader. It is one round trip.
func (s *Store) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	return s.read(ctx, id, size)
}

// wholeValue is the size of a read that cuts nothing off.
const wholeValue = math.MaxInt

// read reads up to size bytes of a value.
func (s *Store) read(ctx context.Context, id string, size int) (session.Entry, error) {
	reading := s.cache.Begin(id)
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return session.Entry{}, fmt.Errorf("reading session %s from redis %s: %w", id, s.addr, err)
	}
	defer cancel()

	e, err := s.get(ctx, client, s.key(id), size)
	if isLost(err) && ctx.Err() == nil {
		e, err = s.get(ctx, client, s.key(id), size)
	}
	switch {
	case errors.Is(err, session.ErrNotFound):
		s.cache.Invalidate(id) // before the server says so
		s.link.learn(&s.link.reads, nil)
		return session.Entry{}, session.ErrNotFound
	case s.done(&s.link.reads, err) != nil:
		return session.Entry{}, fmt.Errorf("reading session %s from redis %s: %w", id, s.addr, publicError(err))
	}
	if e.Version == 0 {
		s.cache.Invalidate(id)
		return e, nil
	}
	e.Cached = s.cache.Known(reading, e)
	return e, nil
}

func (s *Store) get(ctx context.Context, client rueidis.Client, key string, size int) (session.Entry, error) {
	var get rueidis.Completed
	if size == wholeValue {
		get = client.B().Get().Key(key).Build()
	} else { // of a key that is not there this is empty, and PTTL says so
		get = client.B().Getrange().Key(key).Start(0).End(int64(size) - 1).Build()
	}
	res := client.DoMulti(ctx, get, client.B().Pttl().Key(key).Build())
	value, err := res[0].AsBytes()
	switch {
	case rueidis.IsRedisNil(err):
		return session.Entry{}, session.ErrNotFound
	case isWrongType(err):
		err = nil
	}
	var ttl int64
	if err == nil {
		ttl, err = res[1].AsInt64()
	}
	if err != nil {
		return session.Entry{}, err
	}

	if size != wholeValue && len(value) == 0 && ttl != -2 { // it came between the two commands, or is empty
		return s.get(ctx, client, key, wholeValue)
	}

	// Zero is less than a millisecond: to writers the key is there still.
	e := session.Entry{Value: value, Cut: len(value) == size, TTL: time.Duration(max(ttl, 1)) * time.Millisecond}
	switch {
	case ttl == -1:
		e.TTL = noExpiry
	case ttl < 0: // there is none, or it expired between the two commands
		return session.Entry{}, session.ErrNotFound
	}
	e.Version, _ = session.ParseHead(value)
	return e, nil
}

// Put implements session.Store. It is one round trip, also with an IndexKey,
// but in a Cluster, where the index may be on another server: two. If the index
// could not be written the error says so, even if the record was.
func (s *Store) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	const doing = "writing session %s to redis %s: %w"
	const indexing = "indexing session %s in redis %s: %w"
	s.cache.Invalidate(id)
	defer s.cache.Invalidate(id)
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf(doing, id, s.addr, err)
	}
	defer cancel()

	var cmds []rueidis.Completed
	if e.IndexKey != "" {
		if client.Mode() == rueidis.ClientModeCluster {
			if err := client.Do(ctx, s.index(client, id, e)).Error(); err != nil {
				return session.NotDone(s.finish(err, indexing, id)) // the record was not sent
			}
		} else {
			// The two share a connection, which keeps their order.
			cmds = append(cmds, s.index(client, id, e))
		}
	}
	// The value is copied: a command that was given up may still wait to be
	// sent when the caller has the slice back.
	key, value, ttl := s.key(id), string(e.Value), milliseconds(e.TTL)
	switch {
	case expect == 0:
		cmds = append(cmds, create(client, key, value, ttl))
	case len(cmds) == 0 && !s.waits(e.Durable):
		res := putLua.Exec(ctx, client, []string{key}, []string{head(expect), value, decimal(ttl)})
		return s.finish(outcome(res), doing, id)
	default:
		cmds = append(cmds, update(client, key, expect, value, ttl))
	}
	res, err := s.write(ctx, client, e.Durable, cmds...)
	if len(cmds) == 2 {
		if err := res[0].Error(); err != nil {
			s.link.learn(&s.link.writes, err)
			return fmt.Errorf(indexing, id, s.addr, publicError(err)) // perhaps the record was written
		}
	}
	if answer := outcome(res[len(cmds)-1]); answer != nil {
		err = answer
	}
	return s.finish(err, doing, id)
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	const doing = "touching session %s in redis %s: %w"
	s.cache.Invalidate(id)
	defer s.cache.Invalidate(id)
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
	s.cache.Invalidate(id)
	defer s.cache.Invalidate(id)
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf(doing, id, s.addr, err)
	}
	defer cancel()

	key := s.key(id)
	var cmd rueidis.Completed
	switch {
	case expect == 0 && !s.waits(true):
		cmd = client.B().Del().Key(key).Build()
	case !s.waits(true):
		return s.finish(outcome(deleteLua.Exec(ctx, client, []string{key}, []string{head(expect)})), doing, id)
	case expect == 0:
		cmd = client.B().Eval().Script(removeDurably).Numkeys(1).Key(key).Build()
	default:
		cmd = client.B().Eval().Script(deleteDurablyScript).Numkeys(1).Key(key).Arg(head(expect)).Build()
	}
	res, err := s.write(ctx, client, true, cmd)
	if expect == 0 {
		if answer := res[0].Error(); answer != nil {
			err = answer
		}
	} else if answer := outcome(res[0]); answer != nil && !(answer == session.ErrNotFound && errors.Is(err, session.ErrNotReplicated)) {
		err = answer // but that it is gone is no answer unless it stays so
	}
	return s.finish(err, doing, id)
}

// Close ends the connections and, if one is being made, the attempt. Calls
// after it fail.
func (s *Store) Close() error {
	s.link.close()
	s.cache.Close()
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
		return nil, nil, nil, session.NotDone(publicError(err))
	}
	return client, call, cancel, nil
}

// done notes the outcome of a call and returns err as it may be shown. A server
// that answers with an error has not written.
func (s *Store) done(kind *health, err error) error {
	s.link.learn(kind, err)
	if isAnswer(err) {
		return session.NotDone(publicError(err))
	}
	return publicError(err)
}

// finish is done for writes: it passes the sentinels bare and wraps the rest
// in format, which takes the id, the server and the error.
func (s *Store) finish(err error, format, id string) error {
	if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
		s.link.learn(&s.link.writes, nil)
		return err
	}
	if errors.Is(err, session.ErrNotReplicated) {
		s.link.learn(&s.link.writes, nil)
		return fmt.Errorf(format, id, s.addr, err)
	}
	if err := s.done(&s.link.writes, err); err != nil {
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

var (
	_ session.Store        = (*Store)(nil)
	_ session.Opener       = (*Store)(nil)
	_ session.PrefixReader = (*Store)(nil)
)
