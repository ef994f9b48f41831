package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// tunnel is an upstream that leaves HTTP whenever it is asked to, and hands on
// the head of each request and then all that comes after it.
func tunnel(t testing.TB) (addr string, heads chan http.Header, inside chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	heads, inside = make(chan http.Header, 100), make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				heads <- r.Header
				switch protocol := r.Header.Get("Upgrade"); {
				case protocol != "":
					fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
				case r.Method == http.MethodConnect:
					io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				default:
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
					return
				}
				line, _ := in.ReadString('\n')
				inside <- line
			}()
		}
	}()
	return l.Addr().String(), heads, inside
}

// What is inside a tunnel is not stripped: an application that speaks h2c in it
// would believe any X-Session-User.
func TestRule1OnlyWebSocketsLeaveHTTP(t *testing.T) {
	addr, heads, inside := tunnel(t)
	// speak reports whether the connection is a tunnel now, and tries it.
	speak := func(t *testing.T, c net.Conn) bool {
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != http.StatusSwitchingProtocols {
			return false
		}
		const smuggled = "X-Session-User: admin\n"
		io.WriteString(c, smuggled)
		if line := <-inside; line != smuggled {
			t.Errorf("in the tunnel: %q", line)
		}
		return true
	}
	tests := []struct {
		name   string
		lines  []string
		opened string // the protocol that is spoken in the end, "" for HTTP
	}{
		{"h2c", []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"}, ""},
		{"h2c in another spelling", []string{"connection: uPGRADE", "uPgRaDe: H2C"}, ""},
		{"TLS", []string{"Connection: Upgrade", "Upgrade: TLS/1.0"}, ""},
		{"anything", []string{"Connection: Upgrade", "Upgrade: echo"}, ""},
		{"HTTP/2.0", []string{"Connection: Upgrade", "Upgrade: HTTP/2.0"}, ""},
		{"close to websocket", []string{"Connection: Upgrade", "Upgrade: websocket2"}, ""},
		{"a list", []string{"Connection: Upgrade", "Upgrade: h2c, websocket"}, "websocket"},
		{"a list the other way round", []string{"Connection: Upgrade", "Upgrade: websocket, h2c"}, "websocket"},
		{"two lines", []string{"Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket"}, "websocket"},
		{"two lines the other way round", []string{"Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"}, "websocket"},
		{"a WebSocket", []string{"Connection: keep-alive, Upgrade", "Upgrade: websocket"}, "websocket"},
		{"a WebSocket in another spelling", []string{"Connection: upgrade", "Upgrade: WebSocket"}, "websocket"},
	}
	const here, elsewhere = "session {\n%s}\nreverse_proxy ", "@never path /never\nsession @never {\n%s}\nreverse_proxy "
	for _, site := range []struct{ name, text string }{{"matched", here}, {"not matched", elsewhere}} {
		s := serve(t, probed, fmt.Sprintf(site.text, "")+addr)
		for _, tt := range tests {
			t.Run(site.name+"/"+tt.name, func(t *testing.T) {
				c := s.dial()
				defer c.Close()
				io.WriteString(c, s.request("GET", "/", "", tt.lines...))
				head := <-heads
				if got := head["Upgrade"]; strings.Join(got, "|") != tt.opened {
					t.Errorf("the application gets Upgrade: %q", got)
				}
				for name := range head {
					if strings.EqualFold(name, "HTTP2-Settings") {
						t.Errorf("the application gets %s", name)
					}
				}
				if switched := speak(t, c); switched != (tt.opened != "") {
					t.Errorf("switched: %t", switched)
				}
			})
		}
		for _, method := range []string{"CONNECT", "connect", "TRACE", "trace", "Trace"} {
			t.Run(site.name+"/"+method, func(t *testing.T) {
				target := "/"
				if method == "CONNECT" {
					target = s.addr
				}
				r := s.parse(s.raw(s.request(method, target, "")))
				if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") == "" || len(heads) > 0 {
					t.Errorf("%q, and the application was asked %d times", r.raw, len(heads))
				}
			})
		}
		s = serve(t, probed, fmt.Sprintf(site.text, "\tupgrade echo h2c\n")+addr)
		for _, protocol := range []string{"echo", "h2c", "websocket"} {
			t.Run(site.name+"/upgrade "+protocol, func(t *testing.T) {
				c := s.dial()
				defer c.Close()
				io.WriteString(c, s.request("GET", "/", "", "Connection: Upgrade", "Upgrade: "+protocol))
				if got := (<-heads).Get("Upgrade"); got != protocol {
					t.Errorf("the application gets Upgrade: %q", got)
				}
				if !speak(t, c) {
					t.Error("not switched")
				}
			})
		}
	}
}
