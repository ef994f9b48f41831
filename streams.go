package caddysession

import (
	"context"
	"mime"
	"net"
	"net/http"
	"strings"
)

// interruptible lets a request with a session be ended from outside, by its
// context. The caller calls the function that it returns.
//
// The context wakes a proxy that waits for an upstream. Pages and what belongs to
// them go without, since every request would pay for it: they are cut off at the
// next write.
func (x *exchange) interruptible() context.CancelFunc {
	if x.h.keepOpen || x.came.session == nil || !mayStayOpen(x.request) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(x.request.Context())
	x.request = x.request.WithContext(ctx)
	x.cancel = cancel
	return cancel
}

// mayStayOpen reports whether the response may be one that a script reads while
// it lasts, or a program other than a browser (Fetch Metadata, section 2.1).
func mayStayOpen(r *http.Request) bool {
	destination := r.Header["Sec-Fetch-Dest"]
	return len(destination) != 1 || destination[0] == "empty"
}

// interrupt ends the response: nothing more of it goes out.
func (x *exchange) interrupt() {
	x.writer.Interrupt()
	if x.cancel != nil {
		x.cancel()
	}
}

// Hijacked implements [response.Hooks], for a connection that HTTP is done with.
func (x *exchange) Hijacked(conn net.Conn) {
	x.keepAlive(nil) // a channel, which is no use
	x.watch(func() { conn.Close() }, false)
}

// Flushed implements [response.Hooks]: a part of a response is sent before its end.
func (x *exchange) Flushed() {
	if x.watched == nil && x.came.session != nil {
		x.watch(x.interrupt, true)
	}
}

// watch registers the response for as long as the handler runs.
func (x *exchange) watch(shut func(), patient bool) {
	if x.h.keepOpen || x.left == nil {
		return
	}
	x.unwatch() // a 101 may call itself an event stream, and a stream be hijacked later
	x.watched = x.h.streams.Add(x.left.ID(), patient, shut)
}

// unwatch is called when the handler has returned, which reverse_proxy does not
// before the connection has ended.
func (x *exchange) unwatch() {
	if x.watched != nil {
		x.h.streams.Remove(x.watched)
	}
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
