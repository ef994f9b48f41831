package e2e

import (
	"bufio"
	"fmt"
	"io"
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

// Whoever has planted a session or stolen its cookie does not go on listening
// when its secret is renewed.
func TestRenewalClosesWhatIsOlder(t *testing.T) {
	a := streamApp(t)
	s := serve(t, storeOption("memory"), "session\nreverse_proxy "+a.host())
	for _, test := range []struct{ name, begin, renew string }{
		{"sign-in on a planted session", "/?set=a%3Db", "/?set=user%3Dalice"},
		{"sign-in with revoke-others on a planted session", "/?set=a%3Db", "/?set=user%3Dalice&control=revoke-others"},
		{"renew", "/?set=user%3Dalice", "/?control=renew"},
		{"revoke-others and renew", "/?set=user%3Dalice", "/?control=revoke-others,renew"},
	} {
		t.Run(test.name, func(t *testing.T) {
			old := s.get(test.begin, "").cookie()
			_, ws, _ := s.upgrade(old, webSocketKey)
			events, drip, download := s.stream("/events", old), s.stream("/drip", old), s.stream("/download", old)
			page := s.stream("/page", old)
			start := time.Now()
			now := s.get(test.renew, old).cookie()
			if sessionID(now) != sessionID(old) || now == old {
				t.Fatalf("%s became %s", old, now)
			}
			r, _, c := s.upgrade(now, webSocketKey) // as the user's page does
			if r.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(r.Status)
			}
			if rest, err := io.ReadAll(page); string(rest) != "egin end" || err != nil {
				t.Errorf("a page on its way: %q, %v", rest, err)
			}
			t.Logf("WebSocket %v, events %v, other stream %v, download %v",
				closes(t, "the WebSocket", ws, start), closes(t, "the event stream", events, start),
				closes(t, "the other stream", drip, start), closes(t, "the download", download, start))
			stays(t, "the WebSocket with the new secret", c)
		})
	}
}

// What renews a session, or ends it, is not cut off by that itself.
func TestWhatRenewsGoesOn(t *testing.T) {
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		scriptedLine := func(name string) {
			if value := r.URL.Query().Get(name); value != "" {
				w.Header().Set("X-Session-"+name, value)
			}
		}
		switch r.URL.Path {
		case "/slow", "/events":
			io.Copy(io.Discard, r.Body)
			scriptedLine("set")
			scriptedLine("unset")
			scriptedLine("control")
			if r.URL.Path == "/events" {
				w.Header().Set("Content-Type", "text/event-stream")
			}
			io.WriteString(w, "begin ")
			http.NewResponseController(w).Flush()
			time.Sleep(2500 * time.Millisecond)
			io.WriteString(w, "end")
		default:
			scripted(w, r)
		}
	})
	s := serve(t, storeOption("memory"), "session\nreverse_proxy "+a.host())
	var waiting []func()
	for _, path := range []string{"/slow", "/events"} {
		for _, query := range []string{"control=renew", "set=user%3Dcarol", "unset=user", "control=clear", "control=destroy"} {
			cookie := s.signIn("alice")
			c := s.dial()
			defer c.Close()
			fmt.Fprintf(c, "POST %s?%s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", path, query, s.addr, cookie)
			waiting = append(waiting, func() {
				r, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Errorf("%s?%s: %v", path, query, err)
					return
				}
				if body, err := io.ReadAll(r.Body); string(body) != "begin end" || err != nil {
					t.Errorf("%s?%s: %q, %v", path, query, body, err)
				}
			})
		}
	}
	for _, wait := range waiting {
		wait()
	}
}

// A WebSocket may renew the session that it is opened with, and is then one of
// the new secret.
func TestWebSocketThatRenews(t *testing.T) {
	a, _ := webSocketApp(t, "X-Session-Control: renew\r\n", func() {})
	b := streamApp(t)
	s := serve(t, storeOption("memory"), "session\nhandle /ws {\n\treverse_proxy "+a.host()+"\n}\nreverse_proxy "+b.host())
	cookie := s.signIn("alice")
	events := s.stream("/events", cookie)
	start := time.Now()
	r, in, c := s.upgrade(cookie, webSocketKey)
	closes(t, "the event stream", events, start)
	if _, err := readFrame(in); err != nil {
		t.Fatal(err)
	}
	stays(t, "the WebSocket", c)
	c.SetReadDeadline(time.Now().Add(timeout))
	start = time.Now()
	s.get("/?control=destroy", (&response{Response: r}).cookie())
	closes(t, "the WebSocket", in, start)
}

// An application can be slow to accept a WebSocket.
func TestWebSocketOpensWhileItsSessionEnds(t *testing.T) {
	for _, test := range []struct{ name, lines string }{
		{"only that", ""},
		{"and changes it", "X-Session-Set: ws=open\r\n"},
	} {
		for _, target := range []string{"", "/?control=destroy", "/?unset=user", "/?control=renew"} {
			t.Run(test.name+" "+target, func(t *testing.T) {
				arrived, accept := make(chan struct{}), make(chan struct{})
				a, ended := webSocketApp(t, test.lines, func() {
					close(arrived)
					<-accept
				})
				o := serveOperated(t, storeOption("memory"), "session\nreverse_proxy "+a.host())
				cookie := o.signIn("alice")
				c := o.dial()
				defer c.Close()
				fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
					"Sec-WebSocket-Key: %s\r\n\r\n", o.addr, cookie, webSocketKey)
				<-arrived
				if target == "" {
					o.post("end", `{"all":true}`)
				} else {
					o.get(target, cookie)
				}
				close(accept)
				t.Logf("%v", closes(t, "the WebSocket", c, time.Now()))
				hangUp(t, ended)
			})
		}
	}
}

func TestRenewalFromAnotherNode(t *testing.T) {
	a := streamApp(t)
	redis := redistest.Start(t)
	s := serve(t, inRedis(redis), "session\nreverse_proxy "+a.host())
	store, err := redisstore.New(redisstore.Options{Addresses: []string{redis.Addr}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	policy := session.DefaultPolicy()
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		t.Fatal(err)
	}
	other, err := session.NewManager(store, policy, protocol, session.Observer{})
	if err != nil {
		t.Fatal(err)
	}
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
			name, value, _ := strings.Cut(cookie, "=")
			token, ok := session.ParseToken(value)
			site := session.Site{Scope: session.Scope{Name: name, Host: "127.0.0.1", Path: "/"}, Realm: "127.0.0.1"}
			found, _, err := other.Load(t.Context(), site, []session.Token{token}, time.Now())
			if !ok || found == nil || err != nil {
				t.Fatalf("loading %s: %v, %v", cookie, found, err)
			}
			start := time.Now()
			result, err := other.Commit(t.Context(), site, found, &session.Patch{Renew: true}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			r, _, c := s.upgrade(name+"="+result.Session.Token().Bearer(), webSocketKey)
			if r.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(r.Status)
			}
			if test.tell {
				var n session.Notifier = store
				if err := n.Notify(t.Context(), token.ID); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("WebSocket %v, events %v", closes(t, "the WebSocket", ws, start), closes(t, "the event stream", events, start))
			if took := time.Since(start); test.tell && busy.Exceeds(took, 2*time.Second) {
				t.Errorf("told at once, closed after %v", took)
			}
			stays(t, "the WebSocket with the new secret", c)
		})
	}
}
