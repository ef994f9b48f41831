package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

const webSocketKey = "dGhlIHNhbXBsZSBub25jZQ=="

// streamApp is webSocketApp with an event stream at /events, one that is no
// event stream at /drip, a large download at /download, and a page that takes a
// second at /page.
func streamApp(t *testing.T) *application {
	return app(t, func(w http.ResponseWriter, r *http.Request) {
		flush := func(format string, args ...any) bool {
			fmt.Fprintf(w, format, args...)
			return http.NewResponseController(w).Flush() == nil
		}
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			flush("data: hello %s\n\n", r.Header.Get("X-Session-User"))
			<-r.Context().Done() // silent from now on
		case "/drip":
			for i := 0; flush("%d\n", i); i++ {
				time.Sleep(20 * time.Millisecond)
			}
		case "/download":
			w.Header().Set("Content-Length", "1000000000")
			part := make([]byte, 64<<10)
			for {
				if _, err := w.Write(part); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		case "/page":
			flush("begin ")
			time.Sleep(500 * time.Millisecond)
			flush("end")
		case "/ws":
			c, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
				webSocketAccept(r.Header.Get("Sec-WebSocket-Key")))
			io.Copy(io.Discard, buf)
		default:
			scripted(w, r)
		}
	})
}

// stream opens target and returns its body, after the first bytes have come.
func (s *server) stream(target, cookie string) io.Reader {
	s.t.Helper()
	c := s.dial()
	s.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n", target, s.addr, cookie)
	in := bufio.NewReader(c)
	r, err := http.ReadResponse(in, nil)
	if err != nil || r.StatusCode != http.StatusOK {
		s.t.Fatalf("opening %s: %v %v", target, r, err)
	}
	var first [1]byte
	if _, err := io.ReadFull(r.Body, first[:]); err != nil {
		s.t.Fatal(err)
	}
	return r.Body
}

// closes waits until a connection is closed and returns how long that took.
func closes(t *testing.T, what string, in io.Reader, start time.Time) time.Duration {
	t.Helper()
	_, err := io.Copy(io.Discard, in)
	took := time.Since(start)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || busy.Exceeds(took, 5*time.Second) {
		t.Errorf("%s is open after %v: %v", what, took, err)
	}
	return took
}

// stays checks that a connection is still open.
func stays(t *testing.T, what string, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%s is not open: %v", what, err)
	}
}

func TestConnectionsEndWithTheSession(t *testing.T) {
	a := streamApp(t)
	for _, test := range []struct {
		name   string
		target string // of the request that ends the session, by another client or the same
		other  bool
		ends   bool
	}{
		{"destroy", "/?control=destroy", false, true},
		{"sign out", "/?unset=user", false, true},
		{"clear", "/?control=clear", false, true},
		{"another user", "/?set=user%3Dcarol", false, true},
		{"revoke-others", "/?set=user%3Dalice&control=revoke-others", true, true},
		{"eviction", "/?set=user%3Dalice", true, true},
		{"renew", "/?control=renew", false, true},
		{"change", "/?set=a%3Db", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, storeOption("memory"), "session {\n\tsubject user max 1\n}\nreverse_proxy "+a.host())
			cookie, bob := s.signIn("alice"), s.signIn("bob")
			r, ws, c := s.upgrade(cookie, webSocketKey)
			_, _, keep := s.upgrade(bob, webSocketKey)
			_, _, nobody := s.upgrade("x=y", webSocketKey)
			if r.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(r.Status)
			}
			events, page, drip := s.stream("/events", cookie), s.stream("/page", cookie), s.stream("/drip", cookie)
			if test.other {
				cookie = ""
			}
			start := time.Now()
			if r := s.get(test.target, cookie); r.StatusCode != http.StatusOK {
				t.Fatalf("ending it: %q", r.raw)
			}
			if !test.ends {
				stays(t, "the WebSocket", c)
				return
			}
			t.Logf("WebSocket %v, events %v", closes(t, "the WebSocket", ws, start), closes(t, "the event stream", events, start))
			if test.name == "destroy" {
				if rest, err := io.ReadAll(page); string(rest) != "egin end" || err != nil {
					t.Errorf("a page on its way: %q, %v", rest, err)
				}
				t.Logf("other stream %v", closes(t, "the other stream", drip, start))
			}
			stays(t, "the WebSocket of another user", keep)
			stays(t, "the WebSocket of nobody", nobody)
		})
	}
}

// A response that is of two kinds is one connection, and none when it has ended.
func TestConnectionsAreForgotten(t *testing.T) {
	a, ended := webSocketApp(t, "Content-Type: text/event-stream\r\n", func() {})
	o := serveOperated(t, storeOption("memory"), "session\nreverse_proxy "+a.host())
	r, _, c := o.upgrade(o.signIn("alice"), webSocketKey)
	if r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(r.Status)
	}
	open := func(n int) func() bool {
		return func() bool {
			_, stats := o.ask("GET", "/session/stats", "")
			return strings.Contains(stats, fmt.Sprintf(`"open_connections":%d,`, n))
		}
	}
	eventually(t, "one connection is open", open(1))
	c.Close()
	hangUp(t, ended)
	eventually(t, "none is open", open(0))
}

