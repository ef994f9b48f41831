//go:build unix

package redisstore_test

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// A key that comes while its beginning is read is not one of another kind: the length
// of none is that of an empty one.
func TestPrefixOfAKeyThatComesMeanwhile(t *testing.T) {
	server := redistest.Start(t)
	id := newID()
	want := entry(7, "body")
	between := func() { server.Do("SET", "session:"+id, string(want.Value), "PX", "60000") }
	s := open(t, redisstore.Options{Addresses: []string{splitBefore(t, server.Addr, "*2\r\n$4\r\nPTTL", between)}, Timeout: patient})
	got, err := s.GetPrefix(t.Context(), id, 1000)
	if err != nil || got.Version != want.Version || !bytes.Equal(got.Value, want.Value) || got.Cut || got.TTL > time.Minute {
		t.Errorf("version %d, %q, cut %v, TTL %v, error %v", got.Version, got.Value, got.Cut, got.TTL, err)
	}
}

// splitBefore returns the address of a proxy that once does something between the
// answer to what comes before a command and the command.
func splitBefore(t *testing.T, target, command string, between func()) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	var done atomic.Bool
	pass := func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("tcp", target)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		var waits atomic.Bool
		answered := make(chan struct{})
		go func() {
			defer client.Close()
			buffer := make([]byte, 64<<10)
			for {
				n, err := server.Read(buffer)
				if err != nil {
					return
				}
				client.Write(buffer[:n])
				if waits.Swap(false) {
					close(answered)
				}
			}
		}()
		buffer := make([]byte, 64<<10)
		for {
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			chunk := buffer[:n]
			if at := bytes.Index(chunk, []byte(command)); at > 0 && done.CompareAndSwap(false, true) {
				waits.Store(true)
				server.Write(chunk[:at])
				<-answered
				between()
				chunk = chunk[at:]
			}
			server.Write(chunk)
		}
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go pass(conn)
		}
	}()
	return listener.Addr().String()
}
