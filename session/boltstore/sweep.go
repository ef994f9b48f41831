package boltstore

import (
	"bytes"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// sweepEvery is the pause after a sweep that has found everything.
	sweepEvery = 10 * time.Second

	// sweepSlice is how many keys one transaction sweeps at most: each is on
	// another page of the file, and commits wait for the whole transaction.
	sweepSlice = 32

	// sweepRest is how much longer than a slice the pause between two is that
	// nothing takes along, so that a sweep of however many leaves most of the
	// disk to commits. It still removes more in a second than may be created,
	// if max_sessions last for half an hour.
	sweepRest = 4
)

// sweep removes a slice of what is dead, and reports whether to go on soon.
func (t *txn) sweep() (more bool) {
	sessions := t.sweepSessions(sweepSlice)
	entries := t.sweepIndex(sweepSlice)
	// The index is not sorted by deadline, so a round goes through all of it.
	// Going on while one in eight is dead keeps the dead below that.
	return sessions == sweepSlice || entries >= sweepSlice/8
}

// sweepSessions looks at up to limit sessions whose expiry in the file has
// passed, and returns how many. Those that a touch keeps alive get it written.
func (t *txn) sweepSessions(limit int) (n int) {
	for _, bucket := range []*bolt.Bucket{t.expiry, t.unclaimed} {
		// Collected first: a cursor does not survive changes.
		var keys [][]byte
		c := bucket.Cursor()
		for k, _ := c.First(); k != nil && n < limit; k, _ = c.Next() {
			if expiry, ok := parseNumber(k[:min(len(k), expirySize)]); ok && alive(expiry, t.now) {
				break
			}
			keys = append(keys, bytes.Clone(k))
			n++
		}
		for _, k := range keys {
			id := k[min(len(k), expirySize):]
			r := t.load(id)
			switch {
			case !r.stored || !bytes.Equal(k, expiryKey(r.filed, id)):
				t.remove(bucket, k) // nobody's
			case t.alive(r):
				t.retouch(id, r.touch)
			default:
				t.drop(id, r)
			}
		}
	}
	return n
}

// sweepIndex looks at the next limit index entries and removes those past their
// deadline. It returns how many those were.
func (t *txn) sweepIndex(limit int) (n int) {
	var dead [][]byte
	var k, v []byte
	c := t.index.Cursor()
	for k, v = c.Seek(t.file.swept); k != nil && limit > 0; k, v = c.Next() {
		if deadline, ok := parseNumber(v); !ok || !alive(deadline, t.now) {
			dead = append(dead, bytes.Clone(k))
		}
		limit--
	}
	// Nothing left: the next slice is the first one again.
	t.file.swept = bytes.Clone(k)
	for _, k := range dead {
		t.remove(t.index, k)
	}
	return len(dead)
}
