package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// withheld are header lines of which the client gets none if the commit fails.
const withheld = "X-App: withheld\r\nLocation: /withheld\r\nSet-Cookie: withheld=1\r\nETag: \"withheld\"\r\nCache-Control: max-age=60\r\n" +
	"Content-Type: text/withheld\r\nX-Session-Whatever: withheld\r\n"

func TestRule3WithholdsWhatWasNotSaved(t *testing.T) {
	const change = "X-Session-Set: user=mallory\r\n"
	large := strings.Repeat("withheld", 1<<17)
	tests := []struct {
		name     string
		method   string // default GET
		response string // after "HTTP/1.1 "
		upgrade  bool
	}{
		{name: "page", response: "200 OK\r\n" + withheld + change + "Content-Length: 8\r\n\r\nwithheld"},
		{name: "large page", response: fmt.Sprintf("200 OK\r\n%sContent-Length: %d\r\n\r\n%s", withheld+change, len(large), large)},
		{name: "chunked page", response: "200 OK\r\n" + withheld + change + "Transfer-Encoding: chunked\r\n\r\n8\r\nwithheld\r\n0\r\n\r\n"},
		{name: "large chunked page", response: fmt.Sprintf("200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", withheld+change, len(large), large)},
		{name: "to the end of the connection", response: "200 OK\r\n" + withheld + change + "\r\nwithheld"},
		{name: "empty page", response: "200 OK\r\n" + withheld + change + "Content-Length: 0\r\n\r\n"},
		{name: "event stream", response: "200 OK\r\nContent-Type: text/event-stream\r\n" + change + "X-App: withheld\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nwithheld\r\n0\r\n\r\n"},
		{name: "trailers", response: "200 OK\r\n" + withheld + change + "Trailer: X-Withheld\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nwithheld\r\n0\r\nX-Withheld: withheld\r\nX-Other: withheld\r\n\r\n"},
		{name: "HEAD", method: "HEAD", response: "200 OK\r\n" + withheld + change + "Content-Length: 8\r\n\r\n"},
		{name: "redirect", response: "302 Found\r\n" + withheld + change + "Content-Length: 0\r\n\r\n"},
		{name: "redirect with a body", method: "POST", response: "303 See Other\r\n" + withheld + change + "Content-Length: 8\r\n\r\nwithheld"},
		{name: "204", response: "204 No Content\r\n" + withheld + change + "\r\n"},
		{name: "304", response: "304 Not Modified\r\n" + withheld + change + "\r\n"},
		{name: "404", response: "404 Not Found\r\n" + withheld + change + "Content-Length: 8\r\n\r\nwithheld"},
		{name: "after 103", response: "103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n" + withheld + change + "Content-Length: 8\r\n\r\nwithheld"},
		{name: "101", response: "101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + withheld + change + "\r\nwithheld", upgrade: true},
		{name: "destroy", response: "302 Found\r\n" + withheld + "X-Session-Control: destroy\r\nContent-Length: 0\r\n\r\n"},
		{name: "clear", response: "302 Found\r\n" + withheld + "X-Session-Control: clear\r\nContent-Length: 0\r\n\r\n"},
		{name: "renew", response: "200 OK\r\n" + withheld + "X-Session-Control: renew\r\nContent-Length: 8\r\n\r\nwithheld"},
		{name: "revoke-others", response: "200 OK\r\n" + withheld + "X-Session-Control: revoke-others\r\nContent-Length: 8\r\n\r\nwithheld"},
		{name: "if-version", response: "200 OK\r\n" + withheld + "X-Session-Control: if-version=1\r\nContent-Length: 8\r\n\r\nwithheld"},
	}
	var responses []string
	for _, tt := range tests {
		responses = append(responses, "HTTP/1.1 "+tt.response)
	}
	answer := numbered(responses...)
	u := upstream(t, func(c net.Conn, r *http.Request) {
		down.Store(true)
		answer(c, r)
	})
	t.Cleanup(func() { down.Store(false) })
	see := app(t, scripted)
	for _, proxy := range []struct{ name, directives, errors string }{
		{name: "plain", directives: "reverse_proxy {app}"},
		{name: "flush_interval", directives: "reverse_proxy {app} {\n\tflush_interval -1\n}"},
		{name: "encode", directives: "encode\nreverse_proxy {app}"},
		{name: "handle_response", directives: "reverse_proxy {app} {\n\thandle_response {\n\t\tcopy_response\n\t}\n}"},
		{name: "silent", directives: "reverse_proxy {app} {\n\thandle_response {\n\t\tcopy_response_headers\n\t}\n}"},
		{name: "error route", directives: "reverse_proxy {app}", errors: "handle_errors {\n\theader X-Own 1\n\trespond \"own page {err.status_code}\"\n}\n"},
	} {
		t.Run(proxy.name, func(t *testing.T) {
			s := serve(t, probed, "header X-Outer 1\nsession\nhandle /see {\nreverse_proxy "+see.host()+"\n}\nhandle {\n"+
				strings.ReplaceAll(proxy.directives, "{app}", u.addr)+"\n}\n"+proxy.errors)
			live := s.get("/see?set=user%3Dalice", "").cookie()
			for i, tt := range tests {
				if tt.upgrade && (proxy.name == "handle_response" || proxy.name == "silent") {
					continue // they are no way to upgrade
				}
				for _, cookie := range []string{live, ""} {
					if cookie == "" && strings.Contains(tt.response, "Control") {
						continue // nothing to commit
					}
					lines := []string{"Accept-Encoding: gzip", "Cookie: " + cookie, "Content-Length: 0"}
					if tt.upgrade {
						lines = append(lines, "Connection: Upgrade, close", "Upgrade: websocket")
					}
					method := tt.method
					if method == "" {
						method = "GET"
					}
					raw := s.raw(s.request(method, fmt.Sprintf("/%d", i), "", lines...))
					down.Store(false)
					noSessionHeaders(t, raw)
					_, final, _ := strings.Cut("\r\n\r\n"+raw, "\r\n\r\nHTTP/1.1 5")
					if !strings.HasPrefix(final, "03 ") {
						t.Errorf("%s: the client gets %.400q", tt.name, raw)
					}
					for _, bad := range []string{"withheld", "Withheld", "Retry-After", "Set-Cookie", "Via:", "Trailer", "max-age"} {
						if strings.Contains(final, bad) {
							t.Errorf("%s: the client gets %s: %.400q", tt.name, bad, final)
						}
					}
					if !strings.Contains(final, "X-Outer: 1") {
						t.Errorf("%s: what was in the header before is lost: %q", tt.name, final)
					}
					own := strings.Contains(final, "X-Own: 1")
					if own != (proxy.errors != "") || own && method != "HEAD" && !strings.Contains(final, "own page 503") {
						t.Errorf("%s: the error page is %q", tt.name, final)
					}
				}
				if s.logged(`"level":"error"`, "session was not saved", "the probed store is down", fmt.Sprintf(`"path":"/%d"`, i)) == nil {
					t.Errorf("%s: it is not logged", tt.name)
				}
				if r := s.get("/see", live); !strings.Contains(r.body, `user=alice data={"user":"alice"} version=1`) {
					t.Fatalf("%s: the session has become %q", tt.name, r.body)
				}
			}
		})
	}
}

// The same with the Redis that people have, frozen or dead at the worst moment.
func TestRule3WithRedis(t *testing.T) {
	for name, fail := range map[string]func(*redistest.Server){"frozen": (*redistest.Server).Pause, "dead": (*redistest.Server).Stop} {
		t.Run(name, func(t *testing.T) {
			r := redistest.Start(t)
			a := app(t, func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/fail" {
					fail(r)
				}
				scripted(w, req)
			})
			s := serve(t, storeOption("redis "+r.Addr+" {\n\ttimeout 200ms\n}"), "session\nreverse_proxy "+a.host())
			cookie := signInEventually(t, s, "alice")
			var answer *response
			var started time.Time
			eventually(t, "the application is asked", func() bool { // the load may be slower than the timeout
				before := a.count()
				started = time.Now()
				answer = s.get("/fail?set=n%3D1&status=302&h.Location=/welcome", cookie)
				return a.count() != before
			})
			if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Location") != "" || answer.Header.Get("Retry-After") != "" || answer.body != "" {
				t.Errorf("at commit: %q", answer.raw)
			}
			if took := time.Since(started); busy.Exceeds(took, 4*time.Second) {
				t.Errorf("it took %s", took)
			}

			started = time.Now()
			before := a.count()
			answer = s.get("/", cookie)
			if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") != "1" || a.count() != before {
				t.Errorf("at load: %q", answer.raw)
			}
			if took := time.Since(started); busy.Exceeds(took, 3*time.Second) {
				t.Errorf("it took %s", took)
			}
			if answer = s.get("/", ""); answer.StatusCode != http.StatusOK {
				t.Errorf("anonymous: %q", answer.raw)
			}

			if name == "dead" {
				r.Restart()
			} else {
				r.Resume()
			}
			eventually(t, "Redis is back", func() bool {
				answer = s.get("/", cookie)
				return answer.StatusCode == http.StatusOK
			})
			if !strings.Contains(answer.body, "user=alice") {
				t.Errorf("when Redis is back: %q", answer.body)
			}
		})
	}
}

