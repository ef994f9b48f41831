package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(countWrites{}) }

// countWrites is a listener whose connections count what is written to them.
type countWrites struct{}

func (countWrites) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.count_writes", New: func() caddy.Module { return new(countWrites) }}
}

func (*countWrites) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (*countWrites) WrapListener(l net.Listener) net.Listener { return countingListener{l} }

type countingListener struct{ net.Listener }

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c}, nil
}

// written counts the writes of all connections: each is one system call at least.
var written atomic.Int64

type countingConn struct{ net.Conn }

func (c countingConn) Write(p []byte) (int, error) {
	written.Add(1)
	return c.Conn.Write(p)
}

// A response takes as many writes on its connection with a session handler as
// without one.
func TestResponsesTakeNoMoreWrites(t *testing.T) {
	next := make(chan struct{})
	application := app(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/small":
			w.Write(make([]byte, 1<<10))
		case "/page":
			w.Write(make([]byte, 20<<10))
		case "/chunked":
			for range 3 {
				w.Write(make([]byte, 1<<10))
				w.(http.Flusher).Flush()
				<-next // the client has read it: no two are passed on at once
			}
		case "/unchanged":
			w.WriteHeader(http.StatusNotModified)
		case "/set":
			w.Header().Set("X-Session-Set", "user=alice")
		}
	})
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "large"), make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	const globals = "servers {\nlistener_wrappers {\ncount_writes\n}\n}\nsession {\nstore memory\n}"
	site := fmt.Sprintf("handle_path /files/* {\nroot %s\nfile_server\n}\nreverse_proxy %s", root, application.host())

	s := serve(t, globals, site)
	count := func(request, cookie string) int64 {
		t.Helper()
		c := s.dial()
		defer c.Close()
		from := bufio.NewReader(c)
		method, path, _ := strings.Cut(request, " ")
		once := func() int64 {
			before := written.Load()
			lines := ""
			if cookie != "" {
				lines = "Cookie: " + cookie + "\r\n"
			}
			fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, path, s.addr, lines)
			r, err := http.ReadResponse(from, &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			if path == "/chunked" {
				for range 3 {
					io.CopyN(io.Discard, r.Body, 1<<10)
					next <- struct{}{}
				}
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Fatal(err)
			}
			return written.Load() - before
		}
		// Of a body the proxy may read, and write, less at a time.
		fewest := once()
		for range 9 {
			fewest = min(fewest, once())
		}
		return fewest
	}
	requests := []string{"GET /small", "HEAD /small", "GET /page", "GET /chunked", "GET /unchanged", "GET /files/large", "HEAD /files/large"}
	bare := map[string]int64{}
	for _, request := range requests {
		if bare[request] = count(request, ""); bare[request] == 0 {
			t.Errorf("%s was answered, and nothing was counted", request)
		}
	}
	s.load(globals, "session\n"+site)
	cookie := s.get("/set", "").cookie()
	if cookie == "" {
		t.Fatal("no cookie")
	}
	for _, request := range requests {
		for visitor, cookie := range map[string]string{"a visitor": "", "a user": cookie} {
			if got := count(request, cookie); got > bare[request] {
				t.Errorf("%s of %s takes %d writes, %d without a session handler", request, visitor, got, bare[request])
			}
		}
		t.Logf("%s: %d", request, bare[request])
	}
}
