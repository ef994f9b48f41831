package origin

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
)

// request makes one to app.example.com with header lines "Name: value".
func request(method string, lines ...string) *http.Request {
	r := &http.Request{Method: method, Host: "app.example.com", Header: http.Header{}}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestHTTPS(t *testing.T) {
	const proto = "X-Forwarded-Proto: "
	trusted := Settings{TrustedProxy: true}
	for _, tt := range []struct {
		why      string
		settings Settings
		lines    []string
		tls      bool
		want     bool
	}{
		{"plain", Settings{}, nil, false, false},
		{"TLS", Settings{}, nil, true, true},
		{"TLS, and a client that says http", Settings{}, []string{proto + "http"}, true, true},
		{"a client that says so", Settings{}, []string{proto + "https"}, false, false},
		{"always", Settings{AlwaysHTTPS: true}, nil, false, true},
		{"trusted", trusted, []string{proto + "https"}, false, true},
		{"trusted, capitals", trusted, []string{proto + "HTTPS"}, false, true},
		{"trusted, a WebSocket", trusted, []string{proto + "wss"}, false, true},
		{"trusted, a plain WebSocket", trusted, []string{proto + "ws"}, false, false},
		{"trusted, nothing", trusted, nil, false, false},
		{"trusted, a list", trusted, []string{proto + "https, http"}, false, true},
		{"trusted, a list that begins with http", trusted, []string{proto + "http,https"}, false, false},
		{"trusted, two lines", trusted, []string{proto + "https", proto + "http"}, false, true},
		{"trusted, two lines that begin with http", trusted, []string{proto + "http", proto + "https"}, false, false},
	} {
		r := request("GET", tt.lines...)
		if tt.tls {
			r.TLS = new(tls.ConnectionState)
		}
		if got := Of(r, tt.settings).HTTPS; got != tt.want {
			t.Errorf("%s: %t", tt.why, got)
		}
	}
}

func TestSite(t *testing.T) {
	const from, fetch, forwarded = "Origin: ", "Sec-Fetch-Site: ", "X-Forwarded-Host: "
	held := Settings{AlwaysHTTPS: true, HeldBack: true}
	sent := Settings{AlwaysHTTPS: true}
	trusted := Settings{AlwaysHTTPS: true, TrustedProxy: true}
	for _, tt := range []struct {
		why      string
		settings Settings
		live     bool
		lines    []string
		want     Site
	}{
		{"nothing", held, true, nil, Unsaid},
		{"same origin", held, false, []string{fetch + "same-origin"}, Same},
		{"same site", held, false, []string{fetch + "same-site"}, Same},
		{"the user", held, false, []string{fetch + "none"}, Same},
		{"another site", held, true, []string{fetch + "cross-site"}, Cross},
		{"a new word", held, true, []string{fetch + "fenced"}, Cross},
		{"no word", held, true, []string{fetch}, Cross},
		{"two words", held, true, []string{fetch + "same-origin", fetch + "cross-site"}, Cross},
		{"Fetch Metadata before Origin", held, false, []string{fetch + "same-origin", from + "null"}, Same},
		{"its origin", held, false, []string{from + "https://app.example.com"}, Same},
		{"its site", held, false, []string{from + "https://www.example.com:8443"}, Same},
		{"its host by plain HTTP", held, false, []string{from + "http://app.example.com"}, Cross},
		{"a neighbour under a public suffix", held, false, []string{from + "https://example.co.uk"}, Cross},
		{"another origin", held, false, []string{from + "https://evil.example"}, Cross},
		{"two origins", held, true, []string{from + "https://app.example.com", from + "https://evil.example"}, Cross},
		{"no origin", held, true, []string{from + "app.example.com"}, Cross},
		{"opaque, without our cookie", held, false, []string{from + "null"}, Opaque},
		{"opaque, with our cookie", held, true, []string{from + "null"}, Same},
		{"opaque, with our cookie, which browsers send from everywhere", sent, true, []string{from + "null"}, Opaque},
		{"behind a proxy that rewrites Host", trusted, false, []string{from + "https://shop.example", forwarded + "shop.example"}, Same},
		{"behind two", trusted, false, []string{from + "https://shop.example", forwarded + "shop.example, inner.example"}, Same},
		{"behind a proxy, from elsewhere", trusted, false, []string{from + "https://evil.example", forwarded + "shop.example"}, Cross},
		{"behind a proxy, from the rewritten host", trusted, false, []string{from + "https://app.example.com", forwarded + "shop.example"}, Cross},
		{"a client that says where it is", held, false, []string{from + "https://evil.example", forwarded + "evil.example"}, Cross},
	} {
		if got := Of(request("POST", tt.lines...), tt.settings).Site(tt.live); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.why, got, tt.want)
		}
	}
}