func TestRule3ConnectionAfterFailure(t *testing.T) {
	for _, size := range []int{0, 8, 1 << 20} {
		u := upstream(t, func(c net.Conn, r *http.Request) {
			down.Store(r.URL.Path == "/fail")
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Session-Set: n=1\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("w", size))
		})
		t.Cleanup(func() { down.Store(false) })
		s := serve(t, probed, "session\nreverse_proxy "+u.addr)
		c := s.dial()
		defer c.Close()
		in := bufio.NewReader(c)
		io.WriteString(c, "POST /fail HTTP/1.1\r\nHost: "+s.addr+"\r\nContent-Length: 5\r\n\r\nhello")
		r, err := http.ReadResponse(in, nil)
		if err != nil || r.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("%+v, %v", r, err)
		}
		if body, err := io.ReadAll(r.Body); len(body) != 0 || err != nil {
			t.Errorf("body %.40q, %v", body, err)
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+s.addr+"\r\nConnection: close\r\n\r\n")
		r, err = http.ReadResponse(in, nil)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("the next response on the connection: %+v, %v", r, err)
		}
		if body, err := io.ReadAll(r.Body); len(body) != size || err != nil {
			t.Errorf("its body has %d bytes, %v", len(body), err)
		}
	}
}

func TestRule3HangingUpDoesNotUndo(t *testing.T) {
	open, hungUp := make(chan struct{}), make(chan error, 1)
	t.Cleanup(func() { held.Store(nil) })
	u := upstream(t, func(c net.Conn, _ *http.Request) {
		held.Store(&open)
		// The head without the body, so that Caddy hangs up on us as soon as
		// the client has on Caddy.
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Session-Set: n=1\r\nContent-Length: 5\r\n\r\n")
		c.SetReadDeadline(time.Now().Add(timeout))
		_, err := c.Read(make([]byte, 1))
		hungUp <- err
	})
	see := app(t, scripted)
	s := serve(t, probed, "session\nhandle /see {\nreverse_proxy "+see.host()+"\n}\nreverse_proxy "+u.addr)
	cookie := s.get("/see?set=user%3Dalice", "").cookie()

	c := s.dial()
	io.WriteString(c, s.request("GET", "/", "", "Cookie: "+cookie))
	eventually(t, "the head has arrived", func() bool { return s.logged("upstream roundtrip", "n=1") != nil })
	c.Close()
	if err := <-hungUp; !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("Caddy has not hung up on the application: %v", err)
	}
	close(open)
	eventually(t, "the commit", func() bool {
		return strings.Contains(s.get("/see", cookie).body, `data={"n":"1","user":"alice"} version=2`)
	})
}

