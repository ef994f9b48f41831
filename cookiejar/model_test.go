package cookiejar_test

import (
	"net/http"
	gojar "net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/publicsuffix"
	"pgregory.net/rapid"
)

// TestJarAgainstNetHTTP gives the same cookies to Go's jar and to ours, on one
// host, and asks both for them. Go's jar knows no clock but the real one, so no
// cookie ends here but by deletion; and over plain HTTP, nothing is set: it does
// not leave secure cookies alone. It does not part a cookie of the host from one
// whose Domain is the host, as RFC 6265bis does.
func TestJarAgainstNetHTTP(t *testing.T) {
	paths := []string{"/", "/a", "/a/", "/a/b", "/a/bc", "/a/b/c", "/xy"}
	line := rapid.Custom(func(t *rapid.T) string {
		pick := func(what string, of ...string) string { return rapid.SampledFrom(of).Draw(t, what) }
		return pick("name", "a", "b", "__Secure-c", "d") + "=" + pick("value", "", "1", "2", "x=y", "z") +
			pick("path", "", "", "; Path=/", "; path=/a", "; Path=/a/", "; PATH=/a/b", "; Path=b", "; Path=/; Path=/xy") +
			pick("domain", "", "", "; Domain=example.com", "; Domain=com", "; Domain=other.example.com") +
			pick("age", "", "", "", "; Max-Age=0", "; max-age=-1", "; Max-Age=86400", "; Expires=Thu, 01 Jan 1970 00:00:00 GMT") +
			pick("secure", "", "; Secure", "; secure; HttpOnly")
	})
	rapid.Check(t, func(rt *rapid.T) {
		theirs, err := gojar.New(&gojar.Options{PublicSuffixList: publicsuffix.List})
		if err != nil {
			rt.Fatal(err)
		}
		ours := keeping(t)
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			from := "https://app.example.com" + rapid.SampledFrom(paths).Draw(rt, "from")
			u, err := url.Parse(from)
			if err != nil {
				rt.Fatal(err)
			}
			// Go's own parser leaves out the prefix rules.
			set := rapid.SliceOfN(line, 1, 3).Draw(rt, "lines")
			for i := range set {
				if strings.HasPrefix(set[i], "__Secure-") {
					set[i] += "; Secure"
				}
			}
			response := http.Response{Header: http.Header{"Set-Cookie": set}}
			theirs.SetCookies(u, response.Cookies())
			ours.now = ours.now.Add(time.Second)
			ours.set(from, set...)

			to := rapid.SampledFrom([]string{"https", "http"}).Draw(rt, "scheme") + "://app.example.com" + rapid.SampledFrom(paths).Draw(rt, "to")
			if u, err = url.Parse(to); err != nil {
				rt.Fatal(err)
			}
			var want []string
			for _, c := range theirs.Cookies(u) {
				want = append(want, c.Name+"="+c.Value)
			}
			if got := ours.get(to); got != strings.Join(want, "; ") {
				rt.Fatalf("%s: ours sends %q, Go's %q", to, got, want)
			}
		}
	})
}
