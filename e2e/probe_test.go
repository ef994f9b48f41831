package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/boltstore"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func init() { caddy.RegisterModule(probe{}) }

// probed is the global option for the memory store with a probe on it.
const probed = "session {\n\tstore probe\n}"

// roomy lets more header bytes in than Caddy does by default, which answers 431
// before us.
const roomy = probed + "\nservers {\n\tmax_header_size 64KiB\n}"

// probedFile is the global option for the embedded store in a file with a probe on
// it. What is in memory is read in spite of the probe.
func probedFile(file string) string { return storeOption("probe " + file) }

// probe is the store module of a store that the test sees into: of the memory store,
// or with a file of the embedded one.
type probe struct {
	File string `json:"file,omitempty"`
}

// asked counts the calls of the probed store; while down is set they fail.
// While held is set, writes wait until its channel is closed.
var (
	asked atomic.Int64
	down  atomic.Bool
	held  atomic.Pointer[chan struct{}]
)

// storeDown makes the probed store fail until the test has ended.
func storeDown(t testing.TB) {
	down.Store(true)
	t.Cleanup(func() { down.Store(false) })
}

func (probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "session.stores.probe", New: func() caddy.Module { return new(probe) }}
}

func (p *probe) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	d.Args(&p.File)
	return nil
}

func (p *probe) StoreKey() string { return "probe " + p.File }

func (p *probe) NewStore(log *zap.Logger) (session.Store, error) {
	if p.File != "" {
		return probedEmbedded{probedStore{boltstore.New(boltstore.Options{Path: p.File, Logger: log})}}, nil
	}
	return probedStore{memstore.New()}, nil
}

type probedStore struct{ session.Store }

// probedEmbedded shows what the embedded store can do beside.
type probedEmbedded struct{ probedStore }

func (s probedEmbedded) Unwrap() session.Store { return s.Store }

func probing() error {
	asked.Add(1)
	if down.Load() {
		return session.NotDone(errors.New("the probed store is down")) // so nobody has to find out
	}
	return nil
}

func (s probedStore) Get(ctx context.Context, id string) (session.Entry, error) {
	if err := probing(); err != nil {
		return session.Entry{}, err
	}
	return s.Store.Get(ctx, id)
}

func (s probedStore) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	if err := probing(); err != nil {
		return err
	}
	if open := held.Load(); open != nil {
		select {
		case <-*open:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Store.Put(ctx, id, expect, e)
}

func (s probedStore) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	if err := probing(); err != nil {
		return err
	}
	return s.Store.Touch(ctx, id, expect, ttl)
}

func (s probedStore) Delete(ctx context.Context, id string, expect uint64) error {
	if err := probing(); err != nil {
		return err
	}
	return s.Store.Delete(ctx, id, expect)
}

// rawUpstream is an application that answers with bytes of the test's choice.
type rawUpstream struct {
	addr     string
	mu       sync.Mutex
	requests []*http.Request
}

// upstream starts a rawUpstream. answer writes the response to a request whose
// body has been read, trailers included; it closes the connection if the
// response does not say where it ends.
func upstream(t testing.TB, answer func(c net.Conn, r *http.Request)) *rawUpstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &rawUpstream{addr: l.Addr().String()}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go u.serve(c, answer)
		}
	}()
	return u
}

func (u *rawUpstream) serve(c net.Conn, answer func(net.Conn, *http.Request)) {
	defer c.Close()
	for in := bufio.NewReader(c); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if r.Header.Get("Expect") == "" { // else the client waits for us
			io.Copy(io.Discard, r.Body)
		}
		u.mu.Lock()
		u.requests = append(u.requests, r)
		u.mu.Unlock()
		answer(c, r)
	}
}

// always is an answer that is the same to every request.
func always(response string) func(net.Conn, *http.Request) {
	return func(c net.Conn, _ *http.Request) { io.WriteString(c, response) }
}

// numbered is an answer that is the one of responses with the number that is
// the request's path: /0, /1 and so on. A response that does not say where it
// ends is ended by closing the connection.
func numbered(responses ...string) func(net.Conn, *http.Request) {
	return func(c net.Conn, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil || n >= len(responses) {
			c.Close()
			return
		}
		io.WriteString(c, responses[n])
		if !strings.Contains(responses[n], "Content-Length") && !strings.Contains(responses[n], "chunked") {
			c.Close()
		}
	}
}

// saying returns a response with these header lines, each ended by CRLF.
func saying(status, lines string) string {
	return "HTTP/1.1 " + status + "\r\n" + lines + "Content-Length: 5\r\n\r\nhello"
}

func (u *rawUpstream) last() *http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) == 0 {
		return nil
	}
	return u.requests[len(u.requests)-1]
}

func (u *rawUpstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.requests)
}

// request returns the bytes of a request with these header lines and body, on
// a connection that ends with it.
func (s *server) request(method, target, body string, lines ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, s.addr)
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Connection:") }) {
		b.WriteString("Connection: close\r\n")
	}
	return b.String() + "\r\n" + body
}

// under returns the names in a header that an application could take for one
// that begins with prefix, which is lower-case, sorted.
func under(header http.Header, prefix string) (names []string) {
	fold := func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}
	for name := range header {
		if strings.HasPrefix(strings.Map(fold, strings.ToLower(name)), prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// logged returns the lines of Caddy's log that contain all the texts.
func (s *server) logged(texts ...string) (lines []string) {
	for line := range strings.Lines(s.log.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			lines = append(lines, line)
		}
	}
	return lines
}

// Interface guards.
var (
	_ sessionapp.StoreModule = (*probe)(nil)
	_ caddyfile.Unmarshaler  = (*probe)(nil)
)
