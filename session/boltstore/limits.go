package boltstore

import (
	"bytes"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
)

const (
	// overhead is what a session takes besides what is stored under its id, about.
	overhead = 256

	// keptPart is the part of all room that is kept for those who sign in: one
	// in so many.
	keptPart = 10

	// mostEvicted is how many sessions make room for one.
	mostEvicted = 64
)

// weight is what a session counts against MaxSize, of what is stored under its id.
func weight(stored int) int64 { return int64(stored) + overhead }

// admit returns nil if there is room for what p makes of r. It looks for it among
// the dead first, and then among the unclaimed.
func (t *txn) admit(r record, p *put) error {
	sessions, size := int64(0), weight(len(p.stored))-r.weight
	if !r.stored {
		sessions = 1
	}
	if t.fits(sessions, size, p.signedIn) {
		return nil
	}
	t.sweepSessions(sweepSlice)
	for range mostEvicted {
		if t.fits(sessions, size, p.signedIn) || !t.evict(p.id) {
			break
		}
	}
	if t.fits(sessions, size, p.signedIn) {
		return nil
	}
	return session.NotDone(fmt.Errorf("the store is full: there are %d sessions of %d bytes, and the most allowed are %d and %d, of which a tenth is kept for those who sign in",
		t.count, t.bytes, t.file.maxSessions, t.file.maxSize))
}

func (t *txn) fits(sessions, size int64, signedIn bool) bool {
	most, mostSize := int64(t.file.maxSessions), t.file.maxSize
	if !signedIn {
		most -= most / keptPart
		mostSize -= mostSize / keptPart
	}
	return (sessions <= 0 || t.count+sessions <= most) && (size <= 0 || t.bytes+size <= mostSize)
}

// evict removes the unclaimed session that was made first, but not the one with
// this id. It reports false if there is none.
func (t *txn) evict(but []byte) bool {
	c := t.unclaimed.Cursor()
	k, _ := c.First()
	if k != nil && bytes.Equal(k[min(len(k), expirySize):], but) {
		k, _ = c.Next()
	}
	if k == nil {
		return false
	}
	k = bytes.Clone(k) // the next change makes it invalid
	id := k[min(len(k), expirySize):]
	switch r := t.load(id); {
	case !r.stored || !bytes.Equal(k, expiryKey(r.filed, id)):
		t.remove(t.unclaimed, k) // nobody's
	case r.touch != (touch{}) && r.touch.version == r.version && t.alive(r):
		t.retouch(id, r.touch) // it has been claimed meanwhile
	default:
		t.drop(id, r)
		t.evicted++
	}
	return true
}

// tellFull logs now and then that sessions had to make room.
func (f *file) tellFull(evicted int) {
	f.evicted += evicted
	if now := time.Now(); f.evicted > 0 && now.Sub(f.toldFull) >= complainEvery {
		f.log.Warn("the store is full, so sessions of visitors who have not come back yet make room for others",
			zap.String("file", f.path), zap.Int("removed", f.evicted))
		f.evicted, f.toldFull = 0, now
	}
}
