// Package response has the response writer that lets a handler see the header of
// a response, and act upon it, before the client does.
package response

import (
	"bufio"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Hooks see the header of a response before the client does.
type Hooks interface {
	// Interim sees the header of a 1xx response, possibly on another
	// goroutine than the handler's.
	Interim(http.Header)

	// Final sees the header of the final response, once, before its first
	// byte goes out; status is 0 if the handler has written nothing. If it
	// fails, nothing of the response goes out.
	Final(header http.Header, status int) error

	// Sent is called when the final header is on its way.
	Sent()

	// Hijacked is called with a connection that is no more HTTP's.
	Hijacked(net.Conn)
}

// Writer calls Hooks. WriteHeader is not the only method that sends the header:
// so do Write, ReadFrom, FlushError and Hijack, where the handler has not called
// it, and net/http itself where the handler has done nothing: see End.
//
// The zero value is of no use before Wrap. Its methods are for the handler's
// goroutine, but for 1xx responses, flushes, Interrupt, Interrupted and CutOff.
type Writer struct {
	caddyhttp.ResponseWriterWrapper
	hooks   Hooks
	begun   bool  // Final was called, or the response was abandoned
	failure error // what Final or Fail said
	part    io.LimitedReader

	interrupted atomic.Bool
	cutOff      atomic.Bool // a write has failed for that
}

// Wrap makes w one on writer.
func (w *Writer) Wrap(writer http.ResponseWriter, hooks Hooks) {
	w.ResponseWriter, w.hooks = writer, hooks
}

// Begun reports whether the final header is decided upon.
func (w *Writer) Begun() bool { return w.begun }

// Failure returns the error of Hooks.Final or Fail, nil if there is none yet.
func (w *Writer) Failure() error { return w.failure }

// Fail has nothing of the response go out, unless the header is decided upon. Then
// Hooks.Final is not called any more.
func (w *Writer) Fail(err error) {
	if !w.begun {
		w.begun, w.failure = true, err
	}
}

var errInterrupted = errors.New("the session of this response has ended")

// Interrupt has all further writes fail. A write that is under way goes on.
func (w *Writer) Interrupt() { w.interrupted.Store(true) }

// Interrupted returns an error after Interrupt.
func (w *Writer) Interrupted() error {
	if w.interrupted.Load() {
		return errInterrupted
	}
	return nil
}

// CutOff reports whether a write has failed for Interrupt, so that the client has
// not got all of the response.
func (w *Writer) CutOff() bool { return w.cutOff.Load() }

func (w *Writer) WriteHeader(status int) {
	if w.begun {
		if w.failure == nil {
			w.ResponseWriter.WriteHeader(status) // superfluous; net/http says so
		}
		return
	}
	if 100 <= status && status < 200 && status != http.StatusSwitchingProtocols {
		w.hooks.Interim(w.Header())
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.begin(status) == nil {
		w.ResponseWriter.WriteHeader(status)
		w.hooks.Sent()
	}
}

func (w *Writer) begin(status int) error {
	w.begun = true
	w.failure = w.hooks.Final(w.Header(), status)
	return w.failure
}

// ready sends the header if that was not done. Its error means that nothing may
// follow.
func (w *Writer) ready() error {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if err := w.Interrupted(); err != nil {
		w.cutOff.Store(true)
		return err
	}
	return w.failure
}

func (w *Writer) Write(p []byte) (int, error) {
	if err := w.ready(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// part is how much ReadFrom writes before it looks whether it was interrupted.
const part = 256 << 10

// ReadFrom keeps the sendfile path of the writer below, which knows a file in one
// io.LimitedReader, and no more than one.
func (w *Writer) ReadFrom(r io.Reader) (total int64, err error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: r, N: math.MaxInt64}
	}
	for {
		if err := w.ready(); err != nil {
			return total, err
		}
		size := min(limited.N, part)
		w.part = io.LimitedReader{R: limited.R, N: size}
		n, err := w.ResponseWriterWrapper.ReadFrom(&w.part)
		total += n
		limited.N -= n
		if err != nil || n < size || limited.N == 0 {
			return total, err
		}
	}
}

func (w *Writer) FlushError() error {
	if err := w.ready(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.begun && w.begin(http.StatusSwitchingProtocols) == nil {
		defer w.hooks.Sent()
	}
	if w.failure != nil {
		return nil, nil, w.failure
	}
	conn, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hooks.Hijacked(conn)
	}
	return conn, buf, err
}

// End is called when the handler has returned. If it has written nothing, the
// header is complete only now.
func (w *Writer) End() {
	if !w.begun && w.begin(0) == nil {
		w.hooks.Sent()
	}
}

// Abandon is called instead of End when the handler has returned an error. It
// reports whether nothing of the response went out, in which case nothing will:
// Hooks.Final is not called any more.
func (w *Writer) Abandon() bool {
	never := !w.begun
	w.begun = true
	return never
}

// Field is one entry of a header map.
type Field struct {
	name   string
	values []string
}

// Snapshot is a header map as it was.
type Snapshot []Field

// Save returns a snapshot of a header map, in room if that is large enough.
func Save(room Snapshot, header http.Header) Snapshot {
	for name, values := range header {
		room = append(room, Field{name, values})
	}
	return room
}

// Restore makes a header map what it was.
func (s Snapshot) Restore(header http.Header) {
	clear(header)
	for _, field := range s {
		header[field.name] = field.values
	}
}

// Interface guards.
var (
	_ http.ResponseWriter = (*Writer)(nil)
	_ http.Hijacker       = (*Writer)(nil)
	_ io.ReaderFrom       = (*Writer)(nil)
)