func TestTopLevel(t *testing.T) {
	for _, tt := range []struct {
		mode, destination string
		want              bool
	}{
		{"navigate", "document", true},
		{"navigate", "empty", true}, // through a service worker
		{"navigate", "iframe", false},
		{"navigate", "frame", false},
		{"navigate", "embed", false},
		{"navigate", "object", false},
		{"navigate", "fencedframe", false},
		{"cors", "empty", false},
		{"no-cors", "document", false},
		{"", "", false},
	} {
		r := request("GET", "Sec-Fetch-Mode: "+tt.mode, "Sec-Fetch-Dest: "+tt.destination)
		if got := Of(r, Settings{}).TopLevel(); got != tt.want {
			t.Errorf("%s of %s: %t", tt.mode, tt.destination, got)
		}
	}
}

func TestPreflight(t *testing.T) {
	const from, method = "Origin: https://app.example.com", "Access-Control-Request-Method: PUT"
	for _, tt := range []struct {
		r    *http.Request
		want bool
	}{
		{request("OPTIONS", from, method), true},
		{request("OPTIONS", from), false},
		{request("OPTIONS", method), false},
		{request("PUT", from, method), false},
	} {
		if got := Of(tt.r, Settings{}).Preflight(); got != tt.want {
			t.Errorf("%s %v: %t", tt.r.Method, tt.r.Header, got)
		}
	}
}

func TestCookieContext(t *testing.T) {
	const top = "Sec-Fetch-Mode: navigate"
	for _, tt := range []struct {
		why             string
		r               *http.Request
		cross, top, may bool
	}{
		{"says nothing", request("GET"), false, false, true},
		{"a link elsewhere", request("GET", "Sec-Fetch-Site: cross-site", top, "Sec-Fetch-Dest: document"), true, true, true},
		{"a form elsewhere", request("POST", "Sec-Fetch-Site: cross-site", top, "Sec-Fetch-Dest: document"), true, true, false},
		{"a hidden origin", request("POST", "Origin: null"), true, false, false},
	} {
		c := Of(tt.r, Settings{AlwaysHTTPS: true, HeldBack: true}).CookieContext("/p", false)
		if c.Host != "app.example.com" || c.Path != "/p" || !c.Secure || c.CrossSite != tt.cross || c.TopLevel != tt.top || c.Safe != tt.may {
			t.Errorf("%s: %+v", tt.why, c)
		}
	}
}

func TestMayHoldBack(t *testing.T) {
	const cross, link, top = "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"
	lax, strict, none := Settings{HeldBack: true}, Settings{HeldBack: true, Strict: true}, Settings{}
	preflight := []string{"Origin: https://evil.example", "Access-Control-Request-Method: PUT"}
	for _, tt := range []struct {
		why      string
		settings Settings
		method   string
		lines    []string
		want     bool
	}{
		{"a form elsewhere", lax, "POST", []string{cross}, true},
		{"a form elsewhere, by Origin", lax, "POST", []string{"Origin: https://evil.example"}, true},
		{"a form here", lax, "POST", []string{"Sec-Fetch-Site: same-origin"}, false},
		{"a form, and nothing is said", lax, "POST", nil, false},
		{"a hidden origin", lax, "POST", []string{"Origin: null"}, false},
		{"a link elsewhere", lax, "GET", []string{cross, link, top}, false},
		{"a link elsewhere, through a service worker", lax, "GET", []string{cross, link, "Sec-Fetch-Dest: empty"}, false},
		{"a frame elsewhere", lax, "GET", []string{cross, link, "Sec-Fetch-Dest: iframe"}, true},
		{"an image elsewhere", lax, "GET", []string{cross, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, true},
		{"a script elsewhere", lax, "GET", []string{cross, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, true},
		{"a script elsewhere, by Origin", lax, "GET", []string{"Origin: https://evil.example"}, true},
		{"an image elsewhere, and the cookie goes with it", none, "GET", []string{cross, "Sec-Fetch-Mode: no-cors"}, false},
		{"a link elsewhere, strict", strict, "GET", []string{cross, link, top}, true},
		{"a bookmark, strict", strict, "GET", []string{"Sec-Fetch-Site: none", link}, false},
		{"a form elsewhere, and the cookie goes with it", none, "POST", []string{cross}, false},
		{"a preflight", none, "OPTIONS", preflight, true},
		{"a preflight of this site", lax, "OPTIONS", []string{"Origin: http://app.example.com", preflight[1]}, true},
	} {
		if got := Of(request(tt.method, tt.lines...), tt.settings).MayHoldBack(); got != tt.want {
			t.Errorf("%s: %t", tt.why, got)
		}
	}
}
