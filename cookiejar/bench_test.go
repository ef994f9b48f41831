package cookiejar_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/cookiejar"
)

const (
	testToken = "AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"

	// typicalCookies is about 300 bytes, as a site with analytics gets them.
	typicalCookies = "_ga=GA1.1.1234567890.1700000000; _gid=GA1.1.987654321.1700000000; theme=dark; lang=en-GB; " +
		"__Host-csid=" + testToken + "; " +
		"consent=%7B%22necessary%22%3Atrue%2C%22statistics%22%3Afalse%7D; _ga_ABCDEF1234=GS1.1.1700000000.3.1.1700000042.0.0.0"
)

func isToken(s string) bool { return len(s) == len(testToken) && s[22] == '.' }

// typicalHeader is what a browser sends, Cookie aside.
func typicalHeader() http.Header {
	return http.Header{
		"Accept":                    {"text/html,application/xhtml+xml"},
		"Accept-Encoding":           {"gzip, deflate, br"},
		"Accept-Language":           {"en-GB,en;q=0.9"},
		"Cache-Control":             {"max-age=0"},
		"Connection":                {"keep-alive"},
		"Referer":                   {"https://example.com/"},
		"Sec-Ch-Ua":                 {`"Chromium";v="140"`},
		"Sec-Ch-Ua-Mobile":          {"?0"},
		"Sec-Fetch-Dest":            {"document"},
		"Sec-Fetch-Mode":            {"navigate"},
		"Sec-Fetch-Site":            {"same-origin"},
		"Sec-Fetch-User":            {"?1"},
		"Upgrade-Insecure-Requests": {"1"},
		"User-Agent":                {"Mozilla/5.0"},
	}
}

func benchmarkValues(b *testing.B, line, name string) {
	h := typicalHeader()
	h["Cookie"] = []string{line}
	b.ReportAllocs()
	for b.Loop() {
		var buf [cookiejar.MaxCandidates + 1]string
		if _, err := cookiejar.Values(buf[:0], h["Cookie"], name, isToken); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValues(b *testing.B)       { benchmarkValues(b, typicalCookies, "__Host-csid") }
func BenchmarkValuesAbsent(b *testing.B) { benchmarkValues(b, typicalCookies, "x") }
func BenchmarkValuesFlood(b *testing.B) {
	benchmarkValues(b, strings.Repeat("csid=x;", cookiejar.MaxHeader/6), "csid")
}

func BenchmarkStrip(b *testing.B) {
	h := typicalHeader()
	lines := []string{typicalCookies}
	names := compile(b, cookiejar.Cookie{}).Names()
	b.ReportAllocs()
	for b.Loop() {
		h["Cookie"] = lines
		cookiejar.Strip(h, names...)
	}
}

func BenchmarkStripNothing(b *testing.B) {
	h := typicalHeader()
	h["Cookie"] = []string{strings.ReplaceAll(typicalCookies, "__Host-csid", "other")}
	names := compile(b, cookiejar.Cookie{}).Names()
	b.ReportAllocs()
	for b.Loop() {
		cookiejar.Strip(h, names...)
	}
}

func BenchmarkStripNoCookie(b *testing.B) {
	h := typicalHeader()
	names := compile(b, cookiejar.Cookie{}).Names()
	b.ReportAllocs()
	for b.Loop() {
		cookiejar.Strip(h, names...)
	}
}

func BenchmarkSet(b *testing.B) {
	c := compile(b, cookiejar.Cookie{})
	b.ReportAllocs()
	for b.Loop() {
		c.SetLine(testToken, true, time.Hour)
	}
}

func BenchmarkScopeHost(b *testing.B) {
	c := compile(b, cookiejar.Cookie{Domain: "example.com"})
	b.ReportAllocs()
	for b.Loop() {
		c.ScopeHost("app.example.com:8443")
	}
}

func BenchmarkDropSetCookie(b *testing.B) {
	names := compile(b, cookiejar.Cookie{}).Names()
	h := http.Header{"Set-Cookie": {"theme=dark; Path=/", "lang=en; Path=/"}, "Content-Type": {"text/html"}}
	b.ReportAllocs()
	for b.Loop() {
		cookiejar.DropSetCookie(h, names...)
	}
}

// benchmarkReceive measures what a request with so many kept cookies costs, from
// the jar's text on.
func benchmarkReceive(b *testing.B, cookies int) {
	v := newVisitor(b, cookiejar.Rules{Keep: []string{"PHPSESSID", "c*"}})
	for i := range cookies {
		v.set(site, fmt.Sprintf("c%d=0123456789abcdef0123456789abcdef; Path=/; HttpOnly", i))
	}
	jar := []byte(v.text())
	r := &http.Request{Method: "GET", Header: typicalHeader()}
	lines := []string{typicalCookies}
	b.ReportAllocs()
	for b.Loop() {
		r.Header["Cookie"] = lines
		c := cookiejar.Context{Host: "app.example.com", Path: "/page", Secure: true, Safe: true, Now: v.now}
		v.keeper.Receive(r.Header, c, string(jar))
	}
	if got := strings.Count(r.Header.Get("Cookie"), "0123456789abcdef0123456789abcdef"); got != cookies {
		b.Errorf("%d cookies", got)
	}
}

func BenchmarkReceive0(b *testing.B)  { benchmarkReceive(b, 0) }
func BenchmarkReceive1(b *testing.B)  { benchmarkReceive(b, 1) }
func BenchmarkReceive10(b *testing.B) { benchmarkReceive(b, 10) }

// BenchmarkStoreSame is a response that sets a cookie as it is already.
func BenchmarkStoreSame(b *testing.B) {
	v := keeping(b)
	const line = "PHPSESSID=0123456789abcdef0123456789abcdef; Path=/; HttpOnly"
	v.set(site, line)
	jar, c := v.text(), v.context(site)
	b.ReportAllocs()
	for b.Loop() {
		taken := v.keeper.Take(http.Header{"Set-Cookie": {line}}, "", c, cookiejar.Incoming{})
		if cookiejar.StoreKept(jar, c, taken.Kept, time.Minute).Changes != nil {
			b.Fatal("it is written")
		}
	}
}
