package e2e

import (
	"fmt"
	"net/http"
	"testing"
)

// TestCachingHeadersOfAssets: what a page is made of may stay in the browser's
// cache, whatever the application's cookies do.
func TestCachingHeadersOfAssets(t *testing.T) {
	a := app(t, cookieApp)
	s := serve(t, probed, "session {\n\tcookies {\n\t\tkeep k\n\t}\n}\nreverse_proxy "+a.host())
	kept := s.get(setting("k=1; Path=/"), "").cookie()
	alice := s.get("/?set=user%3Dalice", "").cookie()
	data := s.get("/?set=theme%3Ddark", "").cookie()
	css, page := "h.Content-Type=text/css", "h.Content-Type=text/html"
	for _, tt := range []struct {
		name, cookie, target, destination string
		vary, control                     string
	}{
		{"anonymous", "", css, "style", "", ""},
		{"with another cookie", "app=1", css, "style", "", ""},
		{"without metadata", "", css, "", "", ""},
		{"a page", "", page, "document", "Cookie", ""},
		{"an asset as a page", "", css, "document", "Cookie", ""},
		{"a page as an asset", "", page, "style", "Cookie", ""},
		{"its own Vary", "", css + "&h.Vary=Accept", "style", "Accept", ""},
		{"not modified", "", "status=304&h.Etag=x", "style", "", ""},
		{"kept cookies alone", kept, css, "style", "", "private"},
		{"kept cookies, a page", kept, page, "document", "Cookie", "private"},
		{"signed in", alice, css, "style", "Cookie", "private"},
		{"with data", data, css, "style", "Cookie", "private"},
		{"a dead session", "csid=" + sessionID(kept) + ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", css, "style", "", ""},
		{"signing in", "", css + "&set=user%3Dalice", "style", "", "no-store"},
	} {
		var lines []string
		if tt.destination != "" {
			lines = append(lines, "Sec-Fetch-Dest: "+tt.destination)
		}
		r := s.get("/?"+tt.target, tt.cookie, lines...)
		if r.Header.Get("Vary") != tt.vary || r.Header.Get("Cache-Control") != tt.control {
			t.Errorf("%s: %q, want Vary: %s, Cache-Control: %s", tt.name, r.raw, tt.vary, tt.control)
		}
	}
	// Who is there can't be told, so nothing is.
	s.load(probed, "session {\n\ton_store_error pass\n}\nreverse_proxy "+a.host())
	down.Store(true)
	defer down.Store(false)
	if r := s.get("/?"+css, alice, "Sec-Fetch-Dest: style"); r.StatusCode != http.StatusOK || r.Header.Get("Vary") != "Cookie" {
		t.Errorf("with the store down: %q", r.raw)
	}
}

// TestBrowserCacheOfAssets has a browser open pages whose cookie changes with each,
// as it does with applications that keep sessions in it.
func TestBrowserCacheOfAssets(t *testing.T) {
	for _, front := range []struct{ name, site string }{{"bare", ""}, {"plain", "session\n"}, {"kept", keepAll("")}} {
		t.Run(front.name, func(t *testing.T) {
			assets := make(chan string, 1000)
			pages := 0
			a := app(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
				switch r.URL.Path {
				case "/a.css", "/a.js", "/a.svg":
					w.Header().Set("Content-Type", map[string]string{"/a.css": "text/css", "/a.js": "text/javascript", "/a.svg": "image/svg+xml"}[r.URL.Path])
					assets <- r.URL.Path
				case "/page":
					pages++
					http.SetCookie(w, &http.Cookie{Name: "app", Value: fmt.Sprint(pages), Path: "/"})
					w.Header().Set("Content-Type", "text/html")
					w.Header().Set("Cache-Control", "no-store")
					fmt.Fprint(w, `<!doctype html><link rel=stylesheet href=/a.css><script src=/a.js></script><img src=/a.svg><a href=/page>next</a>`)
				}
			})
			origin, trust := serveHTTPS(t, front.site+"reverse_proxy "+a.host())
			b := browse(t, trust)
			for i := range 4 {
				b.open(fmt.Sprintf("%s/page?%d", origin, i))
			}
			if pages != 4 || len(assets) != 3 {
				t.Errorf("for %d pages the application was asked for %d assets, want 4 and 3", pages, len(assets))
			}
		})
	}
}
