//go:build unix

package redisstore_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/session/storetest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// slack is what a call may take on top of its timeout.
const slack = 100 * time.Millisecond

func TestDownAtStart(t *testing.T) {
	server := redistest.Start(t)
	server.Stop()
	core, logs := observer.New(zap.InfoLevel)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Logger: zap.New(core)})

	for range 3 {
		for name, call := range storetest.Calls(s, newID()) {
			start := time.Now()
			err := call(t.Context())
			if took := time.Since(start); busy.Exceeds(took, slack) {
				t.Errorf("%s took %v", name, took)
			}
			if err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
				t.Errorf("%s: got error %v", name, err)
			} else if !strings.Contains(err.Error(), server.Addr) {
				t.Errorf("%s: the error does not name the server: %v", name, err)
			}
		}
	}

	server.Restart()
	eventually(t, "the store works", func() bool { return works(s) })
	eventually(t, "the log says so", func() bool { return logs.FilterMessage("redis is back").Len() > 0 })
	if n := logs.FilterMessage("redis is down").Len(); n != 1 {
		t.Errorf("going down was logged %d times", n)
	}
}

func TestRestart(t *testing.T) {
	server := redistest.Start(t)
	core, logs := observer.New(zap.InfoLevel)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Logger: zap.New(core)})
	eventually(t, "the store works", func() bool { return works(s) })
	id := newID()
	if err := s.Put(t.Context(), id, 0, entry(1, "kept")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		server.Stop()
		eventually(t, "the store fails", func() bool { return !works(s) })
		server.Restart()
		eventually(t, "the store works", func() bool { return works(s) })
		eventually(t, "the log says so", func() bool {
			return logs.FilterMessage("redis is down").Len() == logs.FilterMessage("redis is back").Len()
		})
	}
	if e, err := s.Get(t.Context(), id); err != nil || string(e.Value[session.HeadSize:]) != "kept" {
		t.Errorf("after restarts: %v", err)
	}
	for _, msg := range []string{"redis is down", "redis is back"} {
		if n := logs.FilterMessage(msg).Len(); n != 3 {
			t.Errorf("%q was logged %d times, want 3", msg, n)
		}
	}
}

// A frozen server holds no call for longer than its timeout, no matter how
// many there are, and leaves nothing behind.
func TestFrozen(t *testing.T) {
	for _, timeout := range []time.Duration{50 * time.Millisecond, redisstore.DefaultTimeout} {
		for _, workers := range []int{1, 64} {
			frozen(t, timeout, workers)
		}
	}
}

func frozen(t *testing.T, timeout time.Duration, workers int) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: timeout})
	eventually(t, "the store works", func() bool { return works(s) })

	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range 20 {
				s.Get(t.Context(), newID())
			}
		})
	}
	wg.Wait()

	server.Pause()
	for range workers {
		wg.Go(func() {
			for name, call := range storetest.Calls(s, newID()) {
				start := time.Now()
				err := call(t.Context())
				if took := time.Since(start); busy.Exceeds(took, timeout+slack) {
					t.Errorf("%s took %v with a timeout of %v", name, took, timeout)
				}
				if err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
					t.Errorf("%s: got error %v", name, err)
				}
			}
		})
	}
	wg.Wait()

	// One call waits for its answer, perhaps, and none of those that gave up.
	eventually(t, "the goroutines have ended", func() bool { n, _ := ours(); return n < 10 })
	server.Resume()
	eventually(t, "the store works", func() bool { return works(s) })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	nothingLeft(t)
}

