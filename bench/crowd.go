package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"
)

// crowd is the visitors of one site.
type crowd struct {
	address string
	store   string

	users    atomic.Int64 // how many have signed in; each has a name of its own
	requests atomic.Int64
	wrong    atomic.Int64 // unexpected answers

	mu    sync.Mutex
	shown []string // the first of these
}

// maxShown is how many unexpected answers are shown.
const maxShown = 10

// endsWithin is how long a connection may stay open after the end of its
// session; this is what the manual promises, and a little for a busy machine.
const endsWithin = 8 * time.Second

// guest is one visit: somebody who signs in, does this and that, and signs out
// or just goes away.
type guest struct {
	*crowd
	visitor
	wire wire
	rand *mathrand.Rand

	// The version that the session must have is between these: a client that
	// hangs up does not know what it has done.
	low, high int
}

// step is one thing that a guest does.
type step struct {
	name  string
	often int // of all
	do    func(*guest) error
}

var steps = []step{
	{"read", 50, (*guest).read},
	{"commit", 20, (*guest).commit},
	{"forged cookie", 6, (*guest).forge},
	{"too many cookies", 1, (*guest).overdo},
	{"hang-up in the head", 3, (*guest).hangUpInHead},
	{"hang-up in the body", 3, (*guest).hangUpInBody},
	{"hang-up before the answer", 3, (*guest).hangUpBeforeAnswer},
	{"hang-up during a commit", 3, (*guest).hangUpCommit},
	{"hang-up in the answer", 3, (*guest).hangUpInAnswer},
	{"WebSocket", 4, (*guest).websocket},
	{"event stream", 4, (*guest).events},
}

// visits has one guest after the other until the context ends.
func (c *crowd) visits(ctx context.Context, number int) {
	r := mathrand.New(mathrand.NewPCG(uint64(number), 1))
	for ctx.Err() == nil {
		c.visit(r, func(g *guest) error {
			for range 5 + r.IntN(20) {
				n := r.IntN(100)
				for _, s := range steps {
					if n -= s.often; n < 0 {
						if err := s.do(g); err != nil {
							return fmt.Errorf("%s: %w", s.name, err)
						}
						break
					}
				}
				if !sleepUntil(ctx, time.Now().Add(time.Duration(r.IntN(20))*time.Millisecond)) {
					break
				}
			}
			switch n := r.IntN(100); {
			case n < 60:
				return g.signOut()
			case n < 70:
				return g.signOutWith("WebSocket", g.openWebSocket)
			case n < 80:
				return g.signOutWith("event stream", g.openEvents)
			}
			return nil // the session expires
		})
	}
}

// rehearse does everything once.
func (c *crowd) rehearse(ctx context.Context) {
	c.visit(mathrand.New(mathrand.NewPCG(0, 0)), func(g *guest) error {
		for _, s := range steps {
			if err := s.do(g); err != nil || ctx.Err() != nil {
				return err
			}
		}
		return g.signOutWith("WebSocket", g.openWebSocket)
	})
}

// visit signs a guest in. What goes wrong ends the visit and is counted.
func (c *crowd) visit(r *mathrand.Rand, stay func(*guest) error) {
	g := &guest{crowd: c, wire: wire{address: c.address}, rand: r}
	defer g.wire.close()
	err := g.signIn()
	if err == nil {
		err = stay(g)
	}
	if err == nil {
		return
	}
	c.wrong.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.shown) < maxShown {
		c.shown = append(c.shown, err.Error())
		fmt.Fprintf(os.Stderr, "bench: %s: unexpected: %v\n", c.store, err)
	}
}

// get makes a request as a visitor, and checks what the application has seen.
func (g *guest) get(path string, as visitor) (*http.Response, error) {
	g.requests.Add(1)
	answer, _, err := g.wire.get(path, as.cookie)
	if err == nil {
		err = as.sees(answer)
	}
	return answer, err
}

func (g *guest) signIn() error {
	if _, err := g.get("/page", visitor{}); err != nil {
		return fmt.Errorf("before signing in: %w", err)
	}
	user := "user" + strconv.FormatInt(g.users.Add(1), 10)
	answer, err := g.get("/set?user="+user, visitor{})
	if err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	for _, cookie := range answer.Cookies() {
		if cookie.Name == "csid" {
			g.visitor = visitor{user, cookie.Value}
			g.low, g.high = 1, 1
			return nil
		}
	}
	return errors.New("signing in: no cookie was set")
}

func (g *guest) signOut() error {
	if _, err := g.get("/signout", g.visitor); err != nil {
		return fmt.Errorf("signing out: %w", err)
	}
	// The cookie is worth nothing now.
	if _, err := g.get("/page", visitor{cookie: g.cookie}); err != nil {
		return fmt.Errorf("after signing out: %w", err)
	}
	return nil
}

func (g *guest) read() error {
	answer, err := g.get("/page", g.visitor)
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(answer.Header.Get("Seen-Version"))
	if err != nil || version < g.low || version > g.high {
		return fmt.Errorf("the application has seen version %q, which should be in %d to %d", answer.Header.Get("Seen-Version"), g.low, g.high)
	}
	g.low = version
	return nil
}

