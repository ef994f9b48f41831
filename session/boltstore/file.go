package boltstore

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session/nearcache"
)

// stuckAfter is how long closing a file that has failed may take. bbolt may
// hold locks that nobody will ever release.
const stuckAfter = time.Second

// errStuck: bbolt does not let go of the file.
var errStuck = errors.New("the file could not be closed")

// file is the open file with its writer. Once it has failed, it stays so.
type file struct {
	db          *bolt.DB
	path        string
	log         *zap.Logger
	maxSessions int
	maxSize     int64
	count       atomic.Int64 // of sessions, as of the last commit

	cache *nearcache.Cache // sessions as they are in the file

	space space // of the writer only, once it runs

	queue chan *op
	quit  chan struct{} // closed to end the writer
	done  chan struct{} // closed when it has ended
	stop  sync.Once
	err   error // of closing; to be read after done

	failed atomic.Pointer[error]

	mu      sync.RWMutex
	touches map[string]touch
	flush   *time.Timer // runs while there are touches

	// Of the writer only.
	swept      []byte // where the sweep of the index goes on
	complained time.Time
	evicted    int       // sessions that had to make room, since that was told
	toldFull   time.Time // when it was told
}

// op is an operation of one caller.
type op struct {
	run    func(*txn) error
	frees  bool // it makes room
	result error
	done   chan error // has room for the one answer, which nobody may wait for
}

func newFile(db *bolt.DB, raw *os.File, opts Options, log *zap.Logger, count int64) *file {
	f := &file{
		db:          db,
		path:        opts.Path,
		log:         log,
		maxSessions: opts.MaxSessions,
		maxSize:     opts.MaxSize,
		cache:       newCache(),
		space:       space{raw: raw},
		queue:       make(chan *op, maxBatch),
		quit:        make(chan struct{}),
		done:        make(chan struct{}),
		touches:     map[string]touch{},
		flush:       time.NewTimer(flushAfter),
	}
	f.flush.Stop()
	f.count.Store(count)
	if err := f.provide(growStep); err != nil {
		log.Warn("there is little space for the file with the sessions", zap.String("file", f.path), zap.Error(err))
	}
	go f.write()
	return f
}

// do runs an operation in the writer and returns its result. If ctx ends before
// that, it may be run nonetheless. frees: it makes room, and may use the reserve.
// An operation may be run more than once, and only the last time counts.
func (f *file) do(ctx context.Context, frees bool, run func(*txn) error) error {
	o := &op{run: run, frees: frees, done: make(chan error, 1)}
	select {
	case f.queue <- o:
	case <-ctx.Done():
		return ctx.Err()
	case <-f.done:
		return f.gone()
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return o.orElse(ctx.Err())
	case <-f.done:
		return o.orElse(f.gone())
	}
}

// orElse returns the result if there is one after all, else err.
func (o *op) orElse(err error) error {
	select {
	case result := <-o.done:
		return result
	default:
		return err
	}
}

// view runs fn in a read transaction.
func (f *file) view(fn func(tx *bolt.Tx) error) error {
	return f.guard(func() error { return f.db.View(fn) })
}

// gone is the answer when there is no writer any more.
func (f *file) gone() error {
	if err := f.failure(); err != nil {
		return err
	}
	return errClosed
}

// close ends the writer, which closes the database.
func (f *file) close() error {
	f.stop.Do(func() {
		close(f.quit)
		f.cache.Close()
	})
	<-f.done
	return f.err
}

// closeDB closes the database. It returns errStuck if it has failed in a way
// that it can't be closed: then its memory and its lock are lost.
func (f *file) closeDB() error {
	closed := make(chan error, 1)
	go func() { closed <- guard(f.db.Close) }()
	if f.failure() == nil {
		return <-closed
	}
	select {
	case err := <-closed:
		return err
	case <-time.After(stuckAfter):
		return errStuck
	}
}
