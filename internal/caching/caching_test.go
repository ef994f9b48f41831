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
		Protect(tt.header, tt.status, tt.withCookie, tt.live, new(Room))
		if got := cachingLines(tt.header); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.why, got, tt.want)
		}
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
