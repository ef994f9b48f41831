package mongostore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/breaker"
)

// link holds the client, which is made by the first probe, and the circuit breaker.
type link struct {
	cfg         config
	breaker     *breaker.Breaker
	reads, wrts breaker.Health
	use         atomic.Pointer[collections] // nil before the first probe

	mu      sync.Mutex
	closed  bool
	indexed bool // the indexes were asked for
}

// collections are those of the store. What is written to durable is answered when it
// survives a failover.
type collections struct {
	client                         *mongo.Client
	sessions, durable, users, ends *mongo.Collection
}

func newLink(cfg config) *link {
	cfg.logger = cfg.logger.With(zap.String("address", cfg.addr))
	l := &link{
		cfg:   cfg,
		reads: breaker.Health{Log: cfg.logger, Ill: "mongodb refuses to read sessions", Well: "mongodb reads sessions again"},
		wrts:  breaker.Health{Log: cfg.logger, Ill: "mongodb refuses to write sessions", Well: "mongodb writes sessions again"},
	}
	l.breaker = breaker.New(cfg.timeout, l.probe, func(err error) {
		if err != nil {
			cfg.logger.Warn("mongodb is down", zap.Error(err))
		} else {
			cfg.logger.Info("mongodb is back")
		}
	})
	return l
}

// probe asks the primary whether it is there.
func (l *link) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(l.cfg.timeout, minConnectTimeout))
	defer cancel()
	c, err := l.connect()
	if err != nil {
		return err
	}
	if err := c.client.Ping(ctx, nil); err != nil {
		return err
	}
	l.makeIndexes(ctx, c)
	return nil
}

// connect makes the client, if that has not been done. It makes its connections in
// the background.
func (l *link) connect() (*collections, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, breaker.ErrClosed
	}
	if c := l.use.Load(); c != nil {
		return c, nil
	}
	o, err := l.cfg.client()
	if err != nil {
		return nil, err
	}
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, err
	}
	db := client.Database(l.cfg.database)
	c := &collections{
		client:   client,
		sessions: db.Collection(l.cfg.collection),
		durable:  db.Collection(l.cfg.collection, options.Collection().SetWriteConcern(writeconcern.Majority())),
		users:    db.Collection(l.cfg.collection + "_user"),
		ends:     db.Collection(l.cfg.collection + "_ended"),
	}
	l.use.Store(c)
	return c, nil
}

// graceTime is how long the server keeps what has expired, in seconds: its clock may be
// ahead of Caddy's.
const graceTime = 60

// makeIndexes makes the indexes, once. The store is right without them: the unique
// one spares places in the index that are there twice, and the server removes what
// has expired by the others.
func (l *link) makeIndexes(ctx context.Context, c *collections) {
	l.mu.Lock()
	done := l.indexed
	l.mu.Unlock()
	if done {
		return
	}
	byTime := func(field string) mongo.IndexModel {
		return mongo.IndexModel{Keys: bson.D{{Key: field, Value: 1}}, Options: options.Index().SetExpireAfterSeconds(graceTime)}
	}
	var errs []error
	for _, index := range []struct {
		of    *mongo.Collection
		model mongo.IndexModel
	}{
		{c.users, mongo.IndexModel{Keys: bson.D{{Key: "key", Value: 1}, {Key: "session", Value: 1}}, Options: options.Index().SetUnique(true)}},
		{c.sessions, byTime("expires")},
		{c.users, byTime("deadline")},
		{c.ends, byTime("at")},
	} {
		if _, err := index.of.Indexes().CreateOne(ctx, index.model); err != nil {
			if !answered(err) {
				return // the next probe does it
			}
			errs = append(errs, fmt.Errorf("%s: %w", index.of.Name(), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		l.cfg.logger.Warn("mongodb does not make all indexes; what has expired may stay there", zap.Error(oneLine(err)))
	}
	l.mu.Lock()
	l.indexed = true
	l.mu.Unlock()
}

// learn notes the outcome of a call.
func (l *link) learn(kind *breaker.Health, err error) {
	switch {
	case err == nil:
		kind.Worked()
	case answered(err):
		kind.Failed(err)
	default:
		l.breaker.Suspect()
	}
}

// close is final. Calls that are under way have the time of a call to finish.
func (l *link) close() {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return
	}
	l.breaker.Close()
	if c := l.use.Load(); c != nil {
		ctx, cancel := context.WithTimeout(context.Background(), l.cfg.timeout)
		defer cancel()
		_ = c.client.Disconnect(ctx)
	}
}