func TestConnectionsAreKept(t *testing.T) {
	a := streamApp(t)
	s := serve(t, storeOption("memory"), "session {\n\ton_end keep\n}\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")
	_, _, c := s.upgrade(cookie, webSocketKey)
	s.get("/?control=destroy", cookie)
	stays(t, "the WebSocket", c)
}

// A reload leaves the registry as it is: WebSockets live through it when Caddy
// is told to keep them.
func TestConnectionsAfterReload(t *testing.T) {
	a := streamApp(t)
	site := "session\nreverse_proxy " + a.host() + " {\n\tstream_close_delay 1m\n}"
	s := serve(t, storeOption("memory"), site)
	cookie := s.signIn("alice")
	_, ws, _ := s.upgrade(cookie, webSocketKey)
	s.load(storeOption("memory"), site+"\nheader X-New yes")
	start := time.Now()
	s.get("/?control=destroy", cookie)
	closes(t, "the WebSocket", ws, start)
}

// A session that expires ends like every other one.
func TestConnectionsOfExpiredSession(t *testing.T) {
	a := streamApp(t)
	s := serve(t, storeOption("memory"), "session {\n\tidle 1s\n}\nreverse_proxy "+a.host())
	_, ws, _ := s.upgrade(s.signIn("alice"), webSocketKey)
	closes(t, "the WebSocket", ws, time.Now().Add(time.Second))
}

func TestConnectionsEndFromAnotherNode(t *testing.T) {
	a := streamApp(t)
	redis := redistest.Start(t)
	s := serve(t, inRedis(redis), "session\nreverse_proxy "+a.host())
	store, err := redisstore.New(redisstore.Options{Addresses: []string{redis.Addr}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	for _, test := range []struct {
		name string
		tell bool
	}{{"told", true}, {"not told", false}} {
		t.Run(test.name, func(t *testing.T) {
			cookie := signInEventually(t, s, "alice")
			_, ws, _ := s.upgrade(cookie, webSocketKey)
			events := s.stream("/events", cookie)
			eventually(t, "Caddy listens", func() bool {
				channels, err := redisDo(t, redis, "PUBSUB", "CHANNELS").AsStrSlice()
				return err == nil && slices.Contains(channels, "session:ended")
			})
			// What the other node does.
			id := sessionID(cookie)
			start := time.Now()
			if err := store.Delete(t.Context(), id, 0); err != nil {
				t.Fatal(err)
			}
			if test.tell {
				var n session.Notifier = store
				if err := n.Notify(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("WebSocket %v, events %v", closes(t, "the WebSocket", ws, start), closes(t, "the event stream", events, start))
			if took := time.Since(start); test.tell && busy.Exceeds(took, 2*time.Second) {
				t.Errorf("told at once, closed after %v", took)
			}
		})
	}
}

// The other way round: other nodes hear of what ends or is renewed here, however
// it ends.
func TestEndsAreToldToOtherNodes(t *testing.T) {
	a := app(t, scripted)
	redis := redistest.Start(t)
	o := serveOperated(t, inRedis(redis), "session\nreverse_proxy "+a.host())
	store, err := redisstore.New(redisstore.Options{Addresses: []string{redis.Addr}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	heard := make(chan string, 10)
	go store.Listen(t.Context(), func(id string) { heard <- id })
	cookie := signInEventually(t, o.server, "alice")
	eventually(t, "the other node listens", func() bool {
		channels, err := redisDo(t, redis, "PUBSUB", "CHANNELS").AsStrSlice()
		return err == nil && len(channels) > 0
	})
	hears := func(id string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != id {
				t.Errorf("heard %s, want %s", got, id)
			}
		case <-time.After(timeout):
			t.Fatal("nothing was heard")
		}
	}
	cookie = o.get("/?control=renew", cookie).cookie()
	hears(sessionID(cookie))
	next := o.get("/?unset=user", cookie).cookie()
	hears(sessionID(cookie))
	o.get("/?control=destroy", next)
	hears(sessionID(next))
	for range 2 {
		cookie = o.signIn("bob")
	}
	o.get("/?control=revoke-others", cookie)
	<-heard // the other one of bob
	o.post("end", `{"all":true}`)
	hears(sessionID(cookie))
}

// With every version of HTTP the event stream of the session ends, and over
// HTTP/2 and 3 nothing else on its connection does.
func TestEventStreamsOfEachProtocol(t *testing.T) {
	a := streamApp(t)
	eachClient(t, "session\nreverse_proxy "+a.host(), func(t *testing.T, c *client) {
		open := func(user string) (cookie string, body io.ReadCloser) {
			c.cookie = ""
			c.cookie = c.do("GET", "/?set=user%3D"+user, nil).cookie()
			r, _ := c.start("GET", "/events", nil)
			if _, err := io.ReadFull(r.Body, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			return c.cookie, r.Body
		}
		_, other := open("bob")
		defer other.Close()
		_, events := open("alice")
		start := time.Now()
		c.do("GET", "/?control=destroy", nil)
		t.Logf("event stream %v", closes(t, "the event stream", events, start))
		if _, err := io.ReadFull(other, make([]byte, 4)); err != nil {
			t.Errorf("the other stream: %v", err)
		}
	})
}
