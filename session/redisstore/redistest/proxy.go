//go:build unix

package redistest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a network between a client and a server that the test can break. It
// is safe for use by several goroutines.
type Proxy struct {
	// Addr is where it listens, host:port.
	Addr string

	target string
	ln     net.Listener
	links  sync.WaitGroup // goroutines

	mu    sync.Mutex
	cut   bool
	drop  bool
	delay time.Duration
	open  map[*link]bool
	total int
}

// NewProxy starts a proxy in front of a server, given as host:port. It ends
// with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: ln.Addr().String(), target: target, ln: ln, open: map[*link]bool{}}
	p.links.Go(p.serve)
	t.Cleanup(func() {
		ln.Close()
		p.Cut()
		p.links.Wait()
	})
	return p
}

// Cut resets all connections, and those that come, until Restore.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for l := range p.open {
		l.reset()
	}
}

// Drop swallows what either side sends until Restore. Connections stay and can
// be made, as with a firewall that forgets them.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop = true
}

// Delay holds what either side sends back for d; 0 ends it. An answer is later
// by twice as much.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Restore ends Cut, Drop and Delay. Connections of which bytes were swallowed
// are reset: the rest of a stream without them would be one that no network
// makes.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.drop, p.delay = false, false, 0
	for l := range p.open {
		if l.lossy {
			l.reset()
		}
	}
}

// Connections returns how many are open, and how many there have been.
func (p *Proxy) Connections() (open, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open), p.total
}

func (p *Proxy) serve() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.links.Go(func() { p.connect(client) })
	}
}

// connect makes a link of a new connection and serves it.
func (p *Proxy) connect(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		hangUp(client)
		return
	}
	l := &link{client: client, server: server}
	p.mu.Lock()
	p.total++
	p.open[l] = true
	if p.cut {
		l.reset()
	}
	p.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { p.pass(l, server, client) })
	both.Go(func() { p.pass(l, client, server) })
	both.Wait()
	p.mu.Lock()
	delete(p.open, l)
	p.mu.Unlock()
}

// chunk is what was read at once, and when it may go on.
type chunk struct {
	data []byte
	due  time.Time
}

// pass copies from one side to the other until one of them ends, which ends
// the link.
func (p *Proxy) pass(l *link, to, from net.Conn) {
	queue := make(chan chunk, 1024)
	var writing sync.WaitGroup
	writing.Go(func() {
		for c := range queue {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.data); err != nil {
				l.reset() // ends the loop below
				break
			}
		}
		for range queue { // so that nobody waits to fill it
		}
	})
	for {
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			drop, due := p.drop, time.Now().Add(p.delay)
			l.lossy = l.lossy || drop
			p.mu.Unlock()
			if !drop {
				queue <- chunk{buf[:n], due}
			}
		}
		if err != nil {
			break
		}
	}
	close(queue)
	writing.Wait()
	l.reset()
}

// link is the two connections of one client.
type link struct {
	client, server net.Conn
	lossy          bool // under the proxy's mutex: bytes were swallowed
}

func (l *link) reset() {
	hangUp(l.client)
	hangUp(l.server)
}

// hangUp resets a connection, rather than to end it in good order.
func hangUp(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}
