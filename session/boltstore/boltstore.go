// Package boltstore keeps sessions in one file on this machine, with bbolt.
//
// The file is a bbolt database with five buckets. Integers are 8 bytes,
// big-endian; an expiry is in Unix milliseconds.
//
//	meta      "format"                -> 1
//	          "count"                 -> number of keys in sessions
//	          "bytes"                 -> the sum of their weights, see weight
//	sessions  id                      -> expiry, value
//	expiry    expiry, id              -> (empty)
//	unclaimed expiry, id              -> (empty)
//	index     len(key) (2 bytes), key, id  -> deadline, as an expiry
//
// Every session has exactly one key in expiry or unclaimed, where the sweeper
// finds what has ended without reading the rest, and a full store what has to
// make room. A lower format is never met; a higher
// one is refused and left alone.
//
// One goroutine writes. It commits whatever is waiting in one transaction, with
// one fsync, so that many writers at a time cost little more than one. Reads go
// past it. Touches wait in memory for the next commit, at most for flushAfter.
// What was read lately stays in memory, see cache.go.
package boltstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
)

// What Options leave at 0, and the least that makes sense.
const (
	defaultMaxSessions = 1_000_000
	defaultMaxSize     = 2 << 30
	LeastMaxSize       = 1 << 20
)

// reopenAfter is the least time between two attempts to open the file. Calls
// that come before fail with the error of the last one, or of the open file.
const reopenAfter = time.Second

var errClosed = errors.New("the store is closed")

// Options configure a Store.
type Options struct {
	// Path of the file. It and its directory are made if they are missing,
	// for this user only.
	Path string

	// MaxSessions is how many sessions may be stored. Beyond that creations
	// fail, and everything else goes on. A tenth is kept for entries that are
	// SignedIn, and those that are Unclaimed make room. 0 is 1,000,000.
	MaxSessions int

	// MaxSize is the same for bytes, where each session counts 256 more than its
	// value. Beyond it, updates that make a session larger fail as well. The file
	// may be twice as large. 0 is 2 GiB.
	MaxSize int64

	// Logger is told where the sessions are, and about damage. It may be nil.
	Logger *zap.Logger
}

// Store is a session.Store in a file. Make one with New.
type Store struct {
	opts Options
	log  *zap.Logger
	cur  atomic.Pointer[file] // nil when not open

	mu      sync.Mutex
	opening chan struct{} // closed when the running attempt to open ends; nil if none runs
	openErr error         // why the last attempt failed; nil if it did not
	retryAt time.Time     // no new attempt before then
	closed  bool

	// Of reopen only.
	suspect bool // the file has failed: read all of it before it is used again
	stuck   bool // and bbolt could not even let go of it
}

// New returns a store. It does no I/O.
func New(opts Options) *Store {
	if opts.MaxSessions <= 0 {
		opts.MaxSessions = defaultMaxSessions
	}
	if opts.MaxSize <= 0 {
		opts.MaxSize = defaultMaxSize
	}
	log := opts.Logger
	if log == nil {
		log = zap.NewNop()
	}
	return &Store{opts: opts, log: log}
}

// Open implements session.Opener. It opens the file, as the first call of any other
// method does. It fails if another process has it open, after about a second.
//
// A file that is damaged is renamed to FILE.damaged-TIME, which is logged as an
// error, and a new one is started.
func (s *Store) Open(ctx context.Context) error {
	s.mu.Lock()
	s.retryAt = time.Time{}
	s.mu.Unlock()
	_, err := s.file(ctx)
	return err
}

// Len returns the number of stored sessions, with those that have expired and
// were not swept yet. It is 0 when the file is not open.
func (s *Store) Len() int {
	if f := s.cur.Load(); f != nil {
		return int(f.count.Load())
	}
	return 0
}

// Close writes what is waiting and closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	opening := s.opening
	s.mu.Unlock()
	if opening != nil {
		<-opening
	}
	if f := s.cur.Swap(nil); f != nil {
		return f.close()
	}
	return nil
}

// file returns the open file, and opens it first if need be. An attempt to open
// goes on when the caller's context ends, for the next caller.
func (s *Store) file(ctx context.Context) (*file, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		if f := s.cur.Load(); f != nil && f.failure() == nil {
			return f, nil
		}
		f, opening, err := s.startOpening()
		if opening == nil {
			return f, err
		}
		select {
		case <-opening:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// startOpening returns a channel that is closed at the end of an attempt to
// open, which it starts unless one is running; or nil, and what there is instead.
func (s *Store) startOpening() (*file, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.cur.Load()
	switch {
	case s.closed:
		return nil, nil, errClosed
	case s.opening != nil:
		return nil, s.opening, nil
	case f != nil && f.failure() == nil:
		return f, nil, nil // it was opened meanwhile
	case time.Now().Before(s.retryAt) && s.openErr != nil:
		return nil, nil, s.openErr
	case time.Now().Before(s.retryAt) && f != nil:
		return nil, nil, f.failure()
	}
	opening := make(chan struct{})
	s.opening = opening
	go func() {
		defer close(opening)
		s.reopen()
	}()
	return nil, opening, nil
}

// reopen replaces the file that is open, if any. Only one runs at a time.
func (s *Store) reopen() {
	if f := s.cur.Load(); f != nil {
		s.suspect = true
		s.stuck = errors.Is(f.close(), errStuck)
		s.cur.Store(nil)
	}
	f, err := openFile(s.opts, s.log, s.suspect, s.stuck)
	if err == nil {
		s.suspect, s.stuck = false, false
		s.cur.Store(f)
	}
	s.mu.Lock()
	s.opening = nil
	s.openErr, s.retryAt = err, time.Now().Add(reopenAfter)
	s.mu.Unlock()
}

var (
	_ session.Store  = (*Store)(nil)
	_ session.Opener = (*Store)(nil)
)
