package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Operator sees and ends sessions of all sites that share a store, without the
// secrets that open them. All methods are safe for concurrent use.
type Operator struct{ ender }

// NewOperator returns an operator of a store. Of the events, it counts and tells
// [EventEnded] alone.
func NewOperator(store Store, observer Observer) *Operator {
	return &Operator{newEnder(store, observer)}
}

// Info is what the store says about a session in the clear: nothing that lets
// anybody in, and no data.
type Info struct {
	ID         string
	Version    uint64
	Subject    string // empty if nobody is signed in
	Realm      string
	Scope      Scope
	Created    time.Time
	SignedIn   time.Time // zero if nobody is signed in
	Expires    time.Time // if it is not used any more
	Deadline   time.Time // at the latest; sooner if the site's lifetime or remember was lowered since
	Remembered bool      // it has no idle limit
	Used       time.Time // of a remembered one, the last use, to within touch; zero if that can't be told
	Encrypted  bool
	Bytes      int // of the whole record

	// Label is what the site says of it. It may be of a visitor's making, so
	// it says nothing about who that is. Empty if there is none.
	Label string

	// Client is recorded at the creation, SignInClient when the subject
	// appeared; zero where that is not asked for.
	Client, SignInClient Client
}

// ErrUnreadable says that a stored value is no session of this release.
var ErrUnreadable = errors.New("the stored value can't be read")

// Show returns what the store says about a session. Errors are [ErrNotFound],
// wrap [ErrUnreadable], or mean that the store could not tell.
func (o *Operator) Show(ctx context.Context, id string) (Info, error) {
	e, err := o.peek(ctx, id)
	if err != nil {
		return Info{}, err
	}
	return Inspect(id, e, time.Now())
}

// peek is Get, without what that may do besides: move a session from another store.
func (o *Operator) peek(ctx context.Context, id string) (Entry, error) {
	if store, ok := As[interface {
		Peek(context.Context, string) (Entry, error)
	}](o.store.Store); ok {
		return store.Peek(ctx, id)
	}
	return o.store.Get(ctx, id)
}

// Inspect returns what an entry of the store says about the session with the
// id. Errors wrap [ErrUnreadable].
func Inspect(id string, e Entry, now time.Time) (Info, error) {
	r, _, _, err := decodeRecord(e.Value)
	if err != nil {
		return Info{}, fmt.Errorf("session %s: %w: %w", id, ErrUnreadable, err)
	}
	if r.replaced || !now.Before(r.deadline) {
		return Info{}, ErrNotFound
	}
	expires, used := now.Add(e.TTL), time.Time{}
	if r.remembered {
		used = lastUse(now, expires, &r)
	}
	return Info{
		ID: id, Version: r.shownVersion(), Subject: r.subject, Realm: r.realm, Scope: r.scope,
		Created: r.created, SignedIn: r.signedIn, Expires: earlier(expires, r.deadline), Deadline: r.deadline,
		Remembered: r.remembered, Used: used, Encrypted: r.sealed, Bytes: len(e.Value),
		Label: r.label, Client: r.client, SignInClient: r.signInClient,
	}, nil
}

// EpochOf returns the epoch of the session in an entry, as [Session.Epoch] does.
// Errors wrap [ErrUnreadable].
func EpochOf(e Entry) (uint64, error) {
	r, _, _, err := decodeRecord(e.Value)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return r.epoch, nil
}

// IndexOf returns the index key and the deadline of a stored value, "" if it belongs
// into no index.
func IndexOf(value []byte) (key string, deadline time.Time) {
	r, _, _, err := decodeRecord(value)
	if err != nil {
		return "", time.Time{}
	}
	return r.indexKey(), r.deadline
}

// List returns a page of all sessions: pass "" first, then next until it is "".
// limit is a hint. Sessions that can't be read are left out, and one may come
// twice.
func (o *Operator) List(ctx context.Context, cursor string, limit int) (page []Info, next string, err error) {
	ids, next, err := o.store.List(ctx, cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing sessions: %w", err)
	}
	page, err = o.showAll(ctx, ids, func(Info) bool { return true })
	return page, next, err
}

// ListSubject is [Operator.List] for the sessions of a subject in a realm.
func (o *Operator) ListSubject(ctx context.Context, realm, subject, cursor string, limit int) (page []Info, next string, err error) {
	indexed, next, err := o.store.Indexed(ctx, indexKey(realm, subject), cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing the sessions of a subject: %w", err)
	}
	// An index entry means nothing without its record.
	var ids []string
	for _, i := range indexed {
		if i.Header != nil {
			ids = append(ids, i.ID)
		}
	}
	page, err = o.showAll(ctx, ids, func(i Info) bool { return i.Subject == subject && i.Realm == realm })
	return page, next, err
}

func (o *Operator) showAll(ctx context.Context, ids []string, want func(Info) bool) ([]Info, error) {
	page := make([]Info, 0, len(ids))
	for _, id := range ids {
		info, err := o.Show(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrUnreadable):
		case err != nil:
			return nil, err
		case want(info):
			page = append(page, info)
		}
	}
	return page, nil
}

// End ends a session, and reports whether there was one. What
// can't be read is removed too.
func (o *Operator) End(ctx context.Context, id string) (bool, error) {
	e, err := o.peek(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ending session %s: %w", id, err)
	}
	r, _, _, err := decodeRecord(e.Value)
	if errors.Is(err, errNewer) {
		return false, fmt.Errorf("ending session %s: %w: %w", id, ErrUnreadable, err)
	}
	if r.replaced {
		return false, nil
	}
	// Whatever its version is by now: nobody signs in again with this id.
	if err := o.end(ctx, id); err != nil {
		return false, err
	}
	if key := r.indexKey(); key != "" {
		o.unindex(ctx, id, key)
	}
	o.ended(EventEnded, id, r.subject != "")
	return true, nil
}

// EndSubject ends the sessions of a subject in a realm, but one, which may be "".
// It returns how many there were.
func (o *Operator) EndSubject(ctx context.Context, realm, subject, except string) (int, error) {
	key := indexKey(realm, subject)
	ids, err := o.endOthers(ctx, key, except)
	if err != nil {
		return 0, fmt.Errorf("ending the sessions of a subject: %w", err)
	}
	o.endedTogether(EventEnded, key, ids, true)
	return len(ids), nil
}

// EndMany ends sessions that were listed. Their index entries stay until their
// deadlines, where they mean nothing.
func (o *Operator) EndMany(ctx context.Context, listed []Info) error {
	ids := make([]string, len(listed))
	for i := range listed {
		ids[i] = listed[i].ID
	}
	if err := o.store.removeMany(ctx, "", ids); err != nil {
		return fmt.Errorf("ending %d sessions: %w", len(ids), err)
	}
	var users, visitors []string
	for _, s := range listed {
		if s.Subject != "" {
			users = append(users, s.ID)
		} else {
			visitors = append(visitors, s.ID)
		}
	}
	o.endedTogether(EventEnded, "", users, true)
	o.endedTogether(EventEnded, "", visitors, false)
	return nil
}
