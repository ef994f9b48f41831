package redisstore

import (
	"context"
	"net"
	"sync"
	"time"
)

// watched is a connection that closes itself when the server leaves what was
// sent unanswered for too long.
//
// The pipelining client lets a call go when its time is up, but keeps the
// command, a goroutine that waits for its answer, and in the end makes new
// calls wait for room, deaf to their deadlines. So a server that is frozen, or
// that vanished without a word, would be noticed only by the next ping.
// Closing the connection ends all of that. It happens one timeout after the
// first unanswered byte, hence before the deadline of whoever came later.
type watched struct {
	net.Conn
	timeout time.Duration
	expired func()      // called on another goroutine when it is given up
	gone    func()      // called when it is closed or given up
	forget  func() bool // ends the tie to the context

	mu     sync.Mutex
	timer  *time.Timer
	since  time.Time // when the first unanswered byte was sent; zero for none
	closed bool
	late   bool // closed by the timer
	left   bool // closed by leave
}

// watch returns conn, watched. It is closed too when ctx is done. The functions
// must be set before it is used.
func watch(ctx context.Context, conn net.Conn, timeout time.Duration) *watched {
	w := &watched{Conn: conn, timeout: timeout}
	w.timer = time.AfterFunc(timeout, func() {
		if w.expire() {
			w.gone()
			w.expired()
		}
	})
	w.timer.Stop()
	w.forget = context.AfterFunc(ctx, func() { conn.Close() })
	return w
}

func (w *watched) Write(b []byte) (int, error) {
	// Before the write, which may be what blocks.
	w.mu.Lock()
	if w.since.IsZero() && !w.closed {
		w.since = time.Now()
		w.timer.Reset(w.timeout)
	}
	w.mu.Unlock()

	n, err := w.Conn.Write(b)
	return n, w.explain(err)
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.mu.Lock()
		if !w.since.IsZero() {
			w.since = time.Time{}
			w.timer.Stop()
		}
		w.mu.Unlock()
	}
	return n, w.explain(err)
}

func (w *watched) Close() error {
	w.forget()
	w.mu.Lock()
	first := !w.closed
	// A client that waits for a single answer closes the connection itself
	// when the time of the call is up, a moment before us.
	unanswered := first && !w.since.IsZero() && time.Since(w.since) >= w.timeout/2
	w.closed = true
	w.timer.Stop()
	w.mu.Unlock()
	if first {
		w.gone()
	}
	if unanswered {
		w.expired()
	}
	return w.Conn.Close()
}

// leave closes a connection that works.
func (w *watched) leave() {
	w.mu.Lock()
	w.left = true
	w.mu.Unlock()
	w.Close()
}

// expire closes the connection if its time is up, and reports whether it was:
// while the timer fired an answer may have come, and the next write too.
func (w *watched) expire() bool {
	w.mu.Lock()
	late := !w.closed && !w.since.IsZero() && time.Since(w.since) >= w.timeout
	if late {
		w.closed, w.late = true, true
	}
	w.mu.Unlock()
	if late {
		w.forget()
		if tcp, ok := w.Conn.(*net.TCPConn); ok {
			tcp.SetLinger(0) // what has not arrived yet never shall
		}
		w.Conn.Close()
	}
	return late
}

// explain says why a connection that was given up fails.
func (w *watched) explain(err error) error {
	if err == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.late:
		return errNoAnswer
	case w.left:
		return errLeft
	}
	return err
}

var _ net.Conn = (*watched)(nil)
