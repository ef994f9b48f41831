package mongostore

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/caddy-session/caddy-session/session"
)

// Ends and renewals of sessions are told by documents of a collection of their own,
// {session: id, at: date}, which a change stream shows to all. Only a replica set has
// change streams. Nothing but the closing of open connections depends on it.

// awaitTime is how long the server waits for news before it says that there are none.
const awaitTime = 10 * time.Second

// Notify implements session.Notifier.
func (s *Store) Notify(ctx context.Context, id string) error {
	err := s.write(ctx, func(ctx context.Context, c *collections) error {
		_, err := c.ends.InsertOne(ctx, bson.D{{Key: "session", Value: id}, {Key: "at", Value: time.Now()}})
		return err
	})
	if err != nil {
		return fmt.Errorf("telling what became of session %s by mongodb %s: %w", id, s.addr, err)
	}
	return nil
}

// Listen implements session.Notifier. It holds one connection. On a server that is not
// in a replica set it returns an error at once.
func (s *Store) Listen(ctx context.Context, heard func(id string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.link.breaker.Context(), cancel)()
	if err := s.listen(ctx, heard); err != nil {
		return fmt.Errorf("listening to mongodb %s: %w", s.addr, oneLine(err))
	}
	return nil
}

func (s *Store) listen(ctx context.Context, heard func(id string)) error {
	answer := max(s.timeout, minConnectTimeout)
	begin, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	if err := s.link.breaker.Ready(begin); err != nil {
		return err
	}
	inserts := mongo.Pipeline{{{Key: "$match", Value: bson.D{{Key: "operationType", Value: "insert"}}}}}
	stream, err := s.link.use.Load().ends.Watch(begin, inserts, options.ChangeStream().SetMaxAwaitTime(awaitTime))
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.Background(), s.timeout)
		defer cancel()
		stream.Close(last)
	}()
	for {
		wait, cancel := context.WithTimeout(ctx, awaitTime+answer)
		told := stream.TryNext(wait)
		cancel()
		switch {
		case stream.Err() != nil:
			return stream.Err()
		case ctx.Err() != nil:
			return ctx.Err()
		case !told:
			continue
		}
		var news struct {
			Document struct {
				Session string `bson:"session"`
			} `bson:"fullDocument"`
		}
		if err := stream.Decode(&news); err != nil {
			return err
		}
		heard(news.Document.Session)
	}
}

var _ session.Notifier = (*Store)(nil)
