package e2e

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-session/caddy-session/internal/selfsigned"
	"github.com/caddy-session/caddy-session/session"
)

// signInApp is an application with sessions of its own: /in begins one, in a cookie
// that the query names, and one of ours.
type signInApp struct {
	mu    sync.Mutex
	users map[string]string
	leaks []string // Cookie lines with a token of ours
}

func (a *signInApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range r.Cookies() {
		if session.IsCookie(c.Value) {
			a.leaks = append(a.leaks, c.Name+" at "+r.URL.Path)
		}
	}
	name := r.FormValue("name")
	if r.URL.Path == "/in" {
		c := http.Cookie{Name: name, Value: rand.Text(), Path: "/", Secure: strings.HasPrefix(name, "__")}
		a.users[c.Value] = "alice"
		http.SetCookie(w, &c)
		w.Header().Set("X-Session-Set", "user=alice")
	}
	own := ""
	if c, err := r.Cookie(name); err == nil {
		own = a.users[c.Value]
	}
	fmt.Fprintf(w, "own=%s ours=%s", own, r.Header.Get("X-Session-User"))
}

// twoSchemes is a host that Caddy serves on plain HTTP and on HTTPS.
type twoSchemes struct {
	*server
	*signInApp
	plain, secure string // URLs without a path
	pool          *x509.CertPool
}

// serveBoth loads what is inside of the block of both sites.
func serveBoth(t *testing.T) *twoSchemes {
	h := &twoSchemes{server: serve(t, storeOption("memory"), "respond OK"), signInApp: &signInApp{users: map[string]string{}}}
	_, port, _ := net.SplitHostPort(h.addr)
	h.plain = "http://localhost:" + port
	_, port, _ = net.SplitHostPort(freeAddr(t))
	h.secure = "https://localhost:" + port
	return h
}

func (h *twoSchemes) site(t *testing.T, site string) {
	t.Helper()
	cert, key, pool := selfsigned.Localhost(t)
	h.pool = pool
	site += "\nreverse_proxy " + app(t, h.signInApp.ServeHTTP).host()
	if err := h.try(storeOption("memory"), fmt.Sprintf("%s {\n%s\n}\n%s {\ntls %s %s\n%s\n}", h.plain, site, h.secure, cert, key, site)); err != nil {
		t.Fatal(err)
	}
}

// browser returns a client that keeps cookies as browsers do: by host, not by port.
func (h *twoSchemes) browser(t *testing.T) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, Timeout: timeout}
}