func (g *guest) commit() error {
	_, err := g.get("/set?n="+strconv.Itoa(g.low), g.visitor)
	g.low++
	g.high++
	return err
}

// forge sends a cookie that is worth nothing.
func (g *guest) forge() error {
	id, secret, _ := strings.Cut(g.cookie, ".")
	made := func(n int) string {
		b := make([]byte, n)
		rand.Read(b)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	cookies := []string{
		"csid", "", strings.Repeat("x", 66), id + ".", id + "." + secret + "A", "." + secret, // malformed
		id + "." + made(32),       // a wrong secret
		made(16) + "." + secret,   // no such session
		made(16) + "." + made(32), // neither
	}
	cookie := cookies[g.rand.IntN(len(cookies))]
	if _, err := g.get("/page", visitor{cookie: cookie}); err != nil {
		return err
	}
	// One that is good does not suffer from another.
	_, err := g.get("/page", visitor{g.user, "garbage; csid=" + g.cookie})
	return err
}

// overdo sends more cookies than anybody has.
func (g *guest) overdo() error {
	g.requests.Add(1)
	answer, _, err := g.wire.get("/page", g.cookie+"; a="+strings.Repeat("x", 17<<10))
	if err == nil && answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		err = fmt.Errorf("%s for 17 KiB of cookies", answer.Status)
	}
	return err
}

// hangUp sends something on a connection of its own, reads some bytes of the
// answer and closes it, often so that the server gets an error.
func (g *guest) hangUp(method, path, rest string, read int64) error {
	g.requests.Add(1)
	w := wire{address: g.address}
	if err := w.send(method, path, g.cookie, rest); err != nil {
		return err
	}
	if read > 0 {
		if _, err := io.CopyN(io.Discard, w.in, read); err != nil {
			return err
		}
	}
	if tcp, ok := w.conn.(*net.TCPConn); ok && g.rand.IntN(2) == 0 {
		tcp.SetLinger(0)
	}
	w.close()
	return nil
}

func (g *guest) hangUpInHead() error { return g.hangUp("GET", "/page", "Accept-La", 0) }

func (g *guest) hangUpInBody() error {
	return g.hangUp("POST", "/page", "Content-Length: 100000\r\n\r\nthe first of many bytes", 0)
}

func (g *guest) hangUpBeforeAnswer() error { return g.hangUp("GET", "/large", "", 0) }

func (g *guest) hangUpInAnswer() error { return g.hangUp("GET", "/large", "", 20_000) }

func (g *guest) hangUpCommit() error {
	g.high++
	return g.hangUp("GET", "/set?n=0", "", 0)
}

func (g *guest) websocket() error {
	ws, err := g.openWebSocket()
	if err == nil {
		ws.Close()
	}
	return err
}

func (g *guest) events() error {
	events, err := g.openEvents()
	if err == nil {
		events.Close()
	}
	return err
}

// openWebSocket opens a WebSocket, and makes sure that it works.
func (g *guest) openWebSocket() (io.ReadCloser, error) {
	g.requests.Add(1)
	config, err := websocket.NewConfig("ws://"+g.address+"/websocket", "http://"+g.address+"/")
	if err != nil {
		return nil, err
	}
	config.Header = http.Header{"Cookie": {"csid=" + g.cookie}}
	ws, err := websocket.DialConfig(config)
	if err != nil {
		return nil, err
	}
	ws.SetDeadline(time.Now().Add(wireTimeout))
	for range 3 {
		var got string
		if err = websocket.Message.Send(ws, g.user); err == nil {
			err = websocket.Message.Receive(ws, &got)
		}
		if err == nil && got != g.user {
			err = fmt.Errorf("%q comes back as %q", g.user, got)
		}
		if err != nil {
			ws.Close()
			return nil, err
		}
	}
	return ws, nil
}

// openEvents opens an event stream and reads two events.
func (g *guest) openEvents() (io.ReadCloser, error) {
	g.requests.Add(1)
	w := wire{address: g.address}
	if err := w.send("GET", "/events", g.cookie, ""); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(w.in, nil)
	if err == nil {
		err = g.sees(answer)
	}
	if err == nil {
		lines := bufio.NewReader(answer.Body)
		for range 2 {
			if err == nil {
				_, err = lines.ReadString('\n')
			}
		}
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w.conn, nil
}

// signOutWith signs out while a connection is open, which has to end then.
func (g *guest) signOutWith(name string, open func() (io.ReadCloser, error)) error {
	conn, err := open()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer conn.Close()
	began := time.Now()
	if err := g.signOut(); err != nil {
		return err
	}
	if timed, ok := conn.(interface{ SetReadDeadline(time.Time) error }); ok {
		timed.SetReadDeadline(began.Add(endsWithin))
	}
	_, err = io.Copy(io.Discard, conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the %s is still open %v after signing out", name, endsWithin)
	}
	return nil
}
