package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// tagOf returns the third part of a session cookie's value, "" if it has two.
func tagOf(cookie string) string {
	return strings.TrimPrefix(strings.TrimPrefix(cookie, untagged(cookie)), ".")
}

// TestJarTag follows the cookie of a browser whose kept cookies change.
func TestJarTag(t *testing.T) {
	jarStores(t, func(t *testing.T, option string) {
		s := serveJar(t, option, "keep PHPSESSID other\nseal prefs\nsign lang\nkeys "+cookieKey)
		r := s.get("/?set=a%3Db", "")
		bare := r.cookie()
		if bare == "" || tagOf(bare) != "" {
			t.Fatalf("without kept cookies: %q", r.raw)
		}
		seen := map[string]bool{"": true}
		cookie := bare
		// changes is a response after which the Cookie header must be another.
		changes := func(why, target string) {
			t.Helper()
			r := s.get(target, cookie)
			next := r.cookie()
			if next == "" || untagged(next) != bare || seen[tagOf(next)] {
				t.Errorf("%s: %q", why, r.raw)
			}
			if r.Header.Get("Cache-Control") != "private" {
				t.Errorf("%s: Cache-Control: %s", why, r.Header.Get("Cache-Control"))
			}
			cookie = next
			seen[tagOf(next)] = true
		}
		stays := func(why, target string) {
			t.Helper()
			if r := s.get(target, cookie); r.cookie() != "" {
				t.Errorf("%s: %q", why, r.raw)
			}
		}
		stays("nothing is kept", "/")
		changes("the first", setting("PHPSESSID=one; Path=/"))
		first := cookie
		stays("a page", "/")
		stays("the same again", setting("PHPSESSID=one; Path=/"))
		stays("an expiry that moves", setting("PHPSESSID=one; Path=/"))
		stays("what is not kept", setting("theme=dark", "prefs=p", "lang=en"))
		stays("session data", "/?set=c%3Dd")
		changes("another value", setting("PHPSESSID=two; Path=/"))
		changes("another cookie", setting("other=x; Path=/dir"))
		// The same contents have the same tag.
		if r := s.get(setting("PHPSESSID=one; Path=/", "other=; Path=/dir; Max-Age=0"), cookie); r.cookie() != first {
			t.Errorf("back again: %q, want %s", r.raw, first)
		}
		if r := s.get(setting("PHPSESSID=; Path=/; Max-Age=0"), first); r.cookie() != bare {
			t.Errorf("the last one goes: %q", r.raw)
		}
		cookie = bare

		// A response got lost: the next one has it, unless a cache could store it.
		lost := s.get(setting("PHPSESSID=three; Path=/"), cookie).cookie()
		for _, lines := range []string{"h.Cache-Control=public", "h.Age=5"} {
			stays(lines, "/?"+lines)
		}
		if r := s.get("/?h.Cache-Control=max-age%3D60", cookie); r.cookie() != lost || r.Header.Get("Cache-Control") != "max-age=60, private" {
			t.Errorf("after a response got lost: %q", r.raw)
		}
		if r := s.get("/", cookie); r.cookie() != lost || r.body != sees("PHPSESSID=three") {
			t.Errorf("after a response got lost: %q", r.raw)
		}
		// Tags are not checked: whichever comes, the token counts.
		for _, tag := range []string{"", ".AAAAAAAA", "." + tagOf(first)} {
			if r := s.get("/", bare+tag); r.cookie() != lost || r.body != sees("PHPSESSID=three") {
				t.Errorf("the tag %q: %q", tag, r.raw)
			}
		}
		for _, tag := range []string{".", ".AAAAAAA", ".AAAAAAAAA", ".AAAA+AAA", ".AAAAAAA=", lost[len(bare):] + lost[len(bare):]} {
			if r := s.get("/", bare+tag); r.cookie() != "" || r.body != sees() {
				t.Errorf("the tag %q: %q", tag, r.raw)
			}
		}
		// One token with two tags is one session, and not two planted ones.
		for range 2 {
			if r := s.get("/", lost+"; "+bare+"; "+first); r.body != sees("PHPSESSID=three") {
				t.Errorf("three cookies with one token: %q", r.raw)
			}
		}
		// A new secret comes with the tag, and forbids to store the page.
		r = s.get("/?set=user%3Dalice", lost)
		if next := r.cookie(); untagged(next) == bare || tagOf(next) != tagOf(lost) || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("signing in: %q", r.raw)
		}
		// A stale request has no session, and gets no cookie for its tag.
		for _, tag := range []string{"", "." + tagOf(first)} {
			for _, target := range []string{"/", setting("PHPSESSID=four; Path=/")} {
				if r := s.get(target, bare+tag); r.StatusCode != http.StatusOK || r.cookie() != "" || r.body != sees() {
					t.Errorf("stale, with the tag %q: %q", tag, r.raw)
				}
			}
		}
	})
}

