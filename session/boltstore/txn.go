package boltstore

import (
	"bytes"
	"errors"
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
	bytes int64 // their weights
	dirty bool
	err   error

	// settled are the waiting touches that are obsolete once this is
	// committed: written, or overtaken.
	settled map[string]touch

	// changed are the ids of the sessions that were written or removed.
	changed []string

	evicted int // unclaimed sessions that had to make room

	meta, sessions, expiry, unclaimed, index *bolt.Bucket
}

func (f *file) begin(tx *bolt.Tx) *txn {
	t := &txn{
		file:      f,
		now:       time.Now(),
		settled:   map[string]touch{},
		meta:      tx.Bucket(bucketMeta),
		sessions:  tx.Bucket(bucketSessions),
		expiry:    tx.Bucket(bucketExpiry),
		unclaimed: tx.Bucket(bucketUnclaimed),
		index:     tx.Bucket(bucketIndex),
	}
	// Not from memory: whether a commit that failed took place is only known
	// to the file.
	t.count, _ = parseNumber(t.meta.Get(keyCount))
	t.bytes, _ = parseNumber(t.meta.Get(keyBytes))
	return t
}

// end returns nil if there is something to commit.
func (t *txn) end() error {
	if count, ok := parseNumber(t.meta.Get(keyCount)); !ok || count != t.count {
		t.set(t.meta, keyCount, appendNumber(nil, t.count))
	}
	if bytes, ok := parseNumber(t.meta.Get(keyBytes)); !ok || bytes != t.bytes {
		t.set(t.meta, keyBytes, appendNumber(nil, t.bytes))
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
	weight  int64  // 0 if it is not stored
	touch   touch  // the touch that is waiting, good or not; zero if there is none
}

func (t *txn) load(id []byte) record {
	var r record
	r.filed, r.value, r.stored = parseStored(t.sessions.Get(id))
	if !r.stored {
		return record{}
	}
	r.expiry, r.weight = r.filed, weight(expirySize+len(r.value))
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

	unclaimed, signedIn bool // as in session.Entry
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
	if err := t.admit(r, p); err != nil {
		return err
	}
	if p.key != nil {
		t.fileUnder(p.key, p.deadline)
	}
	t.write(p.id, t.load(p.id), p.expiry, p.stored, p.unclaimed)
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
func (t *txn) write(id []byte, r record, expiry int64, stored []byte, unclaimed bool) {
	t.overtake(id, r)
	t.changed = append(t.changed, string(id))
	t.unexpire(id, r)
	if unclaimed {
		t.set(t.unclaimed, expiryKey(expiry, id), nil)
	} else {
		t.set(t.expiry, expiryKey(expiry, id), nil)
	}
	if !r.stored {
		t.count++
	}
	t.bytes += weight(len(stored)) - r.weight
	t.set(t.sessions, id, stored)
}

// unexpire removes the key of r in expiry or unclaimed, if it is stored.
func (t *txn) unexpire(id []byte, r record) {
	if r.stored {
		k := expiryKey(r.filed, id)
		t.remove(t.expiry, k)
		t.remove(t.unclaimed, k)
	}
}

// drop removes the session r, which was loaded from id, if it is there.
func (t *txn) drop(id []byte, r record) {
	t.overtake(id, r)
	if !r.stored {
		return
	}
	t.changed = append(t.changed, string(id))
	t.unexpire(id, r)
	t.remove(t.sessions, id)
	t.count--
	t.bytes -= r.weight
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
		t.write(id, r, w.expiry, appendStored(w.expiry, bytes.Clone(r.value)), false)
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
