package caddysession

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// timeout is how long a test waits before it fails.
const timeout = 10 * time.Second

func TestIsEventStream(t *testing.T) {
	for value, want := range map[string]bool{
		"":                                 false,
		"text/html; charset=utf-8":         false,
		"text/event-streams":               false,
		"text/event-stream+json":           false,
		"text/event-stream":                true,
		"Text/Event-Stream; charset=utf-8": true,
		"text/event-stream ;charset":       true,
		"text/event-stream; a=1; a=2":      true, // it can't be read, but browsers do
	} {
		if got := isEventStream(http.Header{"Content-Type": {value}}); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	if isEventStream(http.Header{}) {
		t.Error("a response without a type is a stream")
	}
	page := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	if n := testing.AllocsPerRun(100, func() { isEventStream(page) }); n > 0 {
		t.Errorf("%v allocations for a page", n)
	}
}

// What stays open is registered while its handler runs, and closed when the
// session ends.
func TestOpenResponses(t *testing.T) {
	stream := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
	}
	for _, tt := range []struct {
		what, block string
		cookie      bool
		begins      func(http.ResponseWriter)
		want        int
	}{
		{"event stream", "", true, stream, 1},
		{"event stream, flushed", "", true, func(w http.ResponseWriter) { stream(w); http.NewResponseController(w).Flush() }, 1},
		{"flushed page", "", true, func(w http.ResponseWriter) { http.NewResponseController(w).Flush() }, 0}, // not yet
		{"page", "", true, func(w http.ResponseWriter) { w.WriteHeader(200) }, 0},
		{"nothing yet", "", true, func(http.ResponseWriter) {}, 0},
		{"anonymous", "", false, stream, 0},
		{"keep", "on_end keep", true, stream, 0},
		{"signing out", "", true, func(w http.ResponseWriter) { w.Header().Set("X-Session-Control", "destroy"); stream(w) }, 0},
	} {
		t.Run(tt.what, func(t *testing.T) {
			h, s := handler(t, tt.block)
			cookie := ""
			if tt.cookie {
				cookie = begin(t, h, `{"a":1}`)
			}
			open := func() int { return s.app.StoreStatus().Streams }
			if _, err := answer(h, request("/", cookie), func(w http.ResponseWriter, _ *http.Request) error {
				tt.begins(w)
				if got := open(); got != tt.want {
					t.Errorf("%d are open", got)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if got := open(); got != 0 {
				t.Errorf("%d are open when the handler has returned", got)
			}
		})
	}
}

// The application notices by its request's context, and the client by a response
// that breaks off.
func TestEventStreamEndsWithTheSession(t *testing.T) {
	h, s := handler(t, "")
	cookie := begin(t, h, `{"a":1}`)
	var p any
	func() {
		defer func() { p = recover() }()
		answer(h, request("/", cookie), func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", "text/event-stream")
			if _, err := w.Write([]byte("data: 1\n\n")); err != nil {
				t.Error(err)
			}
			if ended, err := s.app.Operator().End(t.Context(), r.Header.Get("X-Session-Id")); !ended || err != nil {
				t.Error(ended, err)
			}
			select {
			case <-r.Context().Done():
			case <-time.After(timeout):
				t.Error("the request goes on")
			}
			if _, err := w.Write([]byte("data: 2\n\n")); err == nil {
				t.Error("the stream goes on")
			}
			return nil
		})
	}()
	if p != http.ErrAbortHandler {
		t.Errorf("panic of %v: the client takes the stream for complete", p)
	}
}

func TestHijackedConnectionEndsWithTheSession(t *testing.T) {
	h, s := handler(t, "")
	cookie := begin(t, h, `{"a":1}`)
	ours, peer := net.Pipe()
	defer peer.Close()
	w := hijackable{httptest.NewRecorder(), ours}
	if err := h.ServeHTTP(w, request("/", cookie), application(func(w http.ResponseWriter, r *http.Request) error {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		if ended, err := s.app.Operator().End(t.Context(), r.Header.Get("X-Session-Id")); !ended || err != nil {
			t.Error(ended, err)
		}
		conn.SetReadDeadline(time.Now().Add(timeout))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("reading from the connection: %v", err)
		}
		return nil
	})); err != nil {
		t.Fatal(err)
	}
}

// hijackable is a response whose connection can be taken over.
type hijackable struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (w hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.conn, nil, nil }
