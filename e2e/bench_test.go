package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	caddysession "github.com/caddy-session/caddy-session"
	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// sink is a response writer that keeps nothing but the header.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// provisioned returns a session handler on a store, as Caddy makes it.
func provisioned(b testing.TB, store string, rules *cookiejar.Rules, api ...bool) *caddysession.Handler {
	b.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{AppsRaw: caddy.ModuleMap{"session": []byte(`{"store": ` + store + `, "api": {"listen": "127.0.0.1:2021"}}`)}})
	if err != nil {
		b.Fatal(err)
	}
	app, err := ctx.App("session")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { app.(caddy.CleanerUpper).Cleanup() })
	h := &caddysession.Handler{Cookies: rules, API: slices.Contains(api, true)}
	if err := h.Provision(ctx); err != nil {
		b.Fatal(err)
	}
	return h
}

// request returns a request as a browser sends it.
func request(cookie string) *http.Request {
	r := httptest.NewRequest("GET", "http://example.com/page?x=1", nil)
	for name, value := range map[string]string{
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Accept": "text/html",
		"Accept-Language": "en", "Accept-Encoding": "gzip, br", "Referer": "http://example.com/", "Dnt": "1",
		"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin",
		"X-Forwarded-For": "192.0.2.1",
	} {
		r.Header.Set(name, value)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return r
}

// prepare makes a request ready for handlers, as Caddy's server does: with a
// header and variables of its own.
func prepare(r *http.Request, w http.ResponseWriter) *http.Request {
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	r.Header = r.Header.Clone()
	return r
}

// way is one way of a request through the handler, without a network in front
// of it.
type way struct {
	name, store, cookie string // store "": without the handler
	control             string // of each response
	signedIn            bool
	program             bool // not a browser that loads a page
	api                 bool // the application may ask for the session, and does not
}

// start returns a function that serves a request, and returns it as the
// application has seen it.
func (c way) start(tb testing.TB) func() *http.Request {
	tb.Helper()
	var set []string
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		if set != nil {
			w.Header()["X-Session-Set"] = set
		}
		w.WriteHeader(http.StatusOK)
		_, err := w.Write([]byte("OK"))
		return err
	})
	serve := next.ServeHTTP
	if c.store != "" {
		store := fmt.Sprintf(`{"module": %q}`, c.store)
		switch c.store {
		case "embedded":
			store = fmt.Sprintf(`{"module": "embedded", "file": %q}`, filepath.Join(tb.TempDir(), "sessions.db"))
		case "redis":
			store = fmt.Sprintf(`{"module": "redis", "addresses": [%q], "timeout": "5s"}`, redistest.Start(tb).Addr)
		case "near":
			store = fmt.Sprintf(`{"module": "redis", "addresses": [%q], "timeout": "5s", "near_cache": {}}`, redistest.Start(tb).Addr)
		}
		h := provisioned(tb, store, nil, c.api)
		serve = func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, next) }
	}
	w := &sink{http.Header{}}
	if c.signedIn {
		set = []string{`{"user":"alice","roles":["admin","editor"],"lang":"fr","cart":{"sku-1":2,"sku-2":1},"return":"/page/of/some/length"}`}
		if err := serve(w, prepare(request(""), w)); err != nil {
			tb.Fatal(err)
		}
		c.cookie, _, _ = strings.Cut(w.header.Get("Set-Cookie"), ";")
		if c.cookie == "" {
			tb.Fatal("no cookie")
		}
	}
	if set = nil; c.control != "" {
		set = []string{c.control}
	}
	r := request(c.cookie)
	if c.program {
		r.Header.Del("Sec-Fetch-Dest")
	}
	once := func() *http.Request {
		served := prepare(r, w)
		clear(w.header)
		if err := serve(w, served); err != nil {
			tb.Fatal(err)
		}
		return served
	}
	if user := once().Header.Get("X-Session-User"); (user == "alice") != c.signedIn {
		tb.Fatalf("the application sees the user %q", user)
	}
	return once
}

// BenchmarkRequest measures what a request costs. What a case costs more than
// bare is what the session costs.
func BenchmarkRequest(b *testing.B) {
	for _, c := range []way{
		{name: "bare"},
		{name: "none", store: "memory"},
		{name: "others", store: "memory", cookie: "theme=dark; _ga=GA1.1.123456789.1700000000"},
		{name: "malformed", store: "memory", cookie: "theme=dark; csid=0123456789"},
		{name: "read-memory", store: "memory", signedIn: true},
		{name: "read-embedded", store: "embedded", signedIn: true},
		{name: "read-redis", store: "redis", signedIn: true},
		{name: "read-redis-near", store: "near", signedIn: true},
		{name: "none-api", store: "memory", api: true},
		{name: "read-memory-api", store: "memory", signedIn: true, api: true},
		{name: "read-embedded-api", store: "embedded", signedIn: true, api: true},
		{name: "commit-memory", store: "memory", signedIn: true, control: `{"seen":"now"}`},
		{name: "commit-embedded", store: "embedded", signedIn: true, control: `{"seen":"now"}`},
		{name: "commit-redis", store: "redis", signedIn: true, control: `{"seen":"now"}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			once := c.start(b)
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				once()
			}
			// Of this process alone, without Redis, and without waiting for it.
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// Allocations are the part of the costs that no other process on the machine
// can change. The handler chain and the request have some themselves.
func TestAllocations(t *testing.T) {
	chain := way{}.start(t)
	bare := testing.AllocsPerRun(1000, func() { chain() })
	for _, tt := range []struct {
		way
		most float64 // more than bare
	}{
		{way{name: "no cookie", store: "memory"}, 2},
		{way{name: "cookies of others", store: "memory", cookie: "theme=dark; _ga=GA1.1.123456789.1700000000"}, 2},
		{way{name: "malformed cookie", store: "memory", cookie: "theme=dark; csid=0123456789"}, 3},
		{way{name: "embedded store", store: "embedded", signedIn: true}, 4},
		{way{name: "no cookie, API", store: "memory", api: true}, 4},
		{way{name: "embedded store, API", store: "embedded", signedIn: true, api: true}, 8}, // of which two are for one more header than fits
		{way{name: "near-cache", store: "near", signedIn: true}, 4},
		{way{name: "near-cache, may stay open", store: "near", signedIn: true, program: true}, 4},
		{way{name: "redis", store: "redis", signedIn: true}, 17}, // 16 without the race detector
	} {
		t.Run(tt.name, func(t *testing.T) {
			once := tt.start(t)
			// The near-cache takes a moment to begin, and so do pools.
			var more float64
			for start := time.Now(); time.Since(start) < 10*time.Second; {
				if more = testing.AllocsPerRun(1000, func() { once() }) - bare; more <= tt.most {
					t.Logf("%v allocations more than without a session", more)
					return
				}
			}
			t.Errorf("%v allocations more than without a session, want %v at most", more, tt.most)
		})
	}
}

// cpuTime returns the CPU time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
