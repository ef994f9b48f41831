package cookiejar_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/cookiejar"
)

const site = "http://app.example.com/"

func TestJarReplaces(t *testing.T) {
	v := keeping(t)
	v.set(site, "a=1; Path=/", "b=1; Path=/", "a=sub; Path=/x", "a=domain; Domain=example.com; Path=/", "a=own; Domain=app.example.com; Path=/")
	v.wants(site, "a=1; b=1; a=domain; a=own")
	v.now = v.now.Add(time.Hour)
	// By name, domain, host-only-flag and path; and it keeps its place, since
	// its time of creation stays (RFC 6265bis 5.7).
	v.set(site, "a=2; Path=/; HttpOnly")
	v.wants(site, "a=2; b=1; a=domain; a=own")
	v.set(site+"x/y", "a=3; Domain=.example.com; Path=/")
	v.wants(site, "a=2; b=1; a=3; a=own")
	v.wants(site+"x", "a=sub; a=2; b=1; a=3; a=own")
	v.set(site, "a=; Path=/; Max-Age=0")
	v.wants(site, "b=1; a=3; a=own")
	v.set(site, "a=; Max-Age=0; Path=/y", "A=; Max-Age=0; Path=/", "a=; Max-Age=0; Path=/; Domain=other.example.com")
	v.wants(site, "b=1; a=3; a=own")
	// A new life is a new creation.
	v.set(site, "a=4; Path=/")
	v.wants(site, "b=1; a=3; a=own; a=4")
}

func TestJarExpires(t *testing.T) {
	v := keeping(t)
	v.set(site, "a=1; Max-Age=60", "b=1; Expires=Fri, 01 Jan 2010 12:02:00 GMT", "c=1")
	for after, want := range map[time.Duration]string{
		0: "a=1; b=1; c=1", 59 * time.Second: "a=1; b=1; c=1", 60 * time.Second: "b=1; c=1",
		119 * time.Second: "b=1; c=1", 120 * time.Second: "c=1", 9999 * time.Hour: "c=1",
	} {
		then := *v
		then.now = v.now.Add(after)
		then.wants(site, want)
	}
	// Seconds begin at any time.
	odd := keeping(t)
	odd.now = odd.now.Add(999 * time.Millisecond)
	odd.set(site, "a=1; Max-Age=1")
	odd.now = odd.now.Add(time.Second - time.Millisecond)
	odd.wants(site, "a=1")
	odd.now = odd.now.Add(time.Second)
	odd.wants(site, "")
	odd.set(site, "a=1")
	odd.set(site, "a=1; Max-Age=0")
	odd.wants(site, "")

	// They go with the next change.
	v.now = v.now.Add(time.Hour)
	v.set(site, "d=1")
	if len(v.jar) != 2 {
		t.Errorf("the jar has %q", v.jar)
	}
	// Nothing is made of what has expired already, or is deleted at once.
	v = keeping(t)
	if v.set(site, "a=1; Max-Age=0", "b=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "c=1", "c=; Max-Age=0"); v.stored.Changes != nil {
		t.Errorf("changes %v", v.stored.Changes)
	}
}

func TestJarWritesOnlyChanges(t *testing.T) {
	v := keeping(t)
	lines := []string{"a=1; Path=/", "b=1; Max-Age=3600; Secure; HttpOnly; SameSite=Lax"}
	const secure = "https://app.example.com/"
	v.set(secure, lines...)
	for _, test := range []struct {
		after  time.Duration
		line   string
		writes bool
	}{
		{0, lines[0], false},
		{time.Hour, lines[0], false},
		{0, "a=1; path=/; x=y; Secure=", true},
		{0, "a=2; Path=/", true},
		{0, "a=1; Path=/; Max-Age=3600", true},
		{0, "a=1; Path=/; HttpOnly", true},
		{0, "a=1; Path=/; SameSite=Lax", true},
		{0, "a=1; Path=/; SameSite=x", false},
		{0, "c=; Max-Age=0", false},
		{0, lines[1], false},
		{time.Minute, lines[1], false},     // as slack allows
		{61 * time.Second, lines[1], true}, // more
		{0, strings.Replace(lines[1], "3600", "3540", 1), false},
		{0, strings.Replace(lines[1], "3600", "3539", 1), true},
		{0, strings.Replace(lines[1], "3600", "40", 1), true},
		{0, strings.Replace(lines[1], "; Max-Age=3600", "", 1), true},
	} {
		then := *v
		then.now = v.now.Add(test.after)
		then.jar = map[string]string{}
		for key, record := range v.jar {
			then.jar[key] = record
		}
		then.set(secure, test.line)
		if writes := then.stored.Changes != nil; writes != test.writes || len(then.stored.Ignored) > 0 {
			t.Errorf("%s after %s: writes %v, ignored %v", test.line, test.after, writes, then.stored.Ignored)
		}
	}
	// A quarter of a short life.
	v = keeping(t)
	v.set(site, "a=1; Max-Age=40")
	for after, writes := range map[time.Duration]bool{10 * time.Second: false, 11 * time.Second: true} {
		then := *v
		then.now = v.now.Add(after)
		if then.set(site, "a=1; Max-Age=40"); (then.stored.Changes != nil) != writes {
			t.Errorf("after %s: %v", after, then.stored.Changes)
		}
	}
}

