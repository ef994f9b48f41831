package caddysession

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// responseHooks see the header of a response before the client does.
type responseHooks interface {
	// interim sees the header of a 1xx response, possibly on another
	// goroutine than the handler's.
	interim(http.Header)

	// final sees the header of the final response, once, before its first
	// byte goes out; status is 0 if the handler has written nothing. If it
	// fails, nothing of the response goes out.
	final(header http.Header, status int) error

	// sent is called when the final header is on its way.
	sent()

	// flushed is called before a flush, possibly on another goroutine than
	// the handler's, and hijacked with a connection that is no more HTTP's.
	flushed()
	hijacked(net.Conn)
}

// hookWriter calls responseHooks. WriteHeader is not the only method that sends
// the header: so do Write, ReadFrom, FlushError and Hijack, where the handler
// has not called it, and net/http itself where the handler has done nothing.
type hookWriter struct {
	caddyhttp.ResponseWriterWrapper
	hooks   responseHooks
	done    bool  // final was called
	failure error // what it said

	interrupted atomic.Bool
	cut         atomic.Bool // a write has failed for that
}

// wrap makes a new hookWriter one on w.
func (w *hookWriter) wrap(writer http.ResponseWriter, hooks responseHooks) {
	w.ResponseWriter, w.hooks = writer, hooks
}

var errInterrupted = errors.New("the session of this response has ended")

// interrupt has all further writes fail. It is called on another goroutine than
// the handler's. A write that is under way goes on.
func (w *hookWriter) interrupt() { w.interrupted.Store(true) }

func (w *hookWriter) WriteHeader(status int) {
	if w.done {
		if w.failure == nil {
			w.ResponseWriter.WriteHeader(status) // superfluous; net/http says so
		}
		return
	}
	if 100 <= status && status < 200 && status != http.StatusSwitchingProtocols {
		w.hooks.interim(w.Header())
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.finish(status) == nil {
		w.ResponseWriter.WriteHeader(status)
		w.hooks.sent()
	}
}

func (w *hookWriter) finish(status int) error {
	w.done = true
	w.failure = w.hooks.final(w.Header(), status)
	return w.failure
}

// begin sends the header if that was not done. Its error means that nothing
// may follow.
func (w *hookWriter) begin() error {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	if w.interrupted.Load() {
		w.cut.Store(true)
		return errInterrupted
	}
	return w.failure
}

func (w *hookWriter) Write(p []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps the sendfile path of the writer below.
func (w *hookWriter) ReadFrom(r io.Reader) (int64, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

func (w *hookWriter) FlushError() error {
	if err := w.begin(); err != nil {
		return err
	}
	w.hooks.flushed()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *hookWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.done && w.finish(http.StatusSwitchingProtocols) == nil {
		defer w.hooks.sent()
	}
	if w.failure != nil {
		return nil, nil, w.failure
	}
	conn, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hooks.hijacked(conn)
	}
	return conn, buf, err
}

// end is called when the handler has returned. If it has written nothing, the
// header is complete only now.
func (w *hookWriter) end() {
	if !w.done && w.finish(0) == nil {
		w.hooks.sent()
	}
}

// headerField is one entry of a header map.
type headerField struct {
	name   string
	values []string
}

// saveHeader appends the entries of a header map to dst.
func saveHeader(dst []headerField, header http.Header) []headerField {
	for name, values := range header {
		dst = append(dst, headerField{name, values})
	}
	return dst
}

// restoreHeader makes a header map what it was when it was saved.
func restoreHeader(header http.Header, saved []headerField) {
	clear(header)
	for _, field := range saved {
		header[field.name] = field.values
	}
}

// Interface guards.
var (
	_ http.ResponseWriter = (*hookWriter)(nil)
	_ http.Hijacker       = (*hookWriter)(nil)
	_ io.ReaderFrom       = (*hookWriter)(nil)
)
