package cookiejar_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/internal/origin"
)

// visitor is a browser and its session: an application sets cookies, and they
// come back.
type visitor struct {
	t      testing.TB
	keeper *cookiejar.Keeper
	jar    map[string]string
	now    time.Time
	header http.Header // of the next request, beside Cookie
	method string
	id     string
	taken  cookiejar.Taken  // what the last set did
	passed []string         // the lines that it left for the browser
	stored cookiejar.Stored // what it did to the jar
}

const testKey = "0123456789abcdef0123456789abcdef"

func newVisitor(t testing.TB, rules cookiejar.Rules) *visitor {
	t.Helper()
	keeper, err := rules.Compile([]string{"sid"}, func(value string) bool { return len(value) < 100 })
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{
		t: t, keeper: keeper, jar: map[string]string{}, method: "GET",
		now: time.Date(2010, 1, 1, 12, 0, 0, 0, time.UTC),
	}
}

// keeping returns a visitor all of whose cookies are kept.
func keeping(t testing.TB) *visitor {
	return newVisitor(t, cookiejar.Rules{Default: "keep"})
}

func (v *visitor) context(target string) cookiejar.Context {
	v.t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		v.t.Fatal(err)
	}
	host, ok := cookiejar.CanonicalHost(u.Host)
	if !ok {
		v.t.Fatalf("host %q", u.Host)
	}
	r := &http.Request{Method: v.method, Header: v.header, Host: host}
	c := origin.Of(r, origin.Settings{AlwaysHTTPS: u.Scheme == "https"}).CookieContext(u.EscapedPath(), false)
	c.Session, c.Now = v.id, v.now
	return c
}

func (v *visitor) text() string {
	if len(v.jar) == 0 {
		return ""
	}
	b, err := json.Marshal(v.jar)
	if err != nil {
		v.t.Fatal(err)
	}
	return strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(string(b))
}

// set is a response with these Set-Cookie lines.
func (v *visitor) set(target string, lines ...string) {
	v.t.Helper()
	h := http.Header{"Set-Cookie": lines}
	in := v.keeper.Receive(http.Header{}, v.context(target), v.text())
	v.taken = v.keeper.Take(h, "", v.context(target), in)
	v.passed = h["Set-Cookie"]
	v.stored = cookiejar.StoreKept(v.text(), v.context(target), v.taken.Kept, time.Minute)
	v.stored.Ignored = append(v.stored.Ignored, v.taken.Ignored...)
	for key, record := range v.stored.Changes {
		if record == nil {
			delete(v.jar, key)
		} else {
			v.jar[key] = record.(string)
		}
	}
}

// get returns the Cookie header of a request on which the client sends none.
func (v *visitor) get(target string) string {
	v.t.Helper()
	return strings.Join(v.send(target), "\n")
}

// send returns the Cookie lines that the application gets of those that the
// client sends.
func (v *visitor) send(target string, lines ...string) []string {
	v.t.Helper()
	h := http.Header{}
	if lines != nil {
		h["Cookie"] = lines
	}
	v.keeper.Receive(h, v.context(target), v.text())
	return h["Cookie"]
}

func (v *visitor) wants(target, want string) {
	v.t.Helper()
	if got := v.get(target); got != want {
		v.t.Errorf("%s: the application gets %q, want %q", target, got, want)
	}
}

// compile returns the cookie that a configuration describes.
func compile(t testing.TB, c cookiejar.Cookie) *cookiejar.SessionCookie {
	t.Helper()
	s, err := c.Compile()
	if err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	return s
}

// in is the same visitor in another test.
func (v *visitor) in(t testing.TB) *visitor {
	other := *v
	other.t = t
	return &other
}
