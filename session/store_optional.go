package session

import "context"

// What a [Store] may offer besides, as [NearCache] is. Ask with [As], which looks
// through wrappers.

// Opener is a [Store] that has something to open. Open is called whenever a
// configuration with the store starts, and its error keeps that from starting. A
// store on a network begins to connect and returns nil: its server need not be up
// then. Requests may come a moment earlier; until it is open the store may fail them.
type Opener interface {
	Open(ctx context.Context) error
}

// Notifier is a [Store] of several nodes that can tell the others when a session
// ends or is renewed. It may lose messages: who listens has to look for itself now
// and then.
type Notifier interface {
	// Notify tells all nodes, this one too, that the session has ended or was
	// renewed: the store has which.
	Notify(ctx context.Context, id string) error

	// Listen calls heard for every message until ctx is done or an error
	// occurs, which it returns. heard must not wait for the store.
	Listen(ctx context.Context, heard func(id string)) error
}

// Counter is a [Store] that knows how many sessions it holds. Those that have
// expired in the last seconds or were replaced in the last minute may be among
// them.
type Counter interface {
	Len() int
}

// PrefixReader is a [Store] that can read the beginning of an entry at less cost than
// all of it. Most pages do not ask for the data of a session that is too large for
// headers.
type PrefixReader interface {
	// GetPrefix is Get for the first bytes of the value, as many as size, which is
	// above [HeadSize]. With fewer, Cut is unset and the value is whole. An entry in
	// memory (Cached) has the very same bytes, and is cut if they are.
	GetPrefix(ctx context.Context, id string, size int) (Entry, error)
}

// GetHeader is Get of a store for who needs the header line alone, as [Inspect] and
// [EpochOf] do: the value may be cut off behind it.
func GetHeader(ctx context.Context, store Store, id string) (Entry, error) {
	if prefixes, ok := As[PrefixReader](store); ok {
		return prefixes.GetPrefix(ctx, id, MaxHeader)
	}
	return store.Get(ctx, id)
}

// As returns the store, or the first one that it wraps, as a T. Wrappers have a
// method Unwrap() [Store].
func As[T any](store Store) (T, bool) {
	for store != nil {
		if t, ok := store.(T); ok {
			return t, true
		}
		wrapper, ok := store.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		store = wrapper.Unwrap()
	}
	var none T
	return none, false
}
