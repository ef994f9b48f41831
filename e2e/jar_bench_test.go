package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/cookiejar"
)

// BenchmarkJar measures what kept cookies add to a request with a session: "off"
// has no cookies block.
func BenchmarkJar(b *testing.B) {
	for _, bench := range []struct {
		name    string
		rules   *cookiejar.Rules
		cookies int
		set     bool // each response sets one cookie again as it is
	}{
		{"off", nil, 0, false},
		{"0", &cookiejar.Rules{Keep: []string{"PHPSESSID", "c*"}}, 0, false},
		{"1", &cookiejar.Rules{Keep: []string{"PHPSESSID", "c*"}}, 1, false},
		{"1-set", &cookiejar.Rules{Keep: []string{"PHPSESSID", "c*"}}, 1, true},
		{"10", &cookiejar.Rules{Keep: []string{"PHPSESSID", "c*"}}, 10, false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var lines []string
			for i := range bench.cookies {
				lines = append(lines, fmt.Sprintf("c%d=0123456789abcdef0123456789abcdef; Path=/; HttpOnly", i))
			}
			first := true
			h := provisioned(b, `{"module": "memory"}`, bench.rules)
			next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				if first {
					w.Header()["X-Session-Set"] = []string{`{"user":"alice"}`}
				}
				if first || bench.set {
					w.Header()["Set-Cookie"] = lines
				}
				w.WriteHeader(http.StatusOK)
				return nil
			})
			w := &sink{http.Header{}}
			if err := h.ServeHTTP(w, prepare(request(""), w), next); err != nil {
				b.Fatal(err)
			}
			first = false
			sets := w.header["Set-Cookie"]
			cookie, _, _ := strings.Cut(sets[len(sets)-1], ";")

			r := request("theme=dark; " + cookie + "; _ga=GA1.1.123456789.1700000000")
			var last *http.Request
			b.ReportAllocs()
			for b.Loop() {
				last = prepare(r, w)
				clear(w.header)
				if err := h.ServeHTTP(w, last, next); err != nil {
					b.Fatal(err)
				}
			}
			if got := strings.Count(last.Header.Get("Cookie"), "; c") + strings.Count(last.Header.Get("Cookie"), "c0="); bench.cookies > 0 && got != bench.cookies {
				b.Errorf("the application sees %d cookies: %s", got, last.Header.Get("Cookie"))
			}
		})
	}
}
