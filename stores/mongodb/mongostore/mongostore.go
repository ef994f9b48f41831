// Package mongostore keeps sessions in MongoDB 4.4 or later.
//
// There is a document for each session:
//
//	{_id: id, version: 5, head: the value's first bytes, body: the others, expires: date}
//
// and one for each place in the index:
//
//	{key: index key, session: id, deadline: date}
//
// Every change of a session is one atomic change of one document, whose filter has the
// version and the time. Caddy's clock judges the time, so the clocks of several Caddys
// have to agree within a second or so. The server removes what has expired, some time
// later.
package mongostore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/caddy-session/caddy-session/internal/breaker"
	"github.com/caddy-session/caddy-session/session"
)

// Store is a session.Store in a database of MongoDB. Make one with New.
//
// No call lasts longer than Options.Timeout or the deadline of its context, whichever
// is sooner; once the server does not answer, calls fail at once until it does. A
// context that is done before a call starts fails it; one that is cancelled later does
// not cut it short. A write that fails with anything but ErrNotFound, ErrConflict and
// ErrNotDone may have been done nevertheless, or be done later. What the driver sends
// twice the server does once.
//
// Deletions, and what is put with Durable, are answered when a majority of the servers
// has them. A deletion of what is gone should wait for the one before, since a server
// is said to wait for the last operation that it has logged (MongoDB's manual, "Write
// Concern"); no test here shows it, since FerretDB has no replicas.
//
// An error names the server and the id, never a value or a password. When the time is
// up it matches context.DeadlineExceeded.
type Store struct {
	timeout time.Duration
	addr    string // for messages, without credentials
	link    *link
}

// New returns a store that connects when it is first used, or told to. It fails on
// options that can't work, never because of a server that is down.
func New(opts Options) (*Store, error) {
	cfg, err := opts.resolve()
	if err != nil {
		return nil, fmt.Errorf("configuring the mongodb store: %w", err)
	}
	return &Store{timeout: cfg.timeout, addr: cfg.addr, link: newLink(cfg)}, nil
}

// Open implements session.Opener. It begins to connect, so that the log tells of
// trouble, such as a wrong password, before anybody needs a session. It neither waits
// nor fails.
func (s *Store) Open(context.Context) error {
	go func() { _ = s.link.breaker.Ready(context.Background()) }()
	return nil
}

// document is a session in the database. Its value is head and body together, so that
// the index shows headers without reading all.
type document struct {
	Version int64     `bson:"version"`
	Head    []byte    `bson:"head"`
	Body    []byte    `bson:"body"`
	Expires time.Time `bson:"expires"`
}

// Get implements session.Store. It is one round trip.
func (s *Store) Get(ctx context.Context, id string) (session.Entry, error) {
	var d document
	err := s.read(ctx, func(ctx context.Context, c *collections) error {
		return c.sessions.FindOne(ctx, live(id)).Decode(&d)
	})
	if err == nil {
		if ttl := time.Until(d.Expires); ttl > 0 {
			e := session.Entry{Value: append(d.Head, d.Body...), TTL: ttl}
			e.Version, _ = session.ParseHead(e.Value)
			return e, nil
		}
		err = mongo.ErrNoDocuments
	}
	if errors.Is(err, mongo.ErrNoDocuments) {
		return session.Entry{}, session.ErrNotFound
	}
	return session.Entry{}, fmt.Errorf("reading session %s from mongodb %s: %w", id, s.addr, err)
}

// Put implements session.Store. It is one round trip, one more to file the session, and
// one more if it is not at the version expected.
func (s *Store) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	const doing = "writing session %s to mongodb %s: %w"
	version, _ := session.ParseHead(e.Value) // a value without a head is nobody's to update
	now := time.Now()
	expires := now.Add(e.TTL)
	if e.IndexKey != "" {
		if err := s.file(ctx, e.IndexKey, id, later(e.Deadline, expires)); err != nil {
			return fmt.Errorf(doing, id, s.addr, err)
		}
	}
	cut := min(len(e.Value), session.MaxHeader)
	filter, update := atVersion(id, expect), bson.D{{Key: "$set", Value: bson.D{
		{Key: "version", Value: int64(version)},
		{Key: "head", Value: e.Value[:cut]},
		{Key: "body", Value: e.Value[cut:]},
		{Key: "expires", Value: expires},
	}}}
	opts := options.UpdateOne()
	if expect == 0 {
		// What is alive does not match, and can't be inserted again.
		filter = bson.D{{Key: "_id", Value: id}, {Key: "expires", Value: bson.D{{Key: "$lte", Value: now}}}}
		opts.SetUpsert(true)
	}
	err := s.change(ctx, doing, id, func(ctx context.Context, c *collections) (bool, error) {
		to := c.sessions
		if e.Durable {
			to = c.durable
		}
		result, err := to.UpdateOne(ctx, filter, update, opts)
		if mongo.IsDuplicateKeyError(err) {
			return false, nil
		}
		return result != nil && result.MatchedCount+result.UpsertedCount == 1, err
	})
	if expect == 0 && errors.Is(err, session.ErrNotFound) { // it was there, and has just gone
		return session.ErrConflict
	}
	return err
}

