package caddysession

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
)

// bareWriter is a response writer that costs nothing.
type bareWriter struct{ header http.Header }

func (w *bareWriter) Header() http.Header         { return w.header }
func (w *bareWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *bareWriter) WriteHeader(int)             {}

// benchHandler returns a handler on a store, without a running Caddy.
func benchHandler(tb testing.TB, store session.Store) *Handler {
	h := &Handler{logger: zap.NewNop()}
	policy, protocol, err := h.compile()
	if err != nil {
		tb.Fatal(err)
	}
	h.protocol = protocol
	h.cookieNames = h.Cookie.Names()
	h.manager = session.NewManager(store, policy, protocol, h.logger, func(e session.Event) { events.WithLabelValues(string(e)).Inc() })
	return h
}

// BenchmarkTax measures what the handler adds to a request, without the
// network: subtract "bare".
func BenchmarkTax(b *testing.B) {
	h := benchHandler(b, memstore.New())
	data := map[string]any{"user": "alice", "cart": "0123456789012345678901234567890123456789"}
	site := session.Site{Scope: session.Scope{Name: "sid", Host: "app.example.com", Path: "/"}, Realm: "app.example.com"}
	live, err := h.manager.Commit(context.Background(), site, nil, &session.Patch{Set: []map[string]any{data}}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.WriteHeader(http.StatusOK)
		return nil
	})
	through := func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, next) }
	for _, bm := range []struct {
		name, cookie string
		serve        func(http.ResponseWriter, *http.Request) error
	}{
		{"bare", "", next},
		{"none", "", through},
		{"malformed", "sid=x", through},
		{"read", "theme=dark; sid=" + live.Session.Token().Bearer(), through},
	} {
		b.Run(bm.name, func(b *testing.B) {
			base := httptest.NewRequest("GET", "http://app.example.com/page", nil)
			for name, value := range map[string]string{"User-Agent": "Mozilla/5.0", "Accept": "text/html", "Accept-Language": "en",
				"Accept-Encoding": "gzip, br", "Connection": "keep-alive", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate",
				"Sec-Fetch-Site": "none", "Sec-Fetch-User": "?1", "Upgrade-Insecure-Requests": "1", "Referer": "http://app.example.com/", "Dnt": "1"} {
				base.Header.Set(name, value)
			}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				r := base.Clone(context.Background())
				if bm.cookie != "" {
					r.Header.Set("Cookie", bm.cookie)
				}
				w := &bareWriter{http.Header{"Server": {"Caddy"}}}
				r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
				b.StartTimer()
				if err := bm.serve(w, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