func TestJarSecure(t *testing.T) {
	const http, https = "http://app.example.com/", "https://app.example.com/"
	v := keeping(t)
	v.set(http, "a=1; Secure")
	if len(v.stored.Ignored) != 1 || len(v.jar) != 0 {
		t.Errorf("Secure over plain HTTP: %+v", v.stored)
	}
	v.set(https, "a=1; Secure; Path=/login", "b=1")
	v.wants(https+"login", "a=1; b=1")
	v.wants(http+"login", "b=1")
	// Leave secure cookies alone (RFC 6265bis 5.7).
	for line, refused := range map[string]bool{
		"a=2; Path=/login":                     true,
		"a=2; Path=/login/x":                   true,
		"a=2; Path=/login; Domain=example.com": true,
		"a=; Path=/login; Max-Age=0":           true,
		"a=2; Path=/":                          false,
		"a=2; Path=/loginx":                    false,
		"c=2; Path=/login":                     false,
	} {
		then := *v
		then.jar = map[string]string{}
		for key, record := range v.jar {
			then.jar[key] = record
		}
		then.set(http, line)
		if got := len(then.stored.Ignored) == 1; got != refused {
			t.Errorf("%s: refused %v", line, got)
		}
	}
}

func TestJarPartition(t *testing.T) {
	v := keeping(t)
	v.set("http://a.example.com/", "x=a; Domain=example.com; Path=/", "y=a; Path=/")
	v.set("http://b.example.com/", "x=b; Domain=example.com; Path=/")
	v.wants("http://a.example.com/", "x=a; y=a")
	v.wants("http://a.example.com:8080/", "x=a; y=a") // browsers do not part cookies by port
	v.wants("http://A.Example.com./", "x=a; y=a")
	v.wants("http://b.example.com/", "x=b")
	for _, other := range []string{"http://example.com/", "http://c.example.com/", "http://x.a.example.com/", "http://evil.example/", "http://[::1]/"} {
		v.wants(other, "")
	}
	// One host can't end another's.
	v.set("http://b.example.com/", "x=; Domain=example.com; Path=/; Max-Age=0", "y=; Domain=a.example.com; Max-Age=0")
	v.wants("http://a.example.com/", "x=a; y=a")
}

func TestJarDomains(t *testing.T) {
	for _, test := range []struct {
		host, domain string
		kept         bool
	}{
		{"app.example.com", "example.com", true},
		{"app.example.com", "app.example.com", true},
		{"app.example.com", "ample.com", false},
		{"app.example.com", "com", false},
		{"app.example.co.uk", "co.uk", false},
		{"app.example.co.uk", "example.co.uk", true},
		{"user.github.io", "github.io", false}, // a private suffix
		{"github.io", "github.io", true},       // the suffix itself: of the host alone
		{"localhost", "localhost", true},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "2.1", false},
		{"192.0.2.1", "0.2.1", false},
		{"[2001:db8::1]", "[2001:db8::1]", true},
		{"xn--bcher-kva.example", "b\u00fccher.example", false}, // not ASCII
		{"xn--bcher-kva.example", "xn--bcher-kva.example", true},
	} {
		v := keeping(t)
		v.set("http://"+test.host+"/", "a=1; Domain="+test.domain)
		if kept := len(v.jar) == 1; kept != test.kept {
			t.Errorf("%s sets Domain=%s: kept %v", test.host, test.domain, kept)
		}
	}
}

func TestJarPaths(t *testing.T) {
	for path, want := range map[string]string{ // RFC 6265bis 5.1.4, the default path
		"/": "/", "/a": "/", "/a/": "/a", "/a/b": "/a", "/a/b/c?d/e": "/a/b", "/a%2Fb": "/", "//": "/",
	} {
		v := keeping(t)
		v.set("http://h.example"+path, "a=1")
		for _, record := range v.jar {
			if got := strings.Split(record, " ")[2]; got != want {
				t.Errorf("%s: default path %s, want %s", path, got, want)
			}
		}
	}
}

