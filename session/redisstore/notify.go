package redisstore

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/caddy-session/caddy-session/session"
)

// Ends and renewals of sessions are told on one channel, <prefix>ended; the
// message is the id. Nothing but the closing of open connections depends on it.

func (s *Store) channel() string { return s.prefix + "ended" }

// Notify implements session.Notifier.
func (s *Store) Notify(ctx context.Context, id string) error {
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("publishing what became of session %s on redis %s: %w", id, s.addr, err)
	}
	defer cancel()
	if err := client.Do(ctx, client.B().Publish().Channel(s.channel()).Message(id).Build()).Error(); err != nil {
		return fmt.Errorf("publishing what became of session %s on redis %s: %w", id, s.addr, publicError(err))
	}
	return nil
}

// Listen implements session.Notifier. It holds one subscription.
func (s *Store) Listen(ctx context.Context, heard func(id string)) error {
	client, err := s.link.get(ctx)
	if err != nil {
		return fmt.Errorf("subscribing to redis %s: %w", s.addr, publicError(err))
	}
	err = client.Receive(ctx, client.B().Subscribe().Channel(s.channel()).Build(), func(m rueidis.PubSubMessage) {
		heard(m.Message)
	})
	if err != nil {
		return fmt.Errorf("listening to redis %s: %w", s.addr, publicError(err))
	}
	return nil
}

var _ session.Notifier = (*Store)(nil)
