package main

import (
	"io"
	"net/http"
	"time"

	"golang.org/x/net/websocket"
)

// handleSessions adds paths that tell which session has arrived here, in the
// headers Seen-User and Seen-Version, and change it as the client wishes:
//
//	/page              about 1 KiB of text, after the request's body was read
//	/data              the data of the session
//	/set?KEY=VALUE     sets a key of the session; the key user signs in
//	/signout           ends the session
//	/large             1 MiB of text, a piece at a time
//	/events            an event stream, an event every 50 ms
//	/websocket         sends back what it receives
func handleSessions(mux *http.ServeMux, body []byte) {
	handle := func(path string, answer http.HandlerFunc) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Seen-User", r.Header.Get("X-Session-User"))
			w.Header().Set("Seen-Version", r.Header.Get("X-Session-Version"))
			answer(w, r)
		})
	}
	handle("/page", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			w.Write(body)
		}
	})
	handle("/data", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Session-Data"))
	})
	// Never without a body: http.Transport reuses the connection of an answer
	// without one before its request has got it, and if that request is
	// cancelled in this moment, another one fails.
	handle("/set", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Session-Set", r.URL.RawQuery)
		io.WriteString(w, "set\n")
	})
	handle("/signout", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Session-Control", "destroy")
		io.WriteString(w, "signed out\n")
	})
	handle("/large", func(w http.ResponseWriter, r *http.Request) {
		for range 1 << 20 / len(body) {
			if _, err := w.Write(body); err != nil {
				return
			}
		}
	})
	handle("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			io.WriteString(w, "data: tick\n\n")
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	// Not websocket.Handler, which wants an Origin.
	mux.Handle("/websocket", websocket.Server{Handler: func(ws *websocket.Conn) { io.Copy(ws, ws) }})
}
