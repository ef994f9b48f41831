package caching

import (
	"net/http"
	"strings"
	"testing"
)

// header makes a header of "Name: value" lines.
func header(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

// lines is the reverse for the headers that caching is about.
func cachingLines(h http.Header) string {
	var lines []string
	for _, name := range []string{"Vary", "Cache-Control", "Expires", "Pragma", "Cdn-Cache-Control", "Surrogate-Control",
		"Edge-Control", "X-Accel-Expires", "Cloudflare-Cdn-Cache-Control", "X-Litespeed-Cache-Control"} {
		for _, value := range h.Values(name) {
			lines = append(lines, name+": "+value)
		}
	}
	return strings.Join(lines, " | ")
}

func TestProtect(t *testing.T) {
	tests := []struct {
		why        string
		header     http.Header
		status     int
		withCookie bool
		live       bool
		want       string
	}{
		{"anonymous", header(), 200, false, false, "Vary: Cookie"},
		{"live", header(), 200, false, true, "Vary: Cookie | Cache-Control: private"},
		{"Vary is extended", header("Vary: Accept-Encoding"), 200, false, false, "Vary: Accept-Encoding | Vary: Cookie"},
		{"Vary has it", header("Vary: Accept, cookie"), 200, false, false, "Vary: Accept, cookie"},
		{"Vary has all", header("Vary: *"), 200, false, true, "Vary: * | Cache-Control: private"},
		{"explicit", header("Cache-Control: max-age=60"), 200, false, true, "Cache-Control: max-age=60"},
		{"explicit Expires", header("Expires: 0"), 200, false, true, "Expires: 0"},
		{"explicit Pragma", header("Pragma: no-cache"), 200, false, true, "Pragma: no-cache"},
		{"explicit for CDNs", header("CDN-Cache-Control: no-store"), 200, false, true, "Cdn-Cache-Control: no-store"},
		{"explicit for surrogates", header("Surrogate-Control: no-store"), 200, false, true, "Surrogate-Control: no-store"},
		{"explicit for others", header("Cloudflare-CDN-Cache-Control: max-age=1"), 200, false, true, "Cloudflare-Cdn-Cache-Control: max-age=1"},
		{"explicit for nginx", header("X-Accel-Expires: 0"), 200, false, true, "X-Accel-Expires: 0"},
		{"our cookie wins", header("Cache-Control: max-age=60", "Expires: 0", "Pragma: x", "CDN-Cache-Control: no-store"),
			200, true, true, "Cache-Control: no-store | Cdn-Cache-Control: no-store"},
		{"over each of them", header("Cache-Control: public, max-age=0", "CDN-Cache-Control: max-age=1", "Surrogate-Control: max-age=1",
			"Edge-Control: max-age=1", "X-Accel-Expires: 60", "Cloudflare-CDN-Cache-Control: max-age=1", "X-LiteSpeed-Cache-Control: public"),
			200, true, true, "Cache-Control: no-store"},
		{"101", header(), 101, false, true, ""},
		{"101 with our cookie", header(), 101, true, true, "Cache-Control: no-store"},
	}
	for _, tt := range tests {
		Protect(tt.header, tt.status, tt.withCookie, tt.live, false, new(Room))
		if got := cachingLines(tt.header); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.why, got, tt.want)
		}
	}
}