// A client that has gone before there was a head has not caused anything.
func TestRule3HangingUpBefore(t *testing.T) {
	arrived, hungUp := make(chan bool, 1), make(chan bool, 1)
	u := upstream(t, func(c net.Conn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Session-Set: n=1\r\n")
		arrived <- true
		c.Read(make([]byte, 1))
		io.WriteString(c, "Content-Length: 0\r\n\r\n")
		c.Close()
		hungUp <- true
	})
	see := app(t, scripted)
	s := serve(t, probed, "log\nsession\nhandle /see {\nreverse_proxy "+see.host()+"\n}\nreverse_proxy "+u.addr)
	cookie := s.get("/see?set=user%3Dalice", "").cookie()
	c := s.dial()
	io.WriteString(c, s.request("GET", "/", "", "Cookie: "+cookie))
	<-arrived
	c.Close()
	<-hungUp
	eventually(t, "the request has ended", func() bool { return s.logged("handled request", `"status":499`) != nil })
	if body := s.get("/see", cookie).body; !strings.Contains(body, `data={"user":"alice"} version=1`) {
		t.Errorf("the session has become %q", body)
	}
}

// The session in an error route asks the store again, in vain. Nobody is told
// to try again what the application has done already.
func TestRule3NoRetryAfterTheApplication(t *testing.T) {
	asks := 0
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		asks++
		down.Store(r.URL.Query().Has("fail"))
		scripted(w, r)
	})
	t.Cleanup(func() { down.Store(false) })
	s := serve(t, probed, "session\nreverse_proxy "+a.host()+"\nhandle_errors {\n\tsession\n\treverse_proxy "+a.host()+"\n}")
	cookie := s.signIn("alice")
	asks = 0
	r := s.get("/?fail&set=n%3D1", cookie)
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") != "" || asks != 1 {
		t.Errorf("after %d requests to the application: %q", asks, r.raw)
	}
}