// file puts a session into the index, or has it stay there for longer.
func (s *Store) file(ctx context.Context, key, id string, deadline time.Time) error {
	return s.write(ctx, func(ctx context.Context, c *collections) error {
		filter := bson.D{{Key: "key", Value: []byte(key)}, {Key: "session", Value: id}}
		update := bson.D{{Key: "$max", Value: bson.D{{Key: "deadline", Value: deadline}}}}
		for attempt := 0; ; attempt++ {
			_, err := c.users.UpdateOne(ctx, filter, update, options.UpdateOne().SetUpsert(true))
			if !mongo.IsDuplicateKeyError(err) || attempt > 0 { // two at once
				return err
			}
		}
	})
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	filter := atVersion(id, expect)
	update := bson.D{{Key: "$set", Value: bson.D{{Key: "expires", Value: time.Now().Add(ttl)}}}}
	return s.change(ctx, "touching session %s in mongodb %s: %w", id, func(ctx context.Context, c *collections) (bool, error) {
		result, err := c.sessions.UpdateOne(ctx, filter, update)
		return result != nil && result.MatchedCount == 1, err
	})
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, id string, expect uint64) error {
	const doing = "deleting session %s from mongodb %s: %w"
	remove := func(filter bson.D) func(context.Context, *collections) (bool, error) {
		return func(ctx context.Context, c *collections) (bool, error) {
			result, err := c.durable.DeleteOne(ctx, filter)
			return result != nil && result.DeletedCount == 1, err
		}
	}
	var verdict error
	if expect != 0 {
		verdict = s.change(ctx, doing, id, remove(atVersion(id, expect)))
		if !errors.Is(verdict, session.ErrNotFound) {
			return verdict
		}
		// That it is gone is no answer unless it stays so.
	}
	err := s.write(ctx, func(ctx context.Context, c *collections) error {
		_, err := remove(bson.D{{Key: "_id", Value: id}})(ctx, c)
		return err
	})
	if err != nil {
		return fmt.Errorf(doing, id, s.addr, err)
	}
	return verdict
}

// Close ends the connections and what the store does in the background. Calls after it
// fail.
func (s *Store) Close() error {
	s.link.close()
	return nil
}

// change runs what changes a session if it has the version expected, and finds out why
// it has not.
func (s *Store) change(ctx context.Context, doing, id string, run func(context.Context, *collections) (bool, error)) error {
	done := false
	err := s.write(ctx, func(ctx context.Context, c *collections) (err error) {
		done, err = run(ctx, c)
		return err
	})
	switch {
	case done && err == nil:
		return nil
	case done || err != nil && !errors.Is(err, session.ErrNotReplicated):
		return fmt.Errorf(doing, id, s.addr, err)
	}
	failure := s.read(ctx, func(ctx context.Context, c *collections) error {
		return c.sessions.FindOne(ctx, live(id), options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err()
	})
	switch {
	case failure == nil:
		return session.ErrConflict
	case !errors.Is(failure, mongo.ErrNoDocuments):
		return fmt.Errorf(doing, id, s.addr, session.NotDone(failure))
	}
	return session.ErrNotFound
}

// read runs what reads. That there is no such document is no failure.
func (s *Store) read(ctx context.Context, f func(context.Context, *collections) error) error {
	return s.call(ctx, &s.link.reads, f)
}

// write runs what writes. A write that too few servers have is ErrNotReplicated.
func (s *Store) write(ctx context.Context, f func(context.Context, *collections) error) error {
	err := s.call(ctx, &s.link.wrts, f)
	if unconfirmed(err) {
		return fmt.Errorf("%w: %w", session.ErrNotReplicated, err)
	}
	return err
}

// call runs f with the time of one call. That ends when the time is up and at nothing
// else: the driver gives up a connection when the context of a call ends, and a visitor
// who hangs up must not cost one.
func (s *Store) call(ctx context.Context, kind *breaker.Health, f func(context.Context, *collections) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deadline := time.Now().Add(s.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if err := s.link.breaker.Ready(ctx); err != nil {
		return session.NotDone(oneLine(err))
	}
	err := f(ctx, s.link.use.Load())
	if errors.Is(err, mongo.ErrNoDocuments) {
		s.link.learn(kind, nil)
		return err
	}
	s.link.learn(kind, err)
	return outcome(err)
}

// live matches a session that has not expired.
func live(id string) bson.D {
	return bson.D{{Key: "_id", Value: id}, unexpired()}
}

// atVersion matches a session that has not expired and has a version.
func atVersion(id string, version uint64) bson.D {
	return append(live(id), bson.E{Key: "version", Value: int64(version)})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

var (
	_ session.Store  = (*Store)(nil)
	_ session.Opener = (*Store)(nil)
)
