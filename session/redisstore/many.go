package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

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
	forget := func() {
		for _, id := range ids {
			s.cache.Invalidate(id)
		}
	}
	forget()
	defer forget()
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
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = s.key(id)
	}
	var cmds []rueidis.Completed
	if client.Mode() == rueidis.ClientModeCluster {
		for _, key := range keys { // of many slots
			cmds = append(cmds, client.B().Del().Key(key).Build())
		}
	} else {
		cmds = append(cmds, client.B().Del().Key(keys...).Build())
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
// sessions now. In a Cluster they have to be the same to the end: one that has
// taken over meanwhile can't tell what its predecessor has deleted.
func (s *Store) confirmation(ctx context.Context) (confirm func() error, err error) {
	if !s.waits(true) {
		return func() error { return nil }, nil
	}
	keys, err := s.keyOfEach(ctx)
	if err != nil {
		return nil, err
	}
	return func() error {
		for _, key := range keys {
			if err := s.confirm(ctx, key); err != nil {
				return err
			}
		}
		if now, err := s.keyOfEach(ctx); err != nil || !maps.Equal(keys, now) {
			return errors.Join(session.ErrNotReplicated, errMoved, err)
		}
		return nil
	}, nil
}

// confirm waits for the replicas of the server that has a key.
func (s *Store) confirm(ctx context.Context, key string) error {
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	res, err := s.write(ctx, client, true, mark(client, key))
	if answer := res[0].Error(); answer != nil {
		err = answer
	}
	if errors.Is(err, session.ErrNotReplicated) {
		s.link.learn(&s.link.writes, nil)
		return err
	}
	return s.done(&s.link.writes, err)
}

// keyOfEach returns a key for each primary that has slots, by the primary's id.
func (s *Store) keyOfEach(ctx context.Context) (map[string]string, error) {
	client, ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	key := func(n int) string { return s.prefix + "wait:" + strconv.Itoa(n) }
	if client.Mode() != rueidis.ClientModeCluster {
		return map[string]string{"": key(0)}, nil
	}
	// Asked at a primary: a replica may be the one that does not answer.
	ranges, err := client.Do(ctx, client.B().ClusterSlots().Build().SetSlot(key(0))).ToArray()
	if err := s.done(&s.link.reads, err); err != nil {
		return nil, err
	}
	const slots = 1 << 14
	var owners [slots]string // ids
	primaries := map[string]struct{}{}
	for _, r := range ranges { // first slot, last slot, primary, replicas
		owner, err := slotRange(r, owners[:])
		if err != nil {
			return nil, fmt.Errorf("asking for the slots of the Cluster: %w", err)
		}
		primaries[owner] = struct{}{}
	}
	keys := make(map[string]string, len(primaries))
	for n := 0; len(keys) < len(primaries) && n < 64*slots; n++ {
		cmd := mark(client, key(n))
		if owner := owners[cmd.Slot()]; owner != "" && keys[owner] == "" {
			keys[owner] = key(n)
		}
	}
	return keys, nil
}

// slotRange notes who has a range of slots: the id of a primary.
func slotRange(answer rueidis.RedisMessage, owners []string) (id string, err error) {
	fields, err := answer.ToArray()
	if err != nil || len(fields) < 3 {
		return "", errors.Join(err, errors.New("an answer that is none"))
	}
	first, err1 := fields[0].AsInt64()
	last, err2 := fields[1].AsInt64()
	node, err3 := fields[2].ToArray() // address, port, id
	if err := errors.Join(err1, err2, err3); err != nil || len(node) < 3 || first < 0 || last >= int64(len(owners)) {
		return "", errors.Join(err, errors.New("an answer that is none"))
	}
	id, err = node[2].ToString()
	for slot := first; slot <= last; slot++ {
		owners[slot] = id
	}
	return id, err
}
