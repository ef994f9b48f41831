package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// certain is a store whose writes can lose their answer: the store timed out, or
// the connection broke, and the write may or may not have been done. Its methods
// find out by one read.
type certain struct{ Store }

// decideTimeout bounds the read after a write whose answer got lost, on top of
// the time that the write had.
const decideTimeout = 500 * time.Millisecond

// put is Store.Put. An update that was not done is tried once more: whichever of
// the two comes first, the other one finds another version. A creation is not,
// since one that comes late could revive a session that has ended already.
func (c certain) put(ctx context.Context, id string, expect uint64, e Entry) error {
	err := c.Put(ctx, id, expect, e)
	if err == nil || isAnswer(err) {
		return err
	}
	// done writes once more what was done if that has to survive a failover: the
	// answer that got lost would have told whether it does.
	done := func() error {
		if !e.Durable {
			return nil
		}
		return c.confirm(ctx, func(ctx context.Context) error { return c.Put(ctx, id, e.Version, e) })
	}
	got, readErr := c.decide(ctx, id)
	if readErr == nil && bytes.Equal(got.Value, e.Value) {
		return done()
	}
	if readErr != nil || expect == 0 || got.Version != expect || ctx.Err() != nil {
		return err
	}
	if err = c.Put(ctx, id, expect, e); err == nil || errors.Is(err, ErrNotReplicated) {
		return err
	}
	if got, readErr := c.decide(ctx, id); readErr == nil && bytes.Equal(got.Value, e.Value) {
		return done()
	}
	return err
}

// remove is Store.Delete. A session that is gone after a lost answer counts as
// deleted by this call, whoever did it. A deletion that was not done is tried
// once more. Deletions always have to survive a failover.
func (c certain) remove(ctx context.Context, id string, expect uint64) error {
	err := c.Delete(ctx, id, expect)
	if err == nil || isAnswer(err) {
		return err
	}
	got, readErr := c.decide(ctx, id)
	if errors.Is(readErr, ErrNotFound) {
		return c.confirm(ctx, func(ctx context.Context) error { return c.Delete(ctx, id, 0) })
	}
	if readErr != nil || expect != 0 && got.Version != expect || ctx.Err() != nil {
		return err
	}
	if err = c.Delete(ctx, id, expect); errors.Is(err, ErrNotFound) {
		return nil // the first one was done, late
	}
	return err
}

// removeMany is Store.DeleteMany, which is told once more if the store does not say
// what it has done. Without ids it is asked too: an attempt before may have deleted
// them, and a failover could undo that.
func (c certain) removeMany(ctx context.Context, key string, ids []string) error {
	err := c.DeleteMany(ctx, key, ids)
	if err == nil || errors.Is(err, ErrNotReplicated) || ctx.Err() != nil {
		return err
	}
	return c.DeleteMany(ctx, key, ids)
}

// claim puts a tombstone in the place of a session that is about to be replaced;
// only one caller may win. No two tombstones are equal, so put can tell its own. A
// store may have no room for it, and still for a deletion: then the session is
// deleted.
func (c certain) claim(ctx context.Context, id string, expect uint64, tombstone Entry) error {
	err := c.put(ctx, id, expect, tombstone)
	if err == nil || isAnswer(err) && !errors.Is(err, ErrNotDone) || ctx.Err() != nil {
		return err
	}
	if c.Delete(ctx, id, expect) != nil {
		// Whoever can't tell that it was its own write must not go on from the
		// data: the session may have been destroyed.
		return err
	}
	return nil
}

// confirm repeats a write that was done already, to hear whether it survives a
// failover. The first write stands, whatever becomes of this one.
func (c certain) confirm(ctx context.Context, write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), decideTimeout)
	defer cancel()
	if err := write(ctx); err != nil {
		return fmt.Errorf("%w: %v", ErrNotReplicated, err) // no answer about the entry
	}
	return nil
}

// decide reads the session whose write lost its answer. It has time of its own:
// the end of ctx may be what cut the write short. A store that can't be read is
// asked until that time is up: what cut the write short may be over soon.
func (c certain) decide(ctx context.Context, id string) (Entry, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), decideTimeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		e, err := c.Get(ctx, id)
		if err == nil || errors.Is(err, ErrNotFound) || pause(ctx, attempt) != nil {
			return e, err
		}
	}
}

// isAnswer reports whether an error is the answer of a store that knows what it
// has done.
func isAnswer(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrNotReplicated) || errors.Is(err, ErrNotDone)
}
