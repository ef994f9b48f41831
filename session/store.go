package session

import (
	"context"
	"errors"
	"time"
)

// Sentinels of the Store contract. Every other error means that the store
// could not tell or could not do it; callers fail closed on it.
var (
	// ErrNotFound: there is no such entry, or it has expired.
	ErrNotFound = errors.New("session not found")
	// ErrConflict: the entry is there, but at another version than expected.
	ErrConflict = errors.New("session was changed meanwhile")
	// ErrNotReplicated: the write was done, but a failover could undo it.
	ErrNotReplicated = errors.New("a failover could undo it")
	// ErrNotDone: nothing was written, and nothing that was sent can be written
	// later. See NotDone.
	ErrNotDone = errors.New("nothing was written")
)

// NotDone returns err as an error that is ErrNotDone too, and reads the same.
// With it a Store spares its callers to find out what a write that has failed
// did: the server could not be reached, say, or has refused. nil stays nil.
func NotDone(err error) error {
	if err == nil {
		return nil
	}
	return notDone{err}
}

type notDone struct{ error }

func (e notDone) Unwrap() error        { return e.error }
func (e notDone) Is(target error) bool { return target == ErrNotDone }

// Entry is one stored session.
//
// Value begins with the head of the record format (see record.go), which
// carries Version; a store may compare versions by these first bytes
// (AppendHead, ParseHead) and knows nothing else about the value.
type Entry struct {
	// Version is at least 1 in what is put. Get reports 0 for a value that
	// has no record head: it is somebody else's, and the caller decides.
	Version uint64

	// Value is the encoded record. The receiver owns it.
	Value []byte

	// Cut tells that there may be more of the record than Value: see
	// [PrefixReader]. Get leaves it unset, and puts ignore it.
	Cut bool

	// TTL is the time left to live: above zero in what is put.
	TTL time.Duration

	// IndexKey, when not empty in what is put, indexes the id under this key,
	// until Deadline, before the record itself is written: a dangling index
	// entry is harmless, a missing one is not. An id that is indexed already
	// keeps the later deadline. Get leaves it empty.
	IndexKey string

	// Deadline is when the index entry may be forgotten. It is used with
	// IndexKey only.
	Deadline time.Time

	// Unclaimed: nobody is signed in, and the browser has not come back with the
	// cookie yet, if ever it will. A store that is full may remove such an entry;
	// an update or a touch claims it. Get leaves it unset.
	Unclaimed bool

	// SignedIn: somebody is, or was until now. A store with limits keeps a tenth of
	// its room for such entries, so signing out does not fail for want of it. Get
	// leaves it unset.
	SignedIn bool

	// Cached is an entry in memory that has this very Value, if Get knows one:
	// whoever has opened that need not open Value again. Puts ignore it.
	Cached *CachedEntry

	// Durable asks for what an update writes to survive a failover, since it
	// replaces a secret. A store that is asked for more than it does by
	// itself, and can't do it, returns ErrNotReplicated. Deletions are durable
	// always.
	Durable bool
}

// Indexed is an id that is indexed under an index key.
type Indexed struct {
	ID string

	// Header is the value of the entry, or its first MaxHeader bytes at least,
	// by which the caller sees whether the entry belongs there: nil if there is
	// no such entry. The receiver owns it.
	Header []byte
}

// MaxHeader is how far into a value its header line may reach, in bytes.
const MaxHeader = maxHeader

// Store keeps encoded sessions under their id, and an index of ids by subject.
//
// All methods are safe for concurrent use and respect the context's deadline.
// An entry that has expired is ErrNotFound to all of them, swept or not.
// No method keeps or changes the slices it is given.
type Store interface {
	// Get returns the entry, or ErrNotFound.
	Get(ctx context.Context, id string) (Entry, error)

	// Put stores e and sets its TTL. With expect 0 it creates: ErrConflict if
	// the id is there already. Otherwise it updates the entry that has exactly
	// the version expect: ErrConflict if the version is another, ErrNotFound
	// if there is none. It never turns an update into a creation. The new version
	// is greater, not always by one.
	Put(ctx context.Context, id string, expect uint64, e Entry) error

	// Touch sets the TTL of the entry that has the version expect:
	// ErrNotFound if there is none, ErrConflict if the version is another
	// (then a commit has set a TTL of its own, which a late touch must not
	// cut short). No version is 0. A store may delay the write by up to a second if its own
	// Get sees it at once.
	Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error

	// Delete removes the entry. With expect 0 it removes whatever is there and
	// is idempotent. Otherwise ErrConflict or ErrNotFound as in Put.
	Delete(ctx context.Context, id string, expect uint64) error

	// Indexed lists what is indexed under an index key, a page at a time: pass
	// "" first, then next until it is "". limit is a hint, above zero. The
	// list may name ids that are no more, and an id more than once; an id
	// indexed before the first page was asked for and not removed is in it.
	Indexed(ctx context.Context, key, cursor string, limit int) (page []Indexed, next string, err error)

	// DeleteMany removes the entries of any number of ids, as Delete with
	// expect 0 does, and then takes the ids out of an index key, unless that is
	// "". It costs far less than to delete them one by one: 100,000 in a second
	// or so. After an error some may have gone; it may be called again. It is as
	// durable as Delete: a store that returns ErrNotReplicated does so until what
	// was deleted before is safe too, also if there are no ids.
	DeleteMany(ctx context.Context, key string, ids []string) error

	// Unindex removes an id from an index key. It is idempotent. Only for ids
	// whose session has ended or was replaced: an id is never used again.
	Unindex(ctx context.Context, key, id string) error

	// List lists the ids of all entries, a page at a time, in the manner of
	// Indexed.
	List(ctx context.Context, cursor string, limit int) (ids []string, next string, err error)

	// Close releases what the store holds. Calls after it fail.
	Close() error
}
