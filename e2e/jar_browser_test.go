package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"html"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-session/caddy-session/internal/selfsigned"
)

// oldApp is an application that knows nothing of sessions in front of it. It
// signs users in with a cookie of its own, and lets browsers cache its pages.
type oldApp struct {
	*application
	mu     sync.Mutex
	users  map[string]string // by cookie
	served map[string]int    // full responses by path
}

func newOldApp(t *testing.T) *oldApp {
	o := &oldApp{users: map[string]string{}, served: map[string]int{}}
	o.application = app(t, o.serve)
	return o
}

func (o *oldApp) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	user := "nobody"
	if c, err := r.Cookie("SID"); err == nil && o.users[c.Value] != "" {
		user = o.users[c.Value]
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	switch r.URL.Path {
	case "/in":
		c := http.Cookie{Name: "SID", Value: rand.Text(), Path: "/", HttpOnly: true}
		if r.URL.Query().Has("remember") {
			c.MaxAge = 7 * 24 * 60 * 60
		}
		user = r.URL.Query().Get("name")
		o.users[c.Value] = user
		http.SetCookie(w, &c)
	case "/out":
		http.SetCookie(w, &http.Cookie{Name: "SID", Path: "/", MaxAge: -1})
		user = "nobody"
	case "/fresh": // for a minute
		h.Set("Cache-Control", "private, max-age=60")
		h.Set("Vary", "Cookie")
	case "/asked": // each time
		h.Set("Cache-Control", "private, max-age=0, must-revalidate")
		h.Set("Vary", "Accept-Encoding, Cookie")
		h.Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
		if r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	o.served[r.URL.Path]++
	h.Set("Content-Type", "text/html")
	fmt.Fprintf(w, `<!doctype html><title>x</title><p>%s</p>`, html.EscapeString(user))
	for _, path := range []string{"/fresh", "/asked", "/other", "/out", "/who", "/in?name=alice", "/in?name=alice&remember", "/in?name=bob"} {
		fmt.Fprintf(w, `<a href="%[1]s">%[1]s</a> `, html.EscapeString(path))
	}
}

func (o *oldApp) count(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.served[path]
}

// serveHTTPS serves a site to browsers, and returns its address and the flag
// that has Chromium trust it: it caches nothing from hosts with certificate errors.
func serveHTTPS(t *testing.T, site string) (origin, trust string) {
	t.Helper()
	s := serve(t, storeOption("memory"), "respond OK")
	cert, key, _ := selfsigned.Localhost(t)
	_, port, _ := net.SplitHostPort(freeAddr(t))
	origin = "https://localhost:" + port
	if err := s.try(storeOption("memory"), fmt.Sprintf("%s {\ntls %s %s\n%s\n}", origin, cert, key, site)); err != nil {
		t.Fatal(err)
	}
	return origin, trusting(t, cert, key)
}

// trusting returns the flag that has Chromium trust a certificate.
func trusting(t *testing.T, cert, key string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(pair.Leaf.RawSubjectPublicKeyInfo)
	return "--ignore-certificate-errors-spki-list=" + base64.StdEncoding.EncodeToString(sum[:])
}

// keepAll is the handler with all cookies kept, and options.
func keepAll(options string) string {
	return "session {\n" + options + "\n\tcookies {\n\t\tkeep *\n\t}\n}\n"
}

// TestBrowserCacheOfKeptCookies has a browser cache pages that vary by Cookie:
// with the application's cookies kept, it must show what it shows without us.
func TestBrowserCacheOfKeptCookies(t *testing.T) {
	seen := map[string][]string{}
	for _, front := range []struct{ name, site string }{{"bare", ""}, {"kept", keepAll("")}} {
		t.Run(front.name, func(t *testing.T) {
			o := newOldApp(t)
			origin, trust := serveHTTPS(t, front.site+"reverse_proxy "+o.host())
			b := browse(t, trust, "--disable-features=BackForwardCache") // which has pages as they were, whatever caches say
			shows := func(step, want string) {
				t.Helper()
				got := b.script("document.querySelector('p').innerText")
				seen[front.name] = append(seen[front.name], step+": "+got)
				if got != want {
					t.Errorf("%s: %s shows %s, want %s", step, b.script("location.pathname"), got, want)
				}
			}
			follow := func(path, want string) {
				t.Helper()
				b.click(fmt.Sprintf("a[href='%s']", path))
				shows(path, want)
			}
			b.open(origin + "/fresh")
			shows("first", "nobody")
			follow("/in?name=alice", "alice")
			for range 2 {
				follow("/fresh", "alice")
				follow("/asked", "alice")
				follow("/other", "alice")
			}
			if fresh, asked := o.count("/fresh"), o.count("/asked"); fresh != 2 || asked != 1 {
				t.Errorf("the browser's cache is not in use: the application has served /fresh %d times, want 2, /asked %d, want 1", fresh, asked)
			}
			follow("/out", "nobody")
			follow("/fresh", "nobody")
			follow("/asked", "nobody")
			follow("/other", "nobody")
			b.back()
			shows("back to /asked", "nobody")
			b.back()
			shows("back to /fresh", "nobody")
			b.back() // to /out
			b.back() // to /other
			b.back()
			shows("back to /asked of before", "nobody")
			b.back()
			shows("back to /fresh of before", "nobody")
			follow("/in?name=bob", "bob")
			follow("/fresh", "bob")
			follow("/asked", "bob")
		})
	}
	if !slices.Equal(seen["bare"], seen["kept"]) {
		t.Errorf("bare:\n%s\nkept:\n%s", strings.Join(seen["bare"], "\n"), strings.Join(seen["kept"], "\n"))
	}
}

// TestBrowserRemembersKeptCookies closes the browser and starts it again: who
// has asked to be remembered is signed in still, and nobody else.
func TestBrowserRemembersKeptCookies(t *testing.T) {
	for _, front := range []struct {
		name, site string
		always     bool // the setting says that sessions outlive the browser
	}{
		{"bare", "", false},
		{"kept", keepAll(""), false},
		{"kept, persistent", keepAll("cookie {\npersistent\n}"), true},
	} {
		t.Run(front.name, func(t *testing.T) {
			o := newOldApp(t)
			origin, trust := serveHTTPS(t, front.site+"reverse_proxy "+o.host())
			profile := t.TempDir()
			b := browseIn(t, profile, trust)
			for _, step := range []struct {
				path string
				want bool
			}{
				{"/in?name=alice", front.always},
				{"/in?name=alice&remember", true},
				{"/in?name=alice", front.always}, // the cookie ends with the browser again
				{"/out", false},
			} {
				b.open(origin + step.path)
				b.open(origin + "/who")
				b.quit()
				b = browseIn(t, profile, trust)
				b.open(origin + "/who")
				got := b.script("document.querySelector('p').innerText")
				if (got == "alice") != step.want {
					t.Errorf("after %s and a restart of the browser: %s", step.path, got)
				}
				for _, c := range b.cookies() {
					t.Logf("after %s and a restart: %s, Session: %t", step.path, c.Name, c.Session)
				}
			}
		})
	}
}
