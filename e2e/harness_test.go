// Package e2e tests the plugin from outside: a real Caddy, loaded from a
// Caddyfile, between raw sockets and real applications. Caddy is global to the
// process, so no test here is parallel.
package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-session/caddy-session"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
)

// timeout is how long anything here may take before the test fails.
const timeout = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		childMain()
	}
	dir, err := os.MkdirTemp("", "caddy-session-e2e")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		os.Setenv(name, dir)
	}
	code := m.Run()
	caddy.Stop()
	pgtest.Close()
	os.RemoveAll(dir)
	os.Exit(code)
}

// adapt turns a Caddyfile into Caddy's JSON.
func adapt(text string) ([]byte, error) {
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	config, _, err := adapter.Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// server is a running Caddy with one site.
type server struct {
	t    testing.TB
	addr string // host:port it listens on, plain HTTP
	log  *logFile
}

// serve loads Caddy with the global options and the site given, on a free
// port. The site's text is the inside of a site block.
func serve(t testing.TB, globals, site string) *server {
	t.Helper()
	s := &server{t: t, addr: freeAddr(t), log: newLogFile(t)}
	s.load(globals, site)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return s
}

// load replaces the configuration of the running Caddy, as a reload does.
func (s *server) load(globals, site string) {
	s.t.Helper()
	if err := s.try(globals, fmt.Sprintf("http://%s {\n%s\n}", s.addr, site)); err != nil {
		s.t.Fatal(err)
	}
}

// try is load for whole site blocks, and returns what is wrong with them.
func (s *server) try(globals, sites string) error {
	config, err := adapt(fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
	grace_period 5s
	log {
		output file %s
		level DEBUG
	}
	%s
}
%s
`, s.log.path, globals, sites))
	if err != nil {
		return fmt.Errorf("adapting: %w", err)
	}
	if err = caddy.Load(config, true); err != nil {
		err = fmt.Errorf("loading: %w", err)
	}
	// The servers before, or those that were not to be, shut down in the
	// background, and what the kernel has given to their listeners is lost.
	_, port, _ := net.SplitHostPort(s.addr)
	eventually(s.t, "the other listener is closed", func() bool {
		return caddy.ListenerUsage("tcp", ":"+port) <= 1 && goroutines("closeListeners") == 0
	})
	return err
}

// goroutines counts those with one of the texts in their stacks.
func goroutines(texts ...string) (n int) {
	buf := make([]byte, 1<<20)
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(g, text) }) {
			n++
		}
	}
	return n
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// logFile is where Caddy logs to.
type logFile struct{ path string }

func newLogFile(t testing.TB) *logFile {
	return &logFile{t.TempDir() + "/caddy.log"}
}

func (l *logFile) String() string {
	b, _ := os.ReadFile(l.path)
	return string(b)
}

// application is an upstream that answers by a function and keeps what it got.
type application struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

// app starts an upstream. A nil handler answers 200 with the X-Session-*
// headers that came, one a line.
func app(t testing.TB, handler http.HandlerFunc) *application {
	t.Helper()
	a := &application{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.requests = append(a.requests, r)
		a.mu.Unlock()
		if handler != nil {
			handler(w, r)
			return
		}
		for name, values := range r.Header {
			for _, value := range values {
				if strings.HasPrefix(strings.ToLower(name), "x") {
					fmt.Fprintf(w, "%s: %s\n", name, value)
				}
			}
		}
	}))
	t.Cleanup(a.Close)
	return a
}

// host is what reverse_proxy needs.
func (a *application) host() string { return strings.TrimPrefix(a.URL, "http://") }

// last returns the newest request that reached the application.
func (a *application) last() *http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.requests) == 0 {
		return nil
	}
	return a.requests[len(a.requests)-1]
}

// scripted is an application that says with each response what the request's
// query parameters put, set, unset, control ask for; other parameters named h.NAME
// become headers, and status the status.
func scripted(w http.ResponseWriter, r *http.Request) {
	scriptedHeaders(w, r)
	fmt.Fprintf(w, "user=%s data=%s version=%s id=%s\n", r.Header.Get("X-Session-User"),
		r.Header.Get("X-Session-Data"), r.Header.Get("X-Session-Version"), r.Header.Get("X-Session-Id"))
}

// scriptedHeaders is scripted without the body.
func scriptedHeaders(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	for name, values := range r.URL.Query() {
		for _, value := range values {
			switch {
			case name == "put" || name == "set" || name == "unset" || name == "control":
				w.Header().Add("X-Session-"+name, value)
			case name == "status":
				fmt.Sscan(value, &status)
			case strings.HasPrefix(name, "h."):
				w.Header().Add(name[2:], value)
			}
		}
	}
	w.WriteHeader(status)
}

// raw sends bytes as they are and returns all that comes back until the server
// closes the connection. Requests should say "Connection: close".
func (s *server) raw(request string) string {
	s.t.Helper()
	c := s.dial()
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	response, err := io.ReadAll(c)
	if err != nil {
		s.t.Fatalf("reading response: %v (after %q)", err, response)
	}
	return string(response)
}

func (s *server) dial() net.Conn {
	s.t.Helper()
	c, err := net.DialTimeout("tcp", s.addr, timeout)
	if err != nil {
		s.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(timeout))
	return c
}

// get sends a GET request with a Cookie header (none if empty) and extra header
// lines, and returns the parsed response with its body read.
func (s *server) get(target, cookie string, lines ...string) *response {
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", target, s.addr)
	if cookie != "" {
		fmt.Fprintf(&b, "Cookie: %s\r\n", cookie)
	}
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	return s.parse(s.raw(b.String()))
}

// response is a response with its body read.
type response struct {
	*http.Response
	body string
	raw  string
}

func (s *server) parse(text string) *response {
	s.t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		s.t.Fatalf("parsing response %q: %v", text, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatalf("reading body of %q: %v", text, err)
	}
	return &response{Response: r, body: string(body), raw: text}
}

// cookie returns the session cookie that a response sets as NAME=VALUE, or "".
func (r *response) cookie() string {
	for _, c := range r.Cookies() {
		if session.IsCookie(c.Value) {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

// signIn returns the cookie of a new session in which user is signed in at a
// scripted application.
func (s *server) signIn(user string) string {
	s.t.Helper()
	r := s.get("/?set=user%3D"+user, "")
	cookie := r.cookie()
	if cookie == "" {
		s.t.Fatalf("signing in sent no cookie: %q", r.raw)
	}
	return cookie
}

// noSessionHeaders fails if a header or trailer of a raw response is ours.
func noSessionHeaders(t testing.TB, raw string) {
	t.Helper()
	for line := range strings.SplitSeq(raw, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		folded := bytes.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
				return r
			}
			return '-'
		}, bytes.ToLower([]byte(name)))
		if bytes.HasPrefix(folded, []byte("x-session-")) {
			t.Errorf("the client sees %q", line)
		}
	}
}

// eventually waits until f returns true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