// More calls than the client can queue don't wait for room.
func TestFrozenFlood(t *testing.T) {
	const timeout = 200 * time.Millisecond
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: timeout})
	eventually(t, "the store works", func() bool { return works(s) })

	server.Pause()
	const flood = 12000
	var wg sync.WaitGroup
	var mu sync.Mutex
	var slowest time.Duration
	begin := time.Now()
	for range flood {
		wg.Go(func() {
			start := time.Now()
			s.Get(t.Context(), "0123456789012345678901")
			mu.Lock()
			slowest = max(slowest, time.Since(start))
			mu.Unlock()
		})
	}
	wg.Wait()
	t.Logf("%d calls in %v, the slowest in %v", flood, time.Since(begin), slowest)
	// A busy machine makes so many goroutines slow by itself; a call that waits
	// for room would wait for ever.
	if busy.Exceeds(slowest, timeout+50*slack) {
		t.Errorf("a call took %v with a timeout of %v", slowest, timeout)
	}
	server.Resume()
	eventually(t, "the store works", func() bool { return works(s) })
	s.Close()
	nothingLeft(t)
}

func TestDeadlines(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: time.Second})
	eventually(t, "the store works", func() bool { return works(s) })
	server.Pause()
	defer server.Resume()
	for name, call := range storetest.Calls(s, newID()) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		start := time.Now()
		err := call(ctx)
		if took := time.Since(start); busy.Exceeds(took, 20*time.Millisecond+slack) {
			t.Errorf("%s took %v", name, took)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got error %v, want DeadlineExceeded", name, err)
		}
		cancel()
	}
}

// A visitor who hangs up does not fail the others that wait for the same
// connection.
func TestCancelIsNotShared(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	server.Pause() // the attempt to connect hangs
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := s.Get(ctx, newID()); first <- err }()
	go func() { _, err := s.Get(t.Context(), newID()); second <- err }()
	cancel()
	server.Resume()
	if err := <-second; !errors.Is(err, session.ErrNotFound) {
		t.Errorf("got error %v, want ErrNotFound", err)
	}
	<-first
}

func TestClose(t *testing.T) {
	closed := func(t *testing.T, s *redisstore.Store) {
		t.Helper()
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); busy.Exceeds(took, 2*time.Second) {
			t.Errorf("Close took %v", took)
		}
		if err := s.Close(); err != nil {
			t.Errorf("the second Close: %v", err)
		}
		for name, call := range storetest.Calls(s, newID()) {
			if err := call(t.Context()); err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
				t.Errorf("%s after Close: got error %v", name, err)
			}
		}
		nothingLeft(t)
	}

	t.Run("unused", func(t *testing.T) {
		closed(t, open(t, redisstore.Options{}))
	})
	t.Run("idle", func(t *testing.T) {
		s := open(t, redisstore.Options{Addresses: []string{redistest.Start(t).Addr}, Timeout: patient})
		eventually(t, "the store works", func() bool { return works(s) })
		closed(t, s)
	})
	t.Run("busy", func(t *testing.T) {
		s := open(t, redisstore.Options{Addresses: []string{redistest.Start(t).Addr}, Timeout: patient})
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 32 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						works(s)
					}
				}
			})
		}
		eventually(t, "the store works", func() bool { return works(s) })
		s.Close()
		close(stop)
		wg.Wait()
		closed(t, s)
	})
	t.Run("frozen", func(t *testing.T) {
		server := redistest.Start(t)
		s := open(t, redisstore.Options{Addresses: []string{server.Addr}})
		eventually(t, "the store works", func() bool { return works(s) })
		server.Pause()
		defer server.Resume()
		works(s)
		closed(t, s)
	})
	t.Run("backing off", func(t *testing.T) {
		server := redistest.Start(t)
		server.Stop()
		s := open(t, redisstore.Options{Addresses: []string{server.Addr}})
		for range 3 {
			works(s)
		}
		closed(t, s)
	})
	t.Run("connecting", func(t *testing.T) {
		// It accepts and says nothing.
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		s := open(t, redisstore.Options{Addresses: []string{ln.Addr().String()}, Timeout: time.Minute})
		done := make(chan bool)
		go func() { done <- works(s) }()
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		closed(t, s)
		if <-done {
			t.Error("a call worked without a server")
		}
	})
}