func TestJarSameSite(t *testing.T) {
	all := []string{"d=1", "n=1; SameSite=None", "l=1; SameSite=Lax", "s=1; SameSite=Strict"}
	v := keeping(t)
	const https = "https://app.example.com/"
	v.set(https, all...)
	const everything, lax, none = "d=1; n=1; l=1; s=1", "d=1; n=1; l=1", "n=1"
	fetch := func(site, mode, dest string) http.Header {
		return http.Header{"Sec-Fetch-Site": {site}, "Sec-Fetch-Mode": {mode}, "Sec-Fetch-Dest": {dest}}
	}
	origin := func(origins ...string) http.Header { return http.Header{"Origin": origins} }
	for _, test := range []struct {
		why    string
		header http.Header
		method string
		want   string
	}{
		{"says nothing", nil, "GET", everything},
		{"says nothing", nil, "POST", everything},
		{"same origin", fetch("same-origin", "cors", "empty"), "POST", everything},
		{"same site", fetch("same-site", "no-cors", "image"), "GET", everything},
		{"by the user", fetch("none", "navigate", "document"), "GET", everything},
		{"link elsewhere", fetch("cross-site", "navigate", "document"), "GET", lax},
		{"form elsewhere", fetch("cross-site", "navigate", "document"), "POST", none},
		{"frame elsewhere", fetch("cross-site", "navigate", "iframe"), "GET", none},
		{"image elsewhere", fetch("cross-site", "no-cors", "image"), "GET", none},
		{"script elsewhere", fetch("cross-site", "cors", "empty"), "GET", none},
		{"an unknown word", fetch("elsewhere", "navigate", "document"), "GET", lax},
		{"two words", http.Header{"Sec-Fetch-Site": {"same-origin", "cross-site"}}, "GET", none},
		{"Sec-Fetch-Site before Origin", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"null"}}, "GET", everything},
		{"its origin", origin("https://app.example.com"), "POST", everything},
		{"its site", origin("https://www.example.com:8443"), "POST", everything},
		{"its site by another scheme", origin("http://app.example.com"), "POST", none},
		{"another origin", origin("https://evil.example"), "POST", none},
		{"another origin with GET", origin("https://evil.example"), "GET", none},
		{"another site of a suffix", origin("https://example.co.uk"), "GET", none},
		{"no origin", origin("null"), "POST", none},
		{"two origins", origin("https://app.example.com", "https://evil.example"), "POST", none},
		{"a prefix", origin("https://app.example.com.evil.example"), "POST", none},
		{"with a user", origin("https://app.example.com@evil.example"), "POST", none},
	} {
		v.header, v.method = test.header, test.method
		if got := v.get(https); got != test.want {
			t.Errorf("%s, %s: %q, want %q", test.why, test.method, got, test.want)
		}
		// What a response may set there (5.7).
		set := *v
		set.jar = map[string]string{}
		set.set(https, all...)
		topLevel := test.header != nil && slices.Equal(test.header["Sec-Fetch-Dest"], []string{"document"})
		want := 4
		if test.want != everything && !topLevel {
			want = 1
		}
		if len(set.jar) != want {
			t.Errorf("%s, %s: %d cookies are set, want %d", test.why, test.method, len(set.jar), want)
		}
	}
	// Public suffixes part sites, ports do not.
	v = keeping(t)
	v.header, v.method = origin("http://b.github.io"), "POST"
	v.set("http://a.github.io/", "a=1")
	if len(v.jar) != 0 {
		t.Error("two users of a public suffix are the same site")
	}
	v.header = origin("http://192.0.2.1")
	v.set("http://192.0.2.2/", "a=1")
	if len(v.jar) != 0 {
		t.Error("two addresses are the same site")
	}
	v.header = origin("http://localhost:3000")
	if v.set("http://localhost:8080/", "a=1"); len(v.jar) != 1 {
		t.Error("a port parts sites")
	}
}

func TestJarEvicts(t *testing.T) {
	v := keeping(t)
	for i := range cookiejar.MaxKept {
		v.set(site, fmt.Sprintf("c%d=1; Path=/", i))
		v.now = v.now.Add(time.Second)
	}
	if len(v.jar) != cookiejar.MaxKept || v.stored.Evicted != nil {
		t.Fatalf("%d cookies, evicted %q", len(v.jar), v.stored.Evicted)
	}
	v.set(site, "c0=2; Path=/") // written now, so c1 is the oldest
	v.now = v.now.Add(time.Second)
	v.set(site, "new=1; Path=/")
	if !slices.Equal(v.stored.Evicted, []string{"c1"}) || len(v.jar) != cookiejar.MaxKept {
		t.Errorf("evicted %q, %d are left", v.stored.Evicted, len(v.jar))
	}
	// Those that have expired go first.
	v.set(site, "short=1; Path=/; Max-Age=1")
	v.now = v.now.Add(time.Minute)
	v.set(site, "newer=1; Path=/")
	if v.stored.Evicted != nil || strings.Contains(v.get(site), "short") || !strings.Contains(v.get(site), "newer") {
		t.Errorf("evicted %q", v.stored.Evicted)
	}
	// Many at once: the last ones stay.
	var lines []string
	for i := range 2 * cookiejar.MaxKept {
		lines = append(lines, fmt.Sprintf("d%d=1; Path=/", i))
	}
	v.now = v.now.Add(time.Minute)
	v.set(site, lines...)
	if len(v.stored.Evicted) != 2*cookiejar.MaxKept || !strings.HasPrefix(v.get(site), "d50=1;") || !strings.HasSuffix(v.get(site), "; d99=1") || len(v.jar) != cookiejar.MaxKept {
		t.Errorf("%d are evicted, left %s", len(v.stored.Evicted), v.get(site))
	}
	// Too many, as parallel responses can make them, are cut down with the next.
	for i := range 20 {
		v.jar[fmt.Sprintf("key%d", i)] = fmt.Sprintf("app.example.com - / p%d 1 1 0 1 d", i)
	}
	if v.set(site, "d99=1; Path=/"); len(v.jar) != cookiejar.MaxKept {
		t.Errorf("%d cookies", len(v.jar))
	}
}