func open(t *testing.T, c *http.Client, target string) string {
	t.Helper()
	r, err := c.Get(target)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// ours returns the session cookie that a browser holds for a URL, but not one of the
// name other.
func ours(t *testing.T, c *http.Client, at, other string) *http.Cookie {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range c.Jar.Cookies(u) {
		if session.IsCookie(cookie.Value) && cookie.Name != other {
			return cookie
		}
	}
	t.Fatalf("the browser has no session cookie for %s", at)
	return nil
}

// An application may call its cookies as it likes. The one name that it can't have,
// unless the cookie is kept, is the name of ours on the same scheme.
func TestApplicationsCookieNames(t *testing.T) {
	h := serveBoth(t)
	h.site(t, "session")
	names := map[string]string{}
	for _, base := range []string{h.plain, h.secure} {
		b := h.browser(t)
		open(t, b, base+"/in?name=other")
		names[base] = ours(t, b, base, "").Name
	}
	if names[h.plain] == names[h.secure] {
		t.Fatalf("one name for both: %v", names)
	}
	const keep = "cookies {\nkeep *\n}"
	for _, tt := range []struct {
		why, name, block string
		base             string
		lost             bool
	}{
		{"sid, plain", "sid", "", h.plain, false},
		{"sid, HTTPS", "sid", "", h.secure, false},
		{"sid kept, plain", "sid", keep, h.plain, false},
		{"sid kept, HTTPS", "sid", keep, h.secure, false},
		{"ours, plain", names[h.plain], "", h.plain, true},
		{"ours on plain HTTP, HTTPS", names[h.plain], "", h.secure, false},
		{"ours on plain HTTP, HTTPS always", names[h.plain], "cookie {\nsecure on\n}", h.secure, false},
		{"ours on HTTPS, HTTPS", names[h.secure], "", h.secure, true},
		{"ours kept, plain", names[h.plain], keep, h.plain, false},
		{"ours on plain HTTP kept, HTTPS", names[h.plain], keep, h.secure, false},
		{"ours on HTTPS kept, HTTPS", names[h.secure], keep, h.secure, false},
		{"ours kept by name, plain", names[h.plain], "cookies {\nkeep " + names[h.plain] + "\n}", h.plain, false},
		{"ours with another name, plain", names[h.plain], "cookie {\nname shop\n}", h.plain, false},
		{"another name of ours kept, plain", "shop", "cookie {\nname shop\n}\n" + keep, h.plain, false},
		{"kept, and a handler inside", names[h.plain], keep + "\n}\nsession {\nheader_prefix X-Inner-", h.plain, false},
		{"kept, and a handler inside, HTTPS", names[h.secure], keep + "\n}\nsession {\nheader_prefix X-Inner-", h.secure, false},
	} {
		t.Run(tt.why, func(t *testing.T) {
			h.site(t, "session {\n"+tt.block+"\n}")
			b := h.browser(t)
			warnings := func() int {
				return len(h.logged(`"level":"warn"`, "cookie { name ... }", `"names":["`+tt.name+`"]`))
			}
			before := warnings()
			open(t, b, tt.base+"/in?name="+tt.name)
			want := "own=alice ours=alice"
			if tt.lost {
				want = "own= ours=alice"
			}
			for range 2 {
				if got := open(t, b, tt.base+"/?name="+tt.name); got != want {
					t.Errorf("the page says %q, want %q", got, want)
				}
			}
			if warned := warnings() > before; warned != tt.lost {
				t.Errorf("warned: %v", warned)
			}
			if len(h.leaks) > 0 {
				t.Errorf("the application has seen tokens: %q", h.leaks)
			}
			h.leaks = nil
		})
	}
}

// A host on both schemes: what plain HTTP has set, browsers send over HTTPS. It is a
// secret there, whatever cookies of that name the application has.
func TestPlainSessionCookieOnHTTPS(t *testing.T) {
	for why, block := range map[string]string{"auto": "session", "rules": "session {\ncookies {\npass other\n}\n}"} {
		t.Run(why, func(t *testing.T) {
			h := serveBoth(t)
			h.site(t, block)
			b := h.browser(t)
			open(t, b, h.plain+"/in?name=other")
			plain := ours(t, b, h.plain, "")
			if got := open(t, b, h.secure+"/?name="+plain.Name); got != "own= ours=" {
				t.Errorf("HTTPS, with the cookie of plain HTTP: %q", got)
			}
			open(t, b, h.secure+"/in?name=other")
			secure := ours(t, b, h.secure, plain.Name)
			for _, tt := range []struct{ base, cookie, want string }{
				{h.secure, plain.Name + "=" + secure.Value, "own= ours="},
				{h.secure, secure.Name + "=" + plain.Value, "own= ours="},
				{h.secure, secure.String() + "; " + plain.Name + "=\"" + plain.Value + "\"; a=b, " + plain.String(), "own= ours=alice"},
				{h.plain, plain.Name + "=" + secure.Value, "own= ours="},
				{h.plain, secure.String(), "own= ours="},
			} {
				r, err := http.NewRequest("GET", tt.base+"/?name="+plain.Name, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Cookie", tt.cookie)
				response, err := b.Transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(response.Body)
				response.Body.Close()
				if string(body) != tt.want {
					t.Errorf("%s with %s: %q, want %q", tt.base, tt.cookie, body, tt.want)
				}
			}
			if len(h.leaks) > 0 {
				t.Errorf("the application has seen tokens: %q", h.leaks)
			}
		})
	}
}
