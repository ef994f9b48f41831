package caddysession

import (
	"io"
	"mime"
	"net"
	"net/http"
	"strings"

	"github.com/caddy-session/caddy-session/session"
)

// join has the request and its response end with the session that the request
// came with. The caller calls leave.
func (x *exchange) join() {
	r := x.request
	receiving := r.Body != nil && r.Body != http.NoBody && (r.ContentLength != 0 || r.Method == http.MethodConnect)
	// A session may begin with a response while the client is still sending.
	if x.h.keepOpen || x.came.session == nil && !receiving {
		return
	}
	x.context.Init(r.Context())
	// In place, since placeholders and log fields read the request that the server
	// has. It wakes a proxy that waits for an upstream.
	*r = *r.WithContext(&x.context)
	if receiving {
		x.body = body{r.Body, x}
		r.Body = &x.body
	}
	if x.came.session != nil {
		x.h.streams.Add(&x.stream, x, x.came.session, receiving)
		x.joined = true
	}
}

// leave is called when the handler has returned, which reverse_proxy does not
// before the connection has ended.
func (x *exchange) leave() {
	if x.joined {
		x.h.streams.Remove(&x.stream)
	}
	if parent := x.context.Parent(); parent != nil {
		x.context.Cancel()
		*x.request = *x.request.WithContext(parent)
		if x.request.Body == &x.body {
			x.request.Body = x.body.ReadCloser
		}
	}
}

// belong has the response belong to the session that it leaves the browser with.
// A session that was found to have ended, or to be renewed, keeps it: it ends with
// that.
func (x *exchange) belong(result session.Result) {
	switch {
	case x.h.keepOpen || result.Outcome == session.EventDropped:
	case result.Session == nil:
		if x.joined {
			x.h.streams.Remove(&x.stream)
			x.joined = false
		}
	case x.joined:
		x.h.streams.Move(&x.stream, result.Session)
	default:
		x.h.streams.Add(&x.stream, x, result.Session, false) // or it is: the response has begun anyway
		x.joined = true
	}
}

// Interrupt implements [sessionapp.Interrupter]: nothing more goes in or out.
func (x *exchange) Interrupt() {
	x.writer.Interrupt()
	if x.context.Parent() != nil {
		x.context.Cancel()
	}
	if conn := x.conn.Load(); conn != nil {
		(*conn).Close()
	}
}

// sending tells that the response has begun, or what it is.
func (x *exchange) sending(channel bool) {
	if x.joined {
		x.h.streams.Sending(&x.stream, channel)
	}
}

// Hijacked implements [response.Hooks].
func (x *exchange) Hijacked(conn net.Conn) {
	x.keepAlive(nil) // a channel does not count as use
	x.conn.Store(&conn)
	x.sending(true)
}

// body is that of a request whose session may end before it has all come. A CONNECT
// has one that is a tunnel (RFC 9110, section 9.3.6; RFC 8441, section 5).
type body struct {
	io.ReadCloser
	x *exchange
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.x.writer.Interrupted(); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { //nolint:errorlint // readers return it bare
		b.x.h.streams.Received(&b.x.stream)
	}
	return n, err
}

// isEventStream reports whether a response is of the kind that stays open. One
// whose parameters can't be read is taken for one.
func isEventStream(header http.Header) bool {
	const kind = "text/event-stream"
	types := header["Content-Type"]
	if len(types) == 0 || len(types[0]) < len(kind) || !strings.EqualFold(types[0][:len(kind)], kind) {
		return false // nearly all, for nothing
	}
	mediaType, _, err := mime.ParseMediaType(types[0])
	return err != nil || mediaType == kind
}
