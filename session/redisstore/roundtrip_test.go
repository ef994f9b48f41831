//go:build unix

package redisstore_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/session/storetest"
)

// proxy stands before a server and counts round trips: how often the client
// spoke after the server had.
type proxy struct {
	addr string

	mu    sync.Mutex
	sent  int  // packets of the client
	trips int  // of those, the first ones after an answer
	turn  bool // the client has spoken last
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	p := new(proxy)
	p.addr = relay(t, server, func(client, server net.Conn) {
		go p.copy(server, client, true)
		go p.copy(client, server, false)
	})
	return p
}

// relay accepts connections until the test ends, opens one to a server for each, and
// has both copied. It returns its address.
func relay(t *testing.T, server string, connect func(client, server net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				return
			}
			connect(client, back)
		}
	}()
	return ln.Addr().String()
}

func (p *proxy) copy(dst io.WriteCloser, src io.ReadCloser, fromClient bool) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		if fromClient {
			p.sent++
			if !p.turn {
				p.trips++
			}
		}
		p.turn = fromClient
		p.mu.Unlock()
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// count returns the packets and round trips of f.
func (p *proxy) count(f func()) (sent, trips int) {
	p.mu.Lock()
	p.sent, p.trips, p.turn = 0, 0, false
	p.mu.Unlock()
	f()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent, p.trips
}

func TestRoundTrips(t *testing.T) {
	server := redistest.Start(t)
	c := admin(t, server.Addr)
	p := newProxy(t, server.Addr)
	s := open(t, redisstore.Options{Addresses: []string{p.addr}, Timeout: patient})

	// Let it make all its connections and send its scripts.
	id := newID()
	if err := s.Put(t.Context(), id, 0, entry(1, "")); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		s.Get(t.Context(), id)
	}
	for _, call := range storetest.Calls(s, newID()) {
		call(t.Context())
	}
	s.Delete(t.Context(), id, 7)

	filed := entry(1, "")
	filed.IndexKey, filed.Deadline = "k", time.Now().Add(time.Hour)
	refiled := entry(3, "")
	refiled.IndexKey, refiled.Deadline = "k", time.Now().Add(time.Hour)
	for _, test := range []struct {
		name   string
		call   func() error
		writes bool
	}{
		{"Get", func() error { _, err := s.Get(t.Context(), id); return err }, false},
		{"update", func() error { return s.Put(t.Context(), id, 1, entry(2, "")) }, true},
		{"update and file", func() error { return s.Put(t.Context(), id, 2, refiled) }, true},
		{"Touch", func() error { return s.Touch(t.Context(), id, 3, time.Hour) }, true},
		{"Delete", func() error { return s.Delete(t.Context(), id, 3) }, true},
		{"create", func() error { return s.Put(t.Context(), id, 0, entry(1, "")) }, true},
		{"create and file", func() error { return s.Put(t.Context(), newID(), 0, filed) }, true},
		{"missing", func() error {
			if _, err := s.Get(t.Context(), newID()); !errors.Is(err, session.ErrNotFound) {
				return errors.New("not missing")
			}
			return nil
		}, false},
	} {
		do(t, c, "CONFIG", "RESETSTAT")
		sent, trips := p.count(func() {
			if err := test.call(); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		})
		if sent != 1 || trips != 1 {
			t.Errorf("%s: %d packets in %d round trips, want 1 in 1", test.name, sent, trips)
		}
		stats, _ := do(t, c, "INFO", "commandstats").ToString()
		writes := false
		for _, command := range []string{"set", "del", "pexpire", "zadd", "eval", "evalsha", "touch", "getex"} {
			writes = writes || strings.Contains(stats, "cmdstat_"+command+":")
		}
		if writes != test.writes {
			t.Errorf("%s: writes = %v, want %v:\n%s", test.name, writes, test.writes, stats)
		}
	}
}

// The index is written first, and on the connection of the record.
func TestIndexComesFirst(t *testing.T) {
	server := redistest.Start(t)
	p := newProxy(t, server.Addr)
	s := open(t, redisstore.Options{Addresses: []string{p.addr}, Timeout: patient})
	eventually(t, "the store works", func() bool { return works(s) })

	monitor, err := net.Dial("tcp", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	monitor.SetDeadline(time.Now().Add(patient))
	io.WriteString(monitor, "MONITOR\r\n")
	seen := make([]byte, 5)
	if _, err := io.ReadFull(monitor, seen); err != nil {
		t.Fatal(err)
	}

	id := newID()
	e := entry(1, "")
	e.IndexKey, e.Deadline = "k", time.Now().Add(time.Hour)
	if err := s.Put(t.Context(), id, 0, e); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(log.String(), `"SET" "session:`+id) {
		n, err := monitor.Read(buf)
		if err != nil {
			t.Fatalf("%v after:\n%s", err, log.String())
		}
		log.Write(buf[:n])
	}
	if !strings.Contains(log.String(), `lua] "ZADD" "session:user:k"`) {
		t.Errorf("the record was written before the index:\n%s", log.String())
	}
}
