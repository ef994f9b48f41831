// Package storetest is the conformance suite of the [session.Store] contract:
// what the contract says is tested here, once, for every store.
//
// The tests use fresh random ids and never expect an empty store, so stores
// opened one after the other may share a server.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// Options says how the tests can make time pass. The zero value is a store on
// the real clock: entries that have to expire get a short TTL and are polled.
type Options struct {
	// Advance moves the clock of the store that was opened last, when it is
	// moved by hand.
	Advance func(d time.Duration)

	// Bubble runs every test in a testing/synctest bubble, where waiting takes
	// no time. It is for stores that know the time from package time only and
	// don't talk to a network. It is not used together with Advance.
	Bubble bool

	// PutRaw stores a value that has no record head, as if somebody else had,
	// in the store that was opened last. Without it that test is skipped.
	PutRaw func(id string, value []byte)

	// LeaveOut names the tests that are not run, since the server at hand can't
	// pass them. A name that is no test's fails, so the list stays true.
	LeaveOut []string
}

// Run holds a store to the contract. Every test opens a store of its own,
// which it closes.
func Run(t *testing.T, open func(t *testing.T) session.Store, opts Options) {
	type test struct {
		name string
		run  func(*env)
	}
	tests := []test{
		{"Create", testCreate},
		{"Update", testUpdate},
		{"Delete", testDelete},
		{"Touch", testTouch},
		{"Expired", testExpired},
		{"ExpiredByTouch", testExpiredByTouch},
		{"ValuesAreExact", testValuesAreExact},
		{"SlicesAreNotShared", testSlicesAreNotShared},
		{"ContextDone", testContextDone},
		{"Closed", testClosed},
		{"Index", testIndex},
		{"IndexIsFiledWithTheRecord", testIndexIsFiledWithTheRecord},
		{"IndexKeysAreApart", testIndexKeysAreApart},
		{"IndexKeepsTheLaterDeadline", testIndexKeepsTheLaterDeadline},
		{"IndexPages", testIndexPages},
		{"IndexHeaders", testIndexHeaders},
		{"DeleteMany", testDeleteMany},
		{"DeleteThousands", testDeleteThousands},
		{"ListPages", testListPages},
		{"ListWhileOthersChange", testListWhileOthersChange},
		{"RaceIncrement", testRaceIncrement},
		{"RaceCreate", testRaceCreate},
		{"RaceUpdateDelete", testRaceUpdateDelete},
		{"RaceVersionedDelete", testRaceVersionedDelete},
		{"RaceTouch", testRaceTouch},
		{"RaceDeleteMany", testRaceDeleteMany},
		{"RacePrefix", testRacePrefix},
	}
	if opts.PutRaw != nil { // else the store holds nothing but what Put gave it
		tests = append(tests, test{"ForeignValue", testForeignValue})
	}
	for _, name := range opts.LeaveOut {
		all := len(tests)
		if tests = slices.DeleteFunc(tests, func(test test) bool { return test.name == name }); len(tests) == all {
			t.Errorf("there is no test %q to leave out", name)
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run := func(t *testing.T) {
				store := open(t)
				defer store.Close()
				test.run(&env{T: t, Store: store, opts: opts, ctx: t.Context()})
			}
			if opts.Bubble {
				synctest.Test(t, run)
				return
			}
			run(t)
		})
	}
}

// Times to live. Nothing here takes minutes, so what has an hour is alive. Twice
// short is less than stores may put off a touch, so that they are seen doing it.
const (
	hour  = time.Hour
	short = 200 * time.Millisecond
)

// env is one test with its store.
type env struct {
	*testing.T
	session.Store
	opts Options
	ctx  context.Context
}

// newID returns an id that was never used. It looks like the real ones.
func newID() string { return rand.Text()[:22] }

// entry returns an entry at this version, with body after the head.
func entry(version uint64, body string, ttl time.Duration) session.Entry {
	return session.Entry{
		Version: version,
		Value:   append(session.AppendHead(nil, version), body...),
		TTL:     ttl,
	}
}

// indexed is entry with a place in the index.
func indexed(version uint64, key string, ttl time.Duration) session.Entry {
	e := entry(version, "", ttl)
	e.IndexKey, e.Deadline = key, time.Now().Add(24*hour)
	return e
}

// create stores a new entry at version 1 and returns its id.
func (t *env) create(ttl time.Duration) string {
	t.Helper()
	id := newID()
	t.ok(t.Put(t.ctx, id, 0, entry(1, "body", ttl)))
	return id
}

func (t *env) ok(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *env) is(err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// broken asserts an error that tells nothing about the entry.
func (t *env) broken(what string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
		t.Errorf("%s: got error %v, want one that is neither ErrNotFound nor ErrConflict", what, err)
	}
}

// holds asserts that id is stored as e, with nearly all of its TTL left.
func (t *env) holds(id string, e session.Entry) {
	t.Helper()
	got, err := t.Get(t.ctx, id)
	t.ok(err)
	if got.Version != e.Version {
		t.Fatalf("got version %d, want %d", got.Version, e.Version)
	}
	if !bytes.Equal(got.Value, e.Value) {
		t.Fatalf("got %d bytes, want %d, and not these", len(got.Value), len(e.Value))
	}
	if got.TTL > e.TTL || got.TTL < e.TTL-e.TTL/4 {
		t.Fatalf("got TTL %v, want a little under %v", got.TTL, e.TTL)
	}
	if got.Cached != nil && !bytes.Equal(got.Cached.Value, e.Value) {
		t.Fatal("the entry in memory has not the value that Get returns")
	}
	if got.IndexKey != "" {
		t.Fatalf("Get filled in IndexKey %q", got.IndexKey)
	}
	t.begins(id, e)
}

func (t *env) gone(id string) {
	t.Helper()
	_, err := t.Get(t.ctx, id)
	t.is(err, session.ErrNotFound)
	if prefixes, ok := session.As[session.PrefixReader](t.Store); ok {
		_, err := prefixes.GetPrefix(t.ctx, id, 100)
		t.is(err, session.ErrNotFound)
	}
}

// outlive lets time pass until everything that had a TTL of at most short when
// it was called has expired. It looks at an entry of its own only, so that the
// others stay unseen, and unswept if sweeping is lazy.
func (t *env) outlive() {
	t.Helper()
	switch {
	case t.opts.Bubble:
		time.Sleep(2 * short)
		return
	case t.opts.Advance != nil:
		t.opts.Advance(2 * short)
		return
	}
	canary := t.create(short)
	for start := time.Now(); ; time.Sleep(short / 10) {
		_, err := t.Get(t.ctx, canary)
		if errors.Is(err, session.ErrNotFound) {
			return
		}
		t.ok(err)
		if time.Since(start) > 30*time.Second {
			t.Fatalf("an entry with a TTL of %v is still there after %v", short, time.Since(start))
		}
	}
}

// parallel runs f(0) to f(n-1) at the same time and waits for them.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// number returns a distinct body for tests that count.
func number(n int) string { return strconv.Itoa(n) }
