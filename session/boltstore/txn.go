package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-session/caddy-session/session"
)

// errUnchanged ends a transaction that has nothing to commit.
var errUnchanged = errors.New("nothing was changed")

// txn is one write transaction, in which the operations of several callers run
// one after the other and see each other's changes. The first error of bbolt
// sticks and undoes all of it; what an operation returns is for its caller only.
type txn struct {
	file  *file
	now   time.Time
	count int64 // of sessions
	dirty bool
	err   error

	// settled are the waiting touches that are obsolete once this is
	// committed: written, or overtaken.
	settled map[string]touch

	// changed are the ids of the sessions that were written or removed.
	changed []string

	meta, sessions, expiry, index *bolt.Bucket
}

func (f *file) begin(tx *bolt.Tx) *txn {
	t := &txn{
		file:     f,
		now:      time.Now(),
		settled:  map[string]touch{},
		meta:     tx.Bucket(bucketMeta),
		sessions: tx.Bucket(bucketSessions),
		expiry:   tx.Bucket(bucketExpiry),
		index:    tx.Bucket(bucketIndex),
	}
	// Not from memory: whether a commit that failed took place is only known
	// to the file.
	t.count, _ = parseNumber(t.meta.Get(keyCount))
	return t
}

// end returns nil if there is something to commit.
func (t *txn) end() error {
	if count, ok := parseNumber(t.meta.Get(keyCount)); !ok || count != t.count {
		t.set(t.meta, keyCount, appendNumber(nil, t.count))
	}
	if t.err == nil && !t.dirty {
		return errUnchanged
	}
	return t.err
}

// record is what is known of one session.
type record struct {
	stored  bool  // it is in the file, alive or not
	filed   int64 // its expiry in the file
	expiry  int64 // its expiry, with the touch that is waiting
	version uint64
	value   []byte // valid until the next change
	touch   touch  // the touch that is waiting, good or not; zero if there is none
}

func (t *txn) load(id []byte) record {
	var r record
	r.filed, r.value, r.stored = parseStored(t.sessions.Get(id))
	if !r.stored {
		return record{}
	}
	r.expiry = r.filed
	r.version, _ = session.ParseHead(r.value)
	if w, ok := t.file.waiting(string(id)); ok && w != t.settled[string(id)] {
		r.touch = w
		if w.version == r.version {
			r.expiry = w.expiry
		}
	}
	return r
}

// alive is false, too, if there is no record.
func (t *txn) alive(r record) bool { return r.stored && alive(r.expiry, t.now) }

// put is an operation of Store.Put.
type put struct {
	id       []byte
	expect   uint64
	expiry   int64
	stored   []byte
	key      []byte // in the index; nil for none
	deadline int64
}

func (t *txn) put(p *put) error {
	r := t.load(p.id)
	if p.expect != 0 {
		if err := t.check(r, p.expect); err != nil {
			return err
		}
	} else if t.alive(r) {
		return session.ErrConflict
	}
	if !r.stored && !t.room() {
		return fmt.Errorf("there are %d sessions already, which is the most allowed", t.count)
	}
	if p.key != nil {
		t.fileUnder(p.key, p.deadline)
	}
	t.write(p.id, r, p.expiry, p.stored)
	return nil
}

func (t *txn) delete(id []byte, expect uint64) error {
	r := t.load(id)
	if expect != 0 {
		if err := t.check(r, expect); err != nil {
			return err
		}
	}
	t.drop(id, r)
	return nil
}

// check returns nil if r is alive and at this version.
func (t *txn) check(r record, version uint64) error {
	switch {
	case !t.alive(r):
		return session.ErrNotFound
	case r.version != version:
		return session.ErrConflict
	}
	return nil
}

// room reports whether there may be one more session. If not, it looks for dead
// ones to remove first.
func (t *txn) room() bool {
	if t.count >= int64(t.file.maxSessions) {
		t.sweepSessions(sweepSlice)
	}
	return t.count < int64(t.file.maxSessions)
}

// fileUnder puts an id into the index. The later deadline holds: the record
// that an earlier one was for may still be alive.
func (t *txn) fileUnder(key []byte, deadline int64) {
	if old, ok := parseNumber(t.index.Get(key)); !ok || old < deadline {
		t.set(t.index, key, appendNumber(nil, deadline))
	}
}

// unfile takes an id out of the index, if it is there.
func (t *txn) unfile(key []byte) {
	if t.index.Get(key) != nil {
		t.remove(t.index, key)
	}
}

// write stores a session over r, which was loaded from id.
func (t *txn) write(id []byte, r record, expiry int64, stored []byte) {
	t.overtake(id, r)
	t.changed = append(t.changed, string(id))
	if r.stored && r.filed != expiry {
		t.remove(t.expiry, expiryKey(r.filed, id))
	}
	if !r.stored || r.filed != expiry {
		t.set(t.expiry, expiryKey(expiry, id), nil)
	}
	if !r.stored {
		t.count++
	}
	t.set(t.sessions, id, stored)
}

// drop removes the session r, which was loaded from id, if it is there.
func (t *txn) drop(id []byte, r record) {
	t.overtake(id, r)
	if !r.stored {
		return
	}
	t.changed = append(t.changed, string(id))
	t.remove(t.expiry, expiryKey(r.filed, id))
	t.remove(t.sessions, id)
	t.count--
}

// overtake marks the touch that waits for r as overtaken.
func (t *txn) overtake(id []byte, r record) {
	if r.touch != (touch{}) {
		t.settled[string(id)] = r.touch
	}
}

// retouch writes a touch, if its version is still the current one.
func (t *txn) retouch(id []byte, w touch) {
	if t.settled[string(id)] == w {
		return
	}
	r := t.load(id)
	if r.stored && r.version == w.version && r.filed != w.expiry {
		// A copy of the value: the file may be mapped anew before the commit.
		t.write(id, r, w.expiry, appendStored(w.expiry, bytes.Clone(r.value)))
	}
	t.settled[string(id)] = w
}

func (t *txn) set(b *bolt.Bucket, key, value []byte) {
	if t.err == nil {
		t.dirty = true
		t.err = b.Put(key, value)
	}
}

func (t *txn) remove(b *bolt.Bucket, key []byte) {
	if t.err == nil {
		t.dirty = true
		t.err = b.Delete(key)
	}
}
