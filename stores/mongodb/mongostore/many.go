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

// batchSize is how many sessions one command deletes.
const batchSize = 1000

// Indexed implements session.Store. A page takes two round trips.
func (s *Store) Indexed(ctx context.Context, key, cursor string, limit int) ([]session.Indexed, string, error) {
	limit = max(limit, 1)
	var places []struct {
		Session string `bson:"session"`
	}
	var sessions []struct {
		ID   string `bson:"_id"`
		Head []byte `bson:"head"`
	}
	err := s.read(ctx, func(ctx context.Context, c *collections) error {
		filter := bson.D{{Key: "key", Value: []byte(key)}, {Key: "session", Value: bson.D{{Key: "$gt", Value: cursor}}}}
		if err := find(ctx, c.users, filter, limit, &places, "session"); err != nil {
			return err
		}
		ids := make([]string, len(places))
		for i, place := range places {
			ids[i] = place.Session
		}
		return find(ctx, c.sessions, append(among("_id", ids), unexpired()), 0, &sessions, "_id", "head")
	})
	if err != nil {
		return nil, "", fmt.Errorf("reading index %s from mongodb %s: %w", key, s.addr, err)
	}
	heads := make(map[string][]byte, len(sessions))
	for _, d := range sessions {
		heads[d.ID] = d.Head
	}
	page := make([]session.Indexed, len(places))
	for i, place := range places {
		page[i] = session.Indexed{ID: place.Session, Header: heads[place.Session]}
		delete(heads, place.Session) // a place that is there twice shares nothing
	}
	if len(page) < limit {
		return page, "", nil
	}
	return page, page[limit-1].ID, nil
}

// List implements session.Store.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	limit = max(limit, 1)
	var sessions []struct {
		ID string `bson:"_id"`
	}
	err := s.read(ctx, func(ctx context.Context, c *collections) error {
		filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: cursor}}}, unexpired()}
		return find(ctx, c.sessions, filter, limit, &sessions, "_id")
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing sessions of mongodb %s: %w", s.addr, err)
	}
	ids := make([]string, len(sessions))
	for i, d := range sessions {
		ids[i] = d.ID
	}
	if len(ids) < limit {
		return ids, "", nil
	}
	return ids, ids[limit-1], nil
}

// Unindex implements session.Store.
func (s *Store) Unindex(ctx context.Context, key, id string) error {
	err := s.write(ctx, func(ctx context.Context, c *collections) error { return unindex(ctx, c, key, []string{id}) })
	if err != nil {
		return fmt.Errorf("taking session %s out of an index in mongodb %s: %w", id, s.addr, err)
	}
	return nil
}

// DeleteMany implements session.Store. It takes two round trips for every thousand ids,
// which may last as long as Options.Timeout. Without ids it deletes nothing, and waits
// for what was deleted before.
func (s *Store) DeleteMany(ctx context.Context, key string, ids []string) error {
	rest := ids
	for first := true; first || len(rest) > 0; first = false {
		part := rest[:min(len(rest), batchSize)]
		rest = rest[len(part):]
		err := s.write(ctx, func(ctx context.Context, c *collections) error {
			if _, err := c.durable.DeleteMany(ctx, among("_id", part)); err != nil || key == "" || len(part) == 0 {
				return err
			}
			return unindex(ctx, c, key, part)
		})
		if err != nil {
			return fmt.Errorf("deleting %d sessions from mongodb %s: %w", len(ids), s.addr, err)
		}
	}
	return nil
}

func unindex(ctx context.Context, c *collections, key string, ids []string) error {
	_, err := c.users.DeleteMany(ctx, append(among("session", ids), bson.E{Key: "key", Value: []byte(key)}))
	return err
}

// find reads some fields of what matches, in the order of the first of them. No limit
// is 0.
func find(ctx context.Context, c *mongo.Collection, filter bson.D, limit int, to any, fields ...string) error {
	projection := bson.M{"_id": 0}
	for _, field := range fields {
		projection[field] = 1
	}
	opts := options.Find().SetLimit(int64(limit)).SetSort(bson.D{{Key: fields[0], Value: 1}}).SetProjection(projection)
	if limit > 0 {
		opts.SetBatchSize(int32(limit))
	}
	cursor, err := c.Find(ctx, filter, opts)
	if err != nil {
		return err
	}
	return cursor.All(ctx, to)
}

// among matches what has one of these ids in a field.
func among(field string, ids []string) bson.D {
	if ids == nil {
		ids = []string{} // nil would be null
	}
	return bson.D{{Key: field, Value: bson.D{{Key: "$in", Value: ids}}}}
}

func unexpired() bson.E {
	return bson.E{Key: "expires", Value: bson.D{{Key: "$gt", Value: time.Now()}}}
}