func TestProtectWhatIsTheSame(t *testing.T) {
	for _, tt := range []struct {
		header           http.Header
		withCookie, live bool
		want             string
	}{
		{header(), false, false, ""},
		{header("Vary: Accept-Encoding"), false, false, "Vary: Accept-Encoding"},
		{header(), false, true, "Cache-Control: private"},
		{header(), true, true, "Cache-Control: no-store"},
		{header("Cache-Control: max-age=60"), false, true, "Cache-Control: max-age=60"},
	} {
		Protect(tt.header, 200, tt.withCookie, tt.live, true, new(Room))
		if got := cachingLines(tt.header); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestIsAsset(t *testing.T) {
	for _, tt := range []struct {
		destination, kind string // "": no such line
		status            int
		want              bool
	}{
		{"script", "text/javascript", 200, true},
		{"script", "application/x-javascript; charset=utf-8", 200, true},
		{"style", "Text/CSS;charset=UTF-8", 200, true},
		{"image", "image/png", 200, true},
		{"font", "font/woff2", 200, true},
		{"font", "application/font-woff", 200, true},
		{"font", "application/vnd.ms-fontobject", 200, true},
		{"video", "video/mp4", 206, true},
		{"audio", "audio/ogg", 200, true},
		{"track", "text/vtt", 200, true},
		{"", "text/css", 200, true}, // an old browser, or plain HTTP
		{"", "image/svg+xml", 200, true},
		{"empty", "image/png", 200, false}, // a script that asks for data
		{"document", "image/png", 200, false},
		{"iframe", "text/css", 200, false},
		{"worker", "text/javascript", 200, false},
		// Anybody can say that a page is a script, and have a cache store it.
		{"script", "text/html", 200, false},
		{"image", "application/json", 200, false},
		{"image", "", 200, false},
		{"script", "text/css, text/html", 200, false},
		{"", "", 200, false},
		{"", "text/html", 200, false},
		{"", "text/plain", 200, false},
		{"", "image", 200, false},
		// Not modified: it has no type.
		{"style", "", 304, true},
		{"document", "", 304, false},
		{"", "", 304, false},
		{"style", "text/html", 304, false},
	} {
		request, response := http.Header{}, http.Header{}
		if tt.destination != "" {
			request.Set("Sec-Fetch-Dest", tt.destination)
		}
		if tt.kind != "" {
			response.Set("Content-Type", tt.kind)
		}
		if got := IsAsset(request, response, tt.status); got != tt.want {
			t.Errorf("Sec-Fetch-Dest: %s, Content-Type: %s, %d: %v", tt.destination, tt.kind, tt.status, got)
		}
	}
	request := http.Header{"Sec-Fetch-Dest": {"document", "image"}}
	if IsAsset(request, http.Header{"Content-Type": {"image/png"}}, 200) {
		t.Error("two destinations count as one")
	}
}

func TestShareable(t *testing.T) {
	tests := []struct {
		header http.Header
		want   bool
	}{
		{header(), false},
		{header("Cache-Control: max-age=60"), false}, // for private caches too, as far as it says
		{header("Cache-Control: private, max-age=60"), false},
		{header("Cache-Control: no-store"), false},
		{header("Cache-Control: public"), true},
		{header("Cache-Control: max-age=0, PUBLIC"), true},
		{header("Cache-Control: s-maxage=10"), true},
		{header("Cache-Control: s-maxage = 10"), true}, // sloppy, but somebody may read it so
		{header("Cache-Control: max-age=1", "Cache-Control: public"), true},
		{header("Cache-Control: public, no-store"), false},
		{header(`Cache-Control: public, private="x-foo"`), true}, // restricts one field only
		{header("Surrogate-Control: max-age=60"), true},
		{header("Surrogate-Control: no-store"), false},
		{header("CDN-Cache-Control: max-age=60"), true},
		{header("CDN-Cache-Control: private"), false},
		{header("Cache-Control: no-store", "CDN-Cache-Control: max-age=60"), true},
		{header("Cloudflare-CDN-Cache-Control: max-age=60"), true},
		{header("Vercel-CDN-Cache-Control: max-age=60", "Cache-Control: private"), true},
		{header("Netlify-CDN-Cache-Control: no-store"), false},
		{header("Anything-Cache-Control: max-age=60"), true},
		{http.Header{"anything-cache-control": {"max-age=60"}}, true},
		{http.Header{"surrogate-control": {"max-age=60"}}, true},
		{http.Header{"cache-control": {"public"}}, true},
		{header("Fake-Cache-Controls: max-age=60"), false},
		{header("Edge-Control: max-age=60"), true},
		{header("Edge-Control: cache-maxage=1h"), true},
		{header("Edge-Control: !no-store"), true},
		{header("Edge-Control: private"), true}, // no directive of it
		{header("Edge-Control: no-store"), false},
		{header("Edge-Control: bypass-cache"), false},
		{header("X-Accel-Expires: 60"), true},
		{header("X-Accel-Expires: @4000000000"), true},
		{header("X-Accel-Expires: off"), true}, // which nginx ignores
		{header("X-Accel-Expires: 0"), false},
		{header("X-Accel-Expires:  00 "), false},
		{header("X-LiteSpeed-Cache-Control: public, max-age=60"), true},
		{header("X-LiteSpeed-Cache-Control: no-cache"), false},
		{header("X-LiteSpeed-Cache-Control: private, max-age=60"), false},
	}
	for _, tt := range tests {
		if got := Shareable(tt.header); got != tt.want {
			t.Errorf("%v: %v", tt.header, got)
		}
	}
}

func TestFromCache(t *testing.T) {
	tests := []struct {
		header http.Header
		want   bool
	}{
		{header(), false},
		{header("Age: 0"), false},
		{header("Age: 00"), false},
		{header("Age: 1"), true},
		{header("Age: 10"), true},
		{header("Age: x"), true},
		{header("Age: "), true},
		{header("Age: 0", "Age: 5"), true},
		{header("Cache-Status: ExampleCache; hit"), true},
		{header("Cache-Status: ExampleCache; hit=?1; ttl=3"), true},
		{header("Cache-Status: ExampleCache; hit=?0"), false},
		{header("Cache-Status: ExampleCache; fwd=uri-miss; stored"), false},
		{header("Cache-Status: Origin; fwd=miss, CDN; hit"), true},
		{header(`Cache-Status: "a; hit"; fwd=miss`), false},
		{header("Cache-Status: @@"), true},
		{header("X-Cache: HIT"), true},
		{header("X-Cache: HIT from cache.example.com:3128"), true},
		{header("X-Cache: Hit from cloudfront"), true},
		{header("X-Cache: RefreshHit from cloudfront"), true},
		{header("X-Cache: TCP_MEM_HIT from a.example"), true},
		{header("X-Cache: MISS, HIT"), true},
		{header("X-Cache: MISS", "X-Cache: HIT"), true},
		{header("X-Cache: MISS"), false},
		{header("X-Cache: Miss from cloudfront"), false},
		{header("X-Cache: MISS from whit.example"), false},
		{header("X-Cache: "), false},
		{header("X-Cache-Status: STALE"), true},
		{header("X-Cache-Status: BYPASS"), false},
		{header("X-Proxy-Cache: HIT"), true},
		{header("CF-Cache-Status: REVALIDATED"), true},
		{header("CF-Cache-Status: DYNAMIC"), false},
		{header("X-LiteSpeed-Cache: hit,private"), true},
		{header("X-Cache-Hits: 0"), false},
		{header("X-Cache-Hits: 0, 1"), true},
		{header("X-Cache-Hits: 0, 0"), false},
		{header("X-Cache-Hit: true"), true},
		{header("X-Cache-Hit: false"), false},
		{header("X-Cache-Remote: TCP_HIT from a.example"), true},
		{header("X-Cache-Lookup: HIT from a.example:3128", "X-Cache: MISS from a.example"), false},
		{header("X-Varnish: 32770"), false},
		{header("X-Varnish: 32773 32771"), true},
		{header("X-Varnish-Cache: HIT"), true},
		{header("X-FastCGI-Cache: HIT"), true},
		{header("X-Drupal-Cache: HIT"), true},
		{header("X-Drupal-Cache: UNCACHEABLE (response policy)"), false},
		{header("X-Vercel-Cache: STALE"), true},
		{header("X-Rack-Cache: fresh"), true},
		{header("X-Rack-Cache: miss, store"), false},
		{header("CDN-Cache: HIT"), true},
		{header("Akamai-Cache-Status: Hit from child"), true},
		{header("X-Cache: TCP_REFRESH_MISS from a.example"), false},
		{http.Header{"x-cache": {"hit"}}, true},
		{http.Header{"age": {"1"}}, true},
		{header("Cache-Control: hit"), false},
		{header(`Cache-Status: "hit-cache"; fwd=miss`), false},
	}
	for _, tt := range tests {
		if got := FromCache(tt.header); got != tt.want {
			t.Errorf("%v: %v", tt.header, got)
		}
	}
}

func TestMakePrivate(t *testing.T) {
	for _, test := range []struct {
		header http.Header
		want   string
	}{
		{header("Cache-Control: public, max-age=0"), "Cache-Control: max-age=0, private"},
		{header("Cache-Control: public", "Cache-Control: s-maxage=9, must-revalidate"), "Cache-Control: must-revalidate, private"},
		{header("Cache-Control: no-store"), "Cache-Control: no-store"},
		{header("Surrogate-Control: max-age=1", "CDN-Cache-Control: no-store"), "Cache-Control: private | Cdn-Cache-Control: no-store"},
		{header("Edge-Control: max-age=1", "X-Accel-Expires: 1", "Cloudflare-CDN-Cache-Control: max-age=1", "X-LiteSpeed-Cache-Control: public"), "Cache-Control: private"},
		{header("Edge-Control: no-store", "X-Accel-Expires: 0"), "Cache-Control: private | Edge-Control: no-store | X-Accel-Expires: 0"},
		{http.Header{"cache-control": {"public"}, "CACHE-CONTROL": {"s-maxage=1"}}, "Cache-Control: private"},
	} {
		before := strings.ReplaceAll(cachingLines(test.header), "\n", "")
		MakePrivate(test.header)
		if got := cachingLines(test.header); got != test.want || Shareable(test.header) {
			t.Errorf("%s: %v, want %s", before, test.header, test.want)
		}
	}
}

func TestProtectAllocatesNothing(t *testing.T) {
	h := header("Content-Type: text/html", "Content-Length: 12", "Date: x", "Server: x", "X-Frame-Options: DENY", "Etag: x")
	room := new(Room)
	if n := testing.AllocsPerRun(100, func() {
		delete(h, "Vary")
		delete(h, "Cache-Control")
		Protect(h, 200, false, true, false, room)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkProtect(b *testing.B) {
	h := header("Content-Type: text/html", "Content-Length: 12", "Date: x", "Server: x", "X-Frame-Options: DENY", "Etag: x")
	room := new(Room)
	for b.Loop() {
		delete(h, "Vary")
		delete(h, "Cache-Control")
		Protect(h, 200, false, true, false, room)
	}
}
