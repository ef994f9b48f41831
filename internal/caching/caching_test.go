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
	for _, name := range append([]string{"Vary"}, cachePolicies...) {
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
		{"our cookie wins", header("Cache-Control: max-age=60", "Expires: 0", "Pragma: x", "CDN-Cache-Control: no-store"),
			200, true, true, "Cache-Control: no-store | Cdn-Cache-Control: no-store"},
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
	}
	for _, tt := range tests {
		if got := FromCache(tt.header); got != tt.want {
			t.Errorf("%v: %v", tt.header, got)
		}
	}
}
