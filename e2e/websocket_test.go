package e2e

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// A WebSocket as of RFC 6455, with text frames of less than 64 KiB.

// webSocketAccept is section 4.2.2, item 5.4.
func webSocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// writeFrame is section 5.2. Clients mask what they send, here with zeros.
func writeFrame(w io.Writer, masked bool, text string) error {
	frame := []byte{0x81, 126, byte(len(text) >> 8), byte(len(text))}
	if masked {
		frame[1] |= 0x80
		frame = append(frame, 0, 0, 0, 0)
	}
	_, err := w.Write(append(frame, text...))
	return err
}

func readFrame(r io.Reader) (text string, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	if head[0] != 0x81 || head[1]&0x7f != 126 {
		return "", fmt.Errorf("not a frame of writeFrame: % x", head)
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	if head[1]&0x80 != 0 {
		size += 4
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return "", err
	}
	if head[1]&0x80 != 0 {
		payload = payload[4:]
	}
	return string(payload), nil
}

// webSocketApp greets with the session's headers, then echoes. ended is closed
// when its connection is.
func webSocketApp(t *testing.T, lines string, before func()) (a *application, ended chan struct{}) {
	ended = make(chan struct{})
	end := sync.OnceFunc(func() { close(ended) })
	a = app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			scripted(w, r)
			return
		}
		defer end()
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		before()
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
			webSocketAccept(r.Header.Get("Sec-WebSocket-Key")), lines)
		writeFrame(c, false, fmt.Sprintf("user=%s data=%s cookie=%s", r.Header.Get("X-Session-User"), r.Header.Get("X-Session-Data"), r.Header.Get("Cookie")))
		for {
			text, err := readFrame(buf)
			if err != nil {
				return
			}
			writeFrame(c, false, text)
		}
	})
	return a, ended
}

// hangUp waits until the application's connection has ended.
func hangUp(t *testing.T, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(timeout):
		t.Error("the application still has its connection")
	}
}

// upgrade sends the opening handshake and returns the response's head, and the
// connection with what was read ahead of it.
func (s *server) upgrade(cookie, key string) (*http.Response, io.Reader, net.Conn) {
	s.t.Helper()
	c := s.dial()
	s.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: %s\r\nCookie: a=b; %s\r\nUpgrade: websocket\r\nConnection: Upgrade, X-Session-User\r\n"+
		"X-Session-User: mallory\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", s.addr, cookie, key)
	in := bufio.NewReader(c)
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return r, in, c
}

func TestWebSocket(t *testing.T) {
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	for _, test := range []struct {
		name, lines string
		user        string // of the session afterwards
		cookie      bool   // the 101 sets one
	}{
		{"read", "", "alice", false},
		{"change", "X-Session-Set: ws=open\r\n", "alice", false},
		{"renew", "X-Session-Control: renew\r\n", "alice", true},
		{"sign-in", "X-Session-Set: user=bob\r\n", "bob", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, ended := webSocketApp(t, test.lines, func() {})
			s := serve(t, storeOption("memory"), "session\nreverse_proxy "+a.host())
			cookie := s.signIn("alice")
			r, in, c := s.upgrade(cookie, key)
			if r.StatusCode != http.StatusSwitchingProtocols || r.Header.Get("Sec-WebSocket-Accept") != webSocketAccept(key) {
				t.Fatalf("handshake: %s %q", r.Status, r.Header)
			}
			noManagedNames(t, r.Header)
			next := (&response{Response: r}).cookie()
			if (next != "") != test.cookie {
				t.Errorf("the 101 sets the cookie %q", next)
			}
			if got := r.Header.Get("Cache-Control"); (got == "no-store") != test.cookie {
				t.Errorf("Cache-Control %q", got)
			}
			if next == "" {
				next = cookie
			}

			if text, err := readFrame(in); err != nil || text != `user=alice data={"user":"alice"} cookie=a=b` {
				t.Errorf("the application greets %q, %v", text, err)
			}
			for _, text := range []string{"hello", strings.Repeat("0123456789", 6000)} {
				if err := writeFrame(c, true, text); err != nil {
					t.Fatal(err)
				}
				if got, err := readFrame(in); err != nil || got != text {
					t.Errorf("%d bytes come back as %d, %v", len(text), len(got), err)
				}
			}
			// The commit does not wait for the end of the connection.
			if r := s.get("/", next); !strings.Contains(r.body, "user="+test.user+" ") {
				t.Errorf("during the connection: %s", r.body)
			}
			c.Close()
			hangUp(t, ended)
		})
	}
}

func TestWebSocketCommitFails(t *testing.T) {
	redis := redistest.Start(t)
	a, ended := webSocketApp(t, "X-Session-Set: ws=open\r\n", redis.Stop)
	s := serve(t, inRedis(redis), "session\nhandle_errors {\n\trespond \"error page\"\n}\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")
	r, _, c := s.upgrade(cookie, "dGhlIHNhbXBsZSBub25jZQ==")
	defer c.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(len("error page"))))
	if r.StatusCode != http.StatusServiceUnavailable || string(body) != "error page" {
		t.Errorf("handshake: %s %q, %v", r.Status, body, err)
	}
	for _, name := range []string{"Set-Cookie", "Upgrade", "Sec-WebSocket-Accept", "Retry-After"} {
		if got := r.Header.Get(name); got != "" {
			t.Errorf("the 503 has %s: %s", name, got)
		}
	}
	hangUp(t, ended)
}
