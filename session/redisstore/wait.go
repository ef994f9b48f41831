package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-session/caddy-session/session"
)

// Wait says how many replicas must confirm a write that ends a session or
// replaces its secret. Redis replicates after it has answered, so without it a
// failover can bring back what was ended in the moment before. The zero value
// waits for none.
type Wait struct {
	Replicas int

	// Timeout is how long they have; it must be shorter than that of a call.
	Timeout time.Duration
}

// waits reports whether a write has to be confirmed.
func (s *Store) waits(durable bool) bool { return durable && s.wait.Replicas > 0 }

// write runs commands for keys of one server in a row, and returns an answer
// for each. If the last one is to be durable it waits for the replicas; the
// error is session.ErrNotReplicated if too few have confirmed it.
//
// WAIT counts the replicas that have what the last write of its connection has
// written and all that the server has written before, so it tells also about an
// attempt before, if the last command does write (see markScript).
func (s *Store) write(ctx context.Context, client rueidis.Client, durable bool, cmds ...rueidis.Completed) ([]rueidis.RedisResult, error) {
	if !s.waits(durable) {
		return client.DoMulti(ctx, cmds...), nil
	}
	// A command that blocks has a connection of its own.
	cmds = append(cmds, client.B().Wait().Numreplicas(int64(s.wait.Replicas)).Timeout(milliseconds(s.wait.Timeout)).Build())
	var res []rueidis.RedisResult
	if client.Mode() == rueidis.ClientModeCluster {
		// This client does not follow redirections, by which the two would
		// part.
		client.Dedicated(func(c rueidis.DedicatedClient) error {
			res = c.DoMulti(ctx, cmds...)
			return nil
		})
	} else {
		res = client.DoMulti(ctx, cmds...)
	}
	last := len(res) - 1
	n, err := res[last].AsInt64()
	if err == nil && n >= int64(s.wait.Replicas) {
		return res[:last], nil
	}
	if err != nil {
		return res[:last], fmt.Errorf("%w: %w", session.ErrNotReplicated, publicError(err))
	}
	return res[:last], fmt.Errorf("%w: %d of %d replicas have confirmed it within %v",
		session.ErrNotReplicated, n, s.wait.Replicas, s.wait.Timeout)
}