// TestJarForm holds the stored form: records of an earlier release must stay
// readable.
func TestJarForm(t *testing.T) {
	v := keeping(t)
	v.set("https://app.example.com/a/b", `PHP "%SE=v\1,`+"\tx; Domain=example.com; Secure; HttpOnly; SameSite=Strict; Max-Age=60")
	want := `app.example.com example.com /a PHP%20%22%25SE v%5C1,%09x 1262347200000000 1262347260 1262347200 SHs`
	for key, record := range v.jar {
		if record != want || key != "_bAeuC2pveOh_bmSiTyFEA" {
			t.Errorf("%s %s\nwant %s", key, record, want)
		}
	}
	v.wants("https://app.example.com/a", `PHP "%SE=v\1,`+"\tx")
}

// TestJarOdd has texts that we never write: a worker may, into plain records.
func TestJarOdd(t *testing.T) {
	const good = "app.example.com - / a 1 1 0 1 d"
	v := keeping(t)
	for _, test := range []struct{ jar, want string }{
		{`{"k":"` + good + `"}`, "a=1"},
		{`{ "k" : "` + good + `" , "l": "x" }`, "a=1"},
		{`{"k":"app.example.com - \/ a \u0031 1 0 1 d"}`, "a=1"},
		{`{"k":"` + good + ` "}`, ""},
		{`{"k":" ` + good + `"}`, ""},
		{`{"k":"` + good[2:] + `"}`, ""},
		{`{"k":"app.example.com - / a 1%0D%0ASet-Cookie: 1 0 1 d"}`, ""},
		{`{"k":"app.example.com - / a 1%0d%0aX: 1 0 1 d"}`, ""},
		{`{"k":"app.example.com - / a x%0d%0aX:y 1 0 1 d"}`, ""},
		{`{"k":"app.example.com - / a x%3bsid=y 1 0 1 d"}`, ""},
		{`{"k":"app.example.com - / sid x 1 0 1 d"}`, "sid=x"}, // the session cookie's name
		{`{"k":"app.example.com - / a 1 1 0 1 x"}`, ""},
		{`{"k":"app.example.com - / a 1 1 0 1 XSd"}`, ""},
		{`{"k":"app.example.com - / a 1 x 0 1 d"}`, ""},
		{`{"k":1,"l":"` + good + `"}`, "a=1"},
		{`{"k":null,"l":["` + good + `"],"m":"` + good + `"}`, "a=1"},
		{`{}`, ""}, {`[]`, ""}, {`{`, ""}, {`"`, ""}, {`{"k`, ""}, {`{"k":"` + good, ""}, {`{"k":"` + good + `"`, ""}, {`null`, ""},
	} {
		h := http.Header{}
		v.keeper.Receive(h, v.context(site), test.jar)
		if got := h.Get("Cookie"); got != test.want {
			t.Errorf("%s: %q, want %q", test.jar, got, test.want)
		}
		// Whatever it is, another cookie can be added.
		s := cookiejar.StoreKept(test.jar, v.context(site), []cookiejar.SetCookie{{Name: "b", Value: "2"}}, time.Minute)
		if len(s.Changes) == 0 {
			t.Errorf("%s: nothing can be stored", test.jar)
		}
	}
}

func TestKeptNamesOfOtherRules(t *testing.T) {
	v := keeping(t)
	v.set(site, "a=1; Path=/", "b=1; Path=/", "x", "sid=app")
	v.wants(site, "a=1; b=1; x; sid=app")
	v.keeper = newVisitor(t, cookiejar.Rules{Keep: []string{"a"}}).keeper
	v.wants(site, "a=1")
	v.keeper = newVisitor(t, cookiejar.Rules{Default: "keep", Pass: []string{"a"}}).keeper
	v.wants(site, "b=1; x; sid=app")
}
