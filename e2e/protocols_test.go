package e2e

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProtocols(t *testing.T) {
	a := app(t, scripted)
	eachClient(t, "session\nreverse_proxy "+a.host(), func(t *testing.T, c *client) {
		r := c.do("GET", "/?set=user%3Dalice&status=303&h.Location=/", nil)
		line := r.Header.Get("Set-Cookie")
		if r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(line, "__Host-csid=") ||
			!strings.HasSuffix(line, "; Path=/; HttpOnly; Secure; SameSite=Lax") {
			t.Fatalf("signing in: %s %q", r.Status, r.Header)
		}
		c.cookie = r.cookie()
		if r = c.do("GET", "/", nil); !strings.Contains(r.body, `user=alice data={"user":"alice"} version=1`) {
			t.Errorf("after signing in: %s", r.body)
		}
		c.do("POST", "/?set=lang%3Dfr&unset=nothing", nil)
		if r = c.do("GET", "/", nil); !strings.Contains(r.body, `data={"lang":"fr","user":"alice"} version=2`) {
			t.Errorf("after a change: %s", r.body)
		}
		r = c.do("HEAD", "/?set=seen%3Dhead", nil)
		if r.StatusCode != http.StatusOK || r.body != "" {
			t.Errorf("HEAD: %s %q", r.Status, r.body)
		}
		r = c.do("GET", "/?set=cached%3Dyes&status=304&h.Etag=%22x%22", http.Header{"If-None-Match": {`"x"`}})
		if r.StatusCode != http.StatusNotModified || r.body != "" || r.Header.Get("Etag") != `"x"` {
			t.Errorf("304: %s %q", r.Status, r.Header)
		}
		if r = c.do("GET", "/", nil); !strings.Contains(r.body, `"seen":"head"`) || !strings.Contains(r.body, `"cached":"yes"`) {
			t.Errorf("after HEAD and 304: %s", r.body)
		}
		if r = c.do("GET", "/?set=nonsense", nil); r.StatusCode != http.StatusBadGateway {
			t.Errorf("a malformed header: %s", r.Status)
		}
		r = c.do("GET", "/?control=destroy&status=204", nil)
		if line := r.Header.Get("Set-Cookie"); r.StatusCode != http.StatusNoContent ||
			line != "__Host-csid=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax" {
			t.Errorf("signing out: %s %q", r.Status, line)
		}
		if r = c.do("GET", "/", nil); !strings.Contains(r.body, "user= data= version= id=\n") {
			t.Errorf("after signing out: %s", r.body)
		}
	})
}

func TestTrailers(t *testing.T) {
	a := app(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Trailer", "X-Sum, X-Session-Set, x-session-late")
		h.Set("X-Session-Set", "user=alice")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		h.Set("X-Sum", "42")
		h.Set("X-Session-Set", "user=mallory")
		h.Set("X-Session-Late", "1")
		h.Set(http.TrailerPrefix+"X-Unannounced", "7")
		h.Set(http.TrailerPrefix+"X-Session-Control", "destroy")
		h.Set(http.TrailerPrefix+"X_Session_Set", "user=mallory")
	})
	eachClient(t, "session\nreverse_proxy "+a.host(), func(t *testing.T, c *client) {
		r := c.do("GET", "/", http.Header{"Te": {"trailers"}})
		c.cookie = r.cookie()
		if r.body != "body" || c.cookie == "" {
			t.Errorf("response %q %q", r.Header, r.body)
		}
		c.do("GET", "/", nil)
		if got := a.last().Header.Get("X-Session-User"); got != "alice" {
			t.Errorf("the user is %q", got)
		}
		if r.ProtoMajor == 1 && r.ProtoMinor == 0 {
			return // it has no trailers
		}
		if got := r.Trailer.Get("X-Sum"); got != "42" {
			t.Errorf("the announced trailer is %q of %q", got, r.Trailer)
		}
		if got := r.Trailer.Get("X-Unannounced"); got != "7" {
			t.Errorf("the unannounced trailer is %q of %q", got, r.Trailer)
		}
	})
}

func TestEarlyHints(t *testing.T) {
	a := app(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Link", "</style.css>; rel=preload")
		h.Set("X-Session-Set", "user=mallory")
		h.Add("Set-Cookie", "__Host-csid=mallory")
		w.WriteHeader(http.StatusEarlyHints)
		h.Set("X-Session-Set", "user=alice")
		h.Set("Set-Cookie", "theme=dark")
		io.WriteString(w, "body")
	})
	eachClient(t, "session\nreverse_proxy "+a.host(), func(t *testing.T, c *client) {
		r, interim := c.start("GET", "/", nil)
		defer r.Body.Close()
		if len(interim) != 1 && r.ProtoAtLeast(1, 1) {
			t.Fatalf("%d interim responses", len(interim))
		}
		for _, h := range interim {
			if h.Get("Link") == "" {
				t.Errorf("the hints have no Link: %q", h)
			}
			if h.Get("Set-Cookie") != "" || h.Get("Vary") != "" || h.Get("Cache-Control") != "" {
				t.Errorf("the hints have a header of the final response: %q", h)
			}
			noManagedNames(t, h)
		}
		noManagedNames(t, r.Header)
		lines := r.Header.Values("Set-Cookie")
		if len(lines) != 2 || !strings.Contains(fmt.Sprint(lines), "theme=dark") || strings.Count(fmt.Sprint(lines), "__Host-csid=") != 1 {
			t.Errorf("cookies %q", lines)
		}
		if got := r.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control %q", got)
		}
		c.cookie = (&response{Response: r}).cookie()
		c.do("GET", "/", nil)
		if got := a.last().Header.Get("X-Session-User"); got != "alice" {
			t.Errorf("the user is %q", got)
		}
	})
}

