package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/caddy-session/caddy-session/session"
)

const (
	// batchSize is how many sessions one round trip deletes.
	batchSize = 1000

	// headerSize is as much of a session as nearly every header line needs.
	headerSize = 1 << 10
)

// headers fills in what sessions begin with. Keys that hold no string have
// something that is no header.
func (s *Store) headers(ctx context.Context, client rueidis.Client, filed []*session.Indexed) error {
	if err := s.ranges(ctx, client, filed, headerSize); err != nil {
		return err
	}
	var long []*session.Indexed
	for _, i := range filed {
		if len(i.Header) == headerSize && !bytes.ContainsRune(i.Header, '\n') {
			long = append(long, i)
		}
	}
	return s.ranges(ctx, client, long, session.MaxHeader)
}

// ranges reads up to size bytes of each session.
func (s *Store) ranges(ctx context.Context, client rueidis.Client, filed []*session.Indexed, size int64) error {
	if len(filed) == 0 {
		return nil
	}
	cmds := make([]rueidis.Completed, len(filed))
	for n, i := range filed {
		cmds[n] = client.B().Getrange().Key(s.key(i.ID)).Start(0).End(size - 1).Build()
	}
	for n, res := range client.DoMulti(ctx, cmds...) {
		header, err := res.AsBytes()
		switch {
		case isWrongType(err):
			filed[n].Header = []byte{}
		case err != nil:
			return err
		case len(header) > 0: // else there is no such key: no session is empty
			filed[n].Header = header
		}
	}
	return nil
}

// DeleteMany implements session.Store. It takes a round trip for every
// thousand ids, and one more for those of an index; each may last as long as
// Options.Timeout. With Options.Wait it then waits for the replicas once, also
// if there are no ids: an attempt before may have deleted them.
func (s *Store) DeleteMany(ctx context.Context, key string, ids []string) error {
	confirm, err := s.confirmation(ctx)
	if err != nil {
		return fmt.Errorf("deleting %d sessions from redis %s: %w", len(ids), s.addr, err)
	}
	for batch := range slices.Chunk(ids, batchSize) {
		if err := s.deleteBatch(ctx, batch); err != nil {
			return fmt.Errorf("deleting %d sessions from redis %s: %w", len(ids), s.addr, err)
		}
		// Only now: a session without its place in the index could not be ended.
		if err := s.unindexBatch(ctx, key, batch); err != nil {
			return fmt.Errorf("taking %d sessions out of an index in redis %s: %w", len(batch), s.addr, err)
		}
	}
	if err := confirm(); err != nil {
		return fmt.Errorf("deleting %d sessions from redis %s: %w", len(ids), s.addr, err)
	}
	return nil
}

func (s *Store) deleteBatch(ctx context.Context, ids []string) error {
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	cmds := make([]rueidis.Completed, len(ids))
	for i, id := range ids {
		cmds[i] = client.B().Del().Key(s.key(id)).Build()
	}
	for _, res := range client.DoMulti(ctx, cmds...) {
		if err = res.Error(); err != nil {
			break
		}
	}
	return s.done(&s.link.writes, err)
}

func (s *Store) unindexBatch(ctx context.Context, key string, ids []string) error {
	if key == "" {
		return nil
	}
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	err = client.Do(ctx, client.B().Zrem().Key(s.indexKey(key)).Member(ids...).Build()).Error()
	return s.done(&s.link.writes, err)
}

// confirmation returns what waits for the replicas of all servers that have
// sessions now. In a Cluster, each of them has to be a primary to the end: one
// that has taken over meanwhile can't tell what its predecessor has deleted.
func (s *Store) confirmation(ctx context.Context) (confirm func() error, err error) {
	if !s.waits(true) {
		return func() error { return nil }, nil
	}
	client, call, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	servers := []rueidis.Client{client}
	if client.Mode() == rueidis.ClientModeCluster {
		nodes, addresses, err := primaries(call, client)
		if err := s.done(&s.link.reads, err); err != nil {
			return nil, err
		}
		servers = servers[:0]
		for _, address := range addresses {
			servers = append(servers, nodes[address])
		}
	}
	return func() error {
		for _, server := range servers {
			if err := s.confirm(ctx, server, len(servers)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// confirm waits for the replicas of one of so many servers.
func (s *Store) confirm(ctx context.Context, server rueidis.Client, servers int) error {
	_, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	// A key of one of the server's slots: one in so many is. To be without any
	// after that many attempts is next to impossible, but for a server that has
	// no slots, and so no sessions.
	for n := range 32 * servers {
		key := s.prefix + "wait:" + decimal(int64(n))
		err := server.Do(ctx, mark(server, key)).Error()
		if err != nil && strings.HasPrefix(err.Error(), "MOVED ") {
			continue
		}
		if err == nil {
			var res []rueidis.RedisResult
			if res, err = s.write(ctx, server, true, mark(server, key)); res[0].Error() != nil {
				err = res[0].Error()
			}
		}
		if errors.Is(err, session.ErrNotReplicated) {
			s.link.learn(&s.link.writes, nil)
			return err
		}
		return s.done(&s.link.writes, err)
	}
	return nil
}
