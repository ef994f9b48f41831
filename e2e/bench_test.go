package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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
func provisioned(b *testing.B, store string, rules *cookiejar.Rules) *caddysession.Handler {
	b.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{AppsRaw: caddy.ModuleMap{"session": []byte(`{"store": ` + store + `}`)}})
	if err != nil {
		b.Fatal(err)
	}
	app, err := ctx.App("session")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { app.(caddy.CleanerUpper).Cleanup() })
	h := &caddysession.Handler{Cookies: rules}
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

// BenchmarkRequest measures the handler without a network in front of it: what
// a case costs more than bare is what the session costs.
func BenchmarkRequest(b *testing.B) {
	const data = `{"user":"alice","roles":["admin","editor"],"lang":"fr","cart":{"sku-1":2,"sku-2":1},"return":"/page/of/some/length"}`
	for _, bench := range []struct {
		name, store, cookie string
		control             string // of each response
		signedIn            bool
	}{
		{name: "bare"},
		{name: "none", store: "memory"},
		{name: "others", store: "memory", cookie: "theme=dark; _ga=GA1.1.123456789.1700000000"},
		{name: "malformed", store: "memory", cookie: "theme=dark; sid=0123456789"},
		{name: "read-memory", store: "memory", signedIn: true},
		{name: "read-embedded", store: "embedded", signedIn: true},
		{name: "read-redis", store: "redis", signedIn: true},
		{name: "read-redis-near", store: "near", signedIn: true},
		{name: "commit-memory", store: "memory", signedIn: true, control: `{"seen":"now"}`},
		{name: "commit-embedded", store: "embedded", signedIn: true, control: `{"seen":"now"}`},
		{name: "commit-redis", store: "redis", signedIn: true, control: `{"seen":"now"}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
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
			if bench.store != "" {
				store := fmt.Sprintf(`{"module": %q}`, bench.store)
				switch bench.store {
				case "embedded":
					store = fmt.Sprintf(`{"module": "embedded", "file": %q}`, filepath.Join(b.TempDir(), "sessions.db"))
				case "redis":
					store = fmt.Sprintf(`{"module": "redis", "addresses": [%q], "timeout": "5s"}`, redistest.Start(b).Addr)
				case "near":
					store = fmt.Sprintf(`{"module": "redis", "addresses": [%q], "timeout": "5s", "near_cache": {}}`, redistest.Start(b).Addr)
				}
				h := provisioned(b, store, nil)
				serve = func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, next) }
			}
			cookie := bench.cookie
			if bench.signedIn {
				set = []string{data}
				w := &sink{http.Header{}}
				if err := serve(w, prepare(request(""), w)); err != nil {
					b.Fatal(err)
				}
				cookie, _, _ = strings.Cut(w.header.Get("Set-Cookie"), ";")
				if cookie == "" {
					b.Fatal("no cookie")
				}
			}
			if set = nil; bench.control != "" {
				set = []string{bench.control}
			}

			w := &sink{http.Header{}}
			r := request(cookie)
			var last *http.Request
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				last = prepare(r, w)
				clear(w.header)
				if err := serve(w, last); err != nil {
					b.Fatal(err)
				}
			}
			// Of this process alone, without Redis, and without waiting for it.
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			if user := last.Header.Get("X-Session-User"); (user == "alice") != bench.signedIn {
				b.Errorf("the application sees the user %q", user)
			}
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