func TestStoreDownAtLoad(t *testing.T) {
	a := app(t, scripted)
	for _, pass := range []bool{false, true} {
		site := "session\nreverse_proxy " + a.host()
		if pass {
			site = "session {\n\ton_store_error pass\n}\nreverse_proxy " + a.host()
		}
		s := serve(t, probed, site)
		cookie := s.signIn("alice")
		storeDown(t)
		for _, tt := range []struct {
			why, target, cookie string
			status              int // with on_store_error pass
			fail                int // without
		}{
			{"with a cookie", "/", cookie, 200, 503},
			{"changing something", "/?set=n%3D1", cookie, 503, 503},
			{"signing out", "/?control=destroy&status=302", cookie, 503, 503},
			{"only polling", "/?control=no-touch", cookie, 200, 503},
			{"without a cookie", "/", "", 200, 200},
			{"without a cookie, asking for nothing", "/?control=destroy&unset=n", "", 200, 200},
			{"with a malformed cookie", "/", cookie + "x", 200, 200},
			{"signing in", "/?set=user%3Dbob&status=302", "", 503, 503},
		} {
			r := s.get(tt.target, tt.cookie)
			want := tt.fail
			if pass {
				want = tt.status
			}
			if r.StatusCode != want || r.Header.Get("Set-Cookie") != "" || strings.Contains(r.body, "user=alice") {
				t.Errorf("pass %v, %s: %q", pass, tt.why, r.raw)
			}
			atLoad := !pass && tt.cookie == cookie
			if got := r.Header.Get("Retry-After"); (got == "1") != atLoad {
				t.Errorf("pass %v, %s: Retry-After %q", pass, tt.why, got)
			}
			// A shared cache must not take the anonymous page for everybody's.
			if r.StatusCode == 200 && pass && tt.cookie == cookie && r.Header.Get("Cache-Control") != "private" {
				t.Errorf("%s: %q", tt.why, r.raw)
			}
		}
		down.Store(false)
		if r := s.get("/", cookie); !strings.Contains(r.body, `user=alice data={"user":"alice"} version=1`) {
			t.Errorf("pass %v: afterwards the session is %q", pass, r.body)
		}
	}
}
