package boltstore

import (
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-session/caddy-session/session"
)

const (
	// flushAfter is how long a touch waits for a commit to ride along with.
	flushAfter = 500 * time.Millisecond

	// flushSlice is how many touches one commit writes at most.
	flushSlice = 1000
)

// touch is a new expiry that waits to be written. It holds for its version
// only; once that is no longer the current one, it is dropped.
type touch struct {
	version uint64
	expiry  int64
}

// alive reports whether something with this expiry has not ended.
func alive(expiry int64, now time.Time) bool { return time.UnixMilli(expiry).After(now) }

// touch checks that the session is there and takes note of the new expiry.
//
// The lock is held from before the time is read until the note is made. The
// writer looks for a note, under the same lock, after it has read the time: so
// either it finds the note, or this finds the session expired. No session is
// swept after a touch of it has succeeded.
func (f *file) touch(id string, expect uint64, ttl time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	var expiry int64
	var version uint64
	found := false
	err := f.view(func(tx *bolt.Tx) error {
		var value []byte
		expiry, value, found = parseStored(tx.Bucket(bucketSessions).Get([]byte(id)))
		version, _ = session.ParseHead(value)
		return nil
	})
	if err != nil {
		return err
	}
	if w, ok := f.touches[id]; ok && w.version == version {
		expiry = w.expiry
	}
	switch {
	case !found || !alive(expiry, now):
		return session.ErrNotFound
	case version != expect || expect == 0:
		return session.ErrConflict
	}
	if len(f.touches) == 0 {
		f.flush.Reset(flushAfter)
	}
	f.touches[id] = touch{version, toMilli(now.Add(ttl))}
	f.cache.Invalidate(id)
	return nil
}

// waiting returns the touch that waits for an id.
func (f *file) waiting(id string) (touch, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	w, ok := f.touches[id]
	return w, ok
}

// due returns the touches that the next commit takes along.
func (f *file) due() map[string]touch {
	f.mu.RLock()
	defer f.mu.RUnlock()
	due := make(map[string]touch, min(len(f.touches), flushSlice))
	for id, w := range f.touches {
		if len(due) == flushSlice {
			break
		}
		due[id] = w
	}
	return due
}

// settle drops the touches that a commit has settled, except where there is a
// newer one meanwhile, and has those that are left written, at once if soon. It
// must come after the commit: until then there is no other place to read them.
func (f *file) settle(settled map[string]touch, soon bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, w := range settled {
		if f.touches[id] == w {
			delete(f.touches, id)
		}
	}
	switch {
	case len(f.touches) == 0:
		f.flush.Stop()
	case soon:
		f.flush.Reset(0)
	default:
		f.flush.Reset(flushAfter)
	}
}