// Each part of a stream has to arrive before the application goes on, which it
// does when the client says so.
func TestStreams(t *testing.T) {
	next := make(chan struct{})
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Session-Set", "user=alice")
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		for i := range 3 {
			if i > 0 || r.URL.Query().Has("head") {
				w.(http.Flusher).Flush()
				select {
				case <-next:
				case <-r.Context().Done():
					return
				}
			}
			fmt.Fprintf(w, "data: %d\n\n", i)
		}
	})
	for _, test := range []struct{ name, site, target string }{
		{"events", "reverse_proxy " + a.host(), "/?type=text/event-stream"},
		{"events after a flushed head", "reverse_proxy " + a.host(), "/?head&type=text/event-stream"},
		{"chunks", "reverse_proxy " + a.host(), "/?type=text/plain"},
		{"flush_interval", "reverse_proxy " + a.host() + " {\nflush_interval -1\n}", "/?type=text/plain"},
		{"encode", "encode gzip\nreverse_proxy " + a.host(), "/?type=text/event-stream"},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachClient(t, "session\n"+test.site, func(t *testing.T, c *client) {
				r, _ := c.start("GET", test.target, nil)
				defer r.Body.Close()
				if !strings.Contains(r.Header.Get("Set-Cookie"), "__Host-csid=") {
					t.Errorf("no cookie: %q", r.Header)
				}
				noManagedNames(t, r.Header)
				for i := range 3 {
					if i > 0 || strings.Contains(test.target, "head") {
						select {
						case next <- struct{}{}:
						case <-time.After(timeout):
							t.Fatal("the application does not go on")
						}
					}
					event := make([]byte, len("data: 0\n\n"))
					if _, err := io.ReadFull(r.Body, event); err != nil || string(event) != fmt.Sprintf("data: %d\n\n", i) {
						t.Fatalf("part %d: %q, %v", i, event, err)
					}
				}
				if rest, err := io.ReadAll(r.Body); err != nil || len(rest) > 0 {
					t.Errorf("after the end: %q, %v", rest, err)
				}
			})
		})
	}
}

func TestFiles(t *testing.T) {
	root := t.TempDir()
	content := make([]byte, 1<<20)
	rand.Read(content)
	if err := os.WriteFile(filepath.Join(root, "file.bin"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	a := app(t, scripted)
	site := fmt.Sprintf("root %s\nsession\nhandle /app* {\nreverse_proxy %s\n}\nhandle {\nfile_server\n}", root, a.host())
	eachClient(t, site, func(t *testing.T, c *client) {
		check := func(who, cacheControl string) {
			t.Helper()
			r := c.do("GET", "/file.bin", nil)
			if r.StatusCode != http.StatusOK || !bytes.Equal([]byte(r.body), content) {
				t.Errorf("%s: %s and %d bytes that differ", who, r.Status, len(r.body))
			}
			if got := r.Header.Get("Cache-Control"); got != cacheControl || !strings.Contains(fmt.Sprint(r.Header.Values("Vary")), "Cookie") {
				t.Errorf("%s: Cache-Control %q, Vary %q", who, got, r.Header.Values("Vary"))
			}
			etag := r.Header.Get("Etag")
			if r = c.do("GET", "/file.bin", http.Header{"If-None-Match": {etag}}); etag == "" || r.StatusCode != http.StatusNotModified || r.body != "" {
				t.Errorf("%s: not modified: %s", who, r.Status)
			}
			r = c.do("GET", "/file.bin", http.Header{"Range": {"bytes=1000-1999"}})
			if r.StatusCode != http.StatusPartialContent || !bytes.Equal([]byte(r.body), content[1000:2000]) {
				t.Errorf("%s: range: %s and %d bytes", who, r.Status, len(r.body))
			}
			r = c.do("HEAD", "/file.bin", nil)
			if r.StatusCode != http.StatusOK || r.ContentLength != int64(len(content)) || r.body != "" {
				t.Errorf("%s: HEAD: %s with Content-Length %d", who, r.Status, r.ContentLength)
			}
		}
		check("anonymous", "")
		c.cookie = c.do("GET", "/app?set=user%3Dalice", nil).cookie()
		check("signed in", "private")
	})
}