// A slow response must not put an old secret in the place of a new one, nor bring
// back a session that has ended.
func TestJarTagOfASlowResponse(t *testing.T) {
	g := &gate{arrived: make(chan struct{}, 100), open: make(chan struct{})}
	g.application = app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("wait") {
			g.arrived <- struct{}{}
			<-g.open
		}
		cookieApp(w, r)
	})
	s := serve(t, probed, "session {\n\tcookies {\n\t\tkeep PHPSESSID\n\t}\n}\nreverse_proxy "+g.host())
	for _, meanwhile := range []string{"/?control=renew", "/?set=user%3Dalice", "/?control=clear", "/?control=destroy", "/"} {
		g.open = make(chan struct{})
		first := s.get(setting("PHPSESSID=one; Path=/"), "").cookie()
		lost := s.get(setting("PHPSESSID=two; Path=/"), first).cookie()
		slow := s.getLater(g, "/page?", first)
		s.get(meanwhile, lost)
		close(g.open)
		want := ""
		if meanwhile == "/" {
			want = lost
		}
		if r := s.await(slow); r.StatusCode != http.StatusOK || r.cookie() != want {
			t.Errorf("meanwhile %s: %q, want the cookie %q", meanwhile, r.raw, want)
		}
	}
	// The store can't say: nothing is sent, and the page is served.
	g.open = make(chan struct{})
	first := s.get(setting("PHPSESSID=one; Path=/"), "").cookie()
	s.get(setting("PHPSESSID=two; Path=/"), first)
	slow := s.getLater(g, "/page?", first)
	down.Store(true)
	defer down.Store(false)
	close(g.open)
	if r := s.await(slow); r.StatusCode != http.StatusOK || r.cookie() != "" || r.body != sees("PHPSESSID=two") {
		t.Errorf("with the store down: %q", r.raw)
	}
}

// TestJarTagOfACachedPage: what a browser has cached with other kept cookies than
// the application gets is asked for anew.
func TestJarTagOfACachedPage(t *testing.T) {
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		cookieApp(w, r)
	})
	s := serve(t, probed, "session {\n\ton_store_error pass\n\tcookies {\n\t\tkeep PHPSESSID\n\t}\n}\nreverse_proxy "+a.host())
	validators := []string{"If-None-Match: \"a\"", "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT"}
	get := func(why, cookie string, want int) {
		t.Helper()
		for _, lines := range [][]string{validators[:1], validators[1:], validators} {
			if r := s.get("/page", cookie, lines...); r.StatusCode != want {
				t.Errorf("%s, with %s: %s, want %d", why, lines, r.Status, want)
			}
		}
	}
	get("no session", "", http.StatusNotModified)
	bare := s.get("/?set=a%3Db", "").cookie()
	get("a session without kept cookies", bare, http.StatusNotModified)
	one := s.get(setting("PHPSESSID=one; Path=/"), bare).cookie()
	get("the kept cookies of then", one, http.StatusNotModified)
	two := s.get(setting("PHPSESSID=two; Path=/"), one).cookie()
	get("the kept cookies of then", two, http.StatusNotModified)
	get("another kept cookie", one, http.StatusOK)
	get("the first kept cookie", bare, http.StatusOK)
	down.Store(true)
	get("the store is down", two, http.StatusOK)
	get("the store is down, without kept cookies", bare, http.StatusNotModified)
	down.Store(false)
	s.get("/?control=destroy", two)
	get("the session has ended", two, http.StatusOK)
	get("the session has ended, without kept cookies", bare, http.StatusNotModified)
}

// TestJarPersistent: our cookie outlives the browser while a kept one does.
func TestJarPersistent(t *testing.T) {
	const day = 24 * 60 * 60
	jarStores(t, func(t *testing.T, option string) {
		s := serveJar(t, option, "keep *")
		cookie := ""
		step := func(why, line string, sent bool, age int) {
			t.Helper()
			r := s.get(setting(line), cookie)
			got := 0
			for _, c := range r.Cookies() {
				if got = c.MaxAge; (c.Name != "csid") || !sent {
					t.Errorf("%s: %q", why, r.raw)
				}
			}
			if len(r.Cookies()) == 0 && sent || got > age || got < age-10 {
				t.Errorf("%s: Max-Age=%d, want %d: %q", why, got, age, r.raw)
			}
			if first := cookie == ""; sent && r.Header.Get("Cache-Control") != map[bool]string{true: "no-store", false: "private"}[first] {
				t.Errorf("%s: Cache-Control: %s", why, r.Header.Get("Cache-Control"))
			}
			if next := r.cookie(); next != "" {
				if cookie != "" && untagged(next) != untagged(cookie) {
					t.Errorf("%s: another token: %s", why, next)
				}
				cookie = next
			}
		}
		step("signed in", "id=1; Path=/", true, 0)
		step("the same value, remembered", "id=1; Path=/; Max-Age=604800", true, 7*day)
		step("once more", "id=1; Path=/; Max-Age=604800", false, 0)
		step("longer than remember", "other=1; Path=/; Max-Age=31536000", true, 30*day)
		step("another value, which ends with the browser", "id=2; Path=/", true, 30*day)
		step("the other goes", "other=; Path=/; Max-Age=0", true, 0)
		step("shorter than the lifetime", "id=2; Path=/; Max-Age=3600", true, day)
		step("no more", "id=2; Path=/", true, 0)
	})
}

// A message that is shown once is a persistent cookie, too: when it has gone, the
// cookie of the session ends with the browser again.
func TestJarPersistentForAMoment(t *testing.T) {
	s := serveJar(t, storeOption("memory"), "keep *")
	first := s.get(setting("id=1; Path=/"), "").cookie()
	r := s.get(setting("flash=saved; Path=/; Max-Age=2"), first)
	if len(r.Cookies()) != 1 || r.Cookies()[0].MaxAge < 60 {
		t.Fatalf("with a message: %q", r.raw)
	}
	cookie := r.cookie()
	eventually(t, "the message has gone", func() bool { r = s.get("/", cookie); return r.body == sees("id=1") })
	if len(r.Cookies()) != 1 || r.Cookies()[0].MaxAge != 0 || r.cookie() != first {
		t.Errorf("after the message: %q", r.raw)
	}
}
