package boltstore

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
)

const (
	// maxBatch is how many operations one transaction runs at most.
	maxBatch = 256

	// freeSlice is how many sessions one transaction deletes if the disk is full:
	// so few that the reserve is enough, whatever is beside them on their pages.
	freeSlice = 16

	// complainEvery is the least time between two log lines about writes that
	// nobody waits for.
	complainEvery = time.Minute
)

// write is the writer.
func (f *file) write() {
	defer close(f.done)
	debug.SetPanicOnFault(true)
	sweep := time.NewTimer(sweepEvery)
	defer sweep.Stop()
	defer f.flush.Stop()
	batch := make([]*op, 0, maxBatch)
	behind := false // there is more to sweep
	for f.failure() == nil {
		sweeping := false
		select {
		case o := <-f.queue:
			batch = append(batch, o)
		case <-f.flush.C:
		case <-sweep.C:
			sweeping = true
		case <-f.quit:
			f.drain(batch)
			f.err = f.closeDB()
			return
		}
		batch = f.fill(batch)
		// What is written anyway takes a slice along: that takes less long
		// than a transaction of its own, which others would have to wait for.
		sweeping = sweeping || behind && len(batch) > 0
		start := time.Now()
		more, _ := f.commit(batch, sweeping)
		clear(batch)
		batch = batch[:0]
		switch {
		case !sweeping:
		case more:
			behind = true
			sweep.Reset(sweepRest * time.Since(start))
		default:
			behind = false
			sweep.Reset(sweepEvery)
		}
	}
	f.err = f.closeDB()
}

// fill adds what is waiting to a batch.
func (f *file) fill(batch []*op) []*op {
	for len(batch) < maxBatch {
		select {
		case o := <-f.queue:
			batch = append(batch, o)
		default:
			return batch
		}
	}
	return batch
}

// drain commits what is waiting when the file is closed.
func (f *file) drain(batch []*op) {
	for f.failure() == nil {
		batch = f.fill(batch[:0])
		_, err := f.commit(batch, false)
		if err != nil || len(batch) == 0 && len(f.due()) == 0 {
			return
		}
	}
}

// commit runs operations in one transaction, takes waiting touches along and
// sweeps, and answers. It reports whether there is more to sweep. If there is no
// space for all that, it does without what makes no room.
func (f *file) commit(batch []*op, sweeping bool) (more bool, err error) {
	due := f.due()
	err = f.roomy(func() error {
		more, err = f.transact(batch, due, sweeping)
		return err
	})
	var free []*op
	for _, o := range batch {
		switch {
		case err == nil:
			o.done <- o.result
		case o.frees && f.failure() == nil:
			free = append(free, o)
		default:
			o.done <- fmt.Errorf("writing %s: %w", f.path, err)
		}
	}
	if err == nil {
		return more, nil
	}
	if sweeping && f.failure() == nil {
		_ = f.tight(func() (err error) { more, err = f.transact(nil, nil, true); return err })
	}
	// One by one: each leaves the pages to the next that it has freed.
	for _, o := range free {
		freeErr := f.tight(func() error { _, err := f.transact([]*op{o}, nil, false); return err })
		if freeErr != nil {
			o.result = fmt.Errorf("writing %s: %w", f.path, freeErr)
		}
		o.done <- o.result
	}
	err = fmt.Errorf("writing %s: %w", f.path, err)
	f.complain(err)
	return more, err
}

// transact runs operations in one transaction, whose results they keep.
func (f *file) transact(batch []*op, due map[string]touch, sweeping bool) (more bool, err error) {
	var t *txn
	err = f.guard(func() error {
		return f.db.Update(func(tx *bolt.Tx) error {
			t = f.begin(tx)
			for _, o := range batch {
				if o.result = o.run(t); t.err != nil {
					return t.err
				}
			}
			for id, w := range due {
				t.retouch([]byte(id), w)
			}
			if sweeping {
				more = t.sweep()
			}
			return t.end()
		})
	})
	if errors.Is(err, errUnchanged) {
		err = nil
	}
	if err != nil {
		f.settle(nil, false)
	} else {
		f.count.Store(t.count)
		f.tellFull(t.evicted)
		f.settle(t.settled, len(due) == flushSlice)
	}
	if t != nil {
		f.forget(t.changed) // a commit that failed may have taken place
	}
	return more, err
}

// complain logs that writing has failed. Operations return it as well, but
// touches and sweeps have nobody to tell.
func (f *file) complain(err error) {
	if f.failure() != nil {
		return // that was logged already
	}
	if now := time.Now(); now.Sub(f.complained) >= complainEvery {
		f.complained = now
		f.log.Error("sessions could not be written", zap.Error(err))
	}
}
