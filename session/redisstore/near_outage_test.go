//go:build unix

package redisstore_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/redis/rueidis"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// deafness is how long a tracking connection that has gone silent may go
// unnoticed: a ping every quarter of a second, unanswered for a second; and
// what a busy machine takes.
const deafness = 1250*time.Millisecond + time.Second

// trackers returns the ids of the connections that the server tells of changes.
func trackers(t *testing.T, c rueidis.Client) (ids []string) {
	t.Helper()
	list, err := do(t, c, "CLIENT", "LIST").ToString()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(list) {
		var id string
		tracks := false
		for field := range strings.FieldsSeq(line) {
			if v, ok := strings.CutPrefix(field, "id="); ok {
				id = v
			}
			if v, ok := strings.CutPrefix(field, "flags="); ok {
				tracks = strings.Contains(v, "t") && strings.Contains(v, "B")
			}
		}
		if tracks {
			ids = append(ids, id)
		}
	}
	return ids
}

// off asserts that the near-cache is switched off in time, and empty.
func off(t *testing.T, s *redisstore.NearStore, id, why string) {
	t.Helper()
	start := time.Now()
	eventually(t, "the near-cache is off: "+why, func() bool { return !s.NearCacheStats().On })
	if took := time.Since(start); busy.Exceeds(took, deafness) {
		t.Errorf("%s: on for %v", why, took)
	}
	if cached(s, id) != 0 {
		t.Errorf("%s: the session is still in memory", why)
	}
	before := s.NearCacheStats().Bypassed
	cached(s, id)
	if s.NearCacheStats().Bypassed == before {
		t.Errorf("%s: it is not bypassed", why)
	}
}

// on waits until the near-cache works again, and is empty.
func on(t *testing.T, s *redisstore.NearStore, id string) {
	t.Helper()
	eventually(t, "the near-cache is on", func() bool { return works(s.Store) && s.NearCacheStats().On })
	if cached(s, id) != 0 {
		t.Error("it is on again, but not empty")
	}
	keep(t, s, id)
}

func TestNearOutages(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"default timeout": 0, "long timeout": patient} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			s := listening(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: timeout})
			id := created(t, s)

			// Killed while the server lives: the cache may be on again at once.
			c := admin(t, server.Addr)
			for range 10 {
				keep(t, s, id)
				ids := trackers(t, c)
				if len(ids) != 1 {
					t.Fatalf("%d tracking connections, want 1", len(ids))
				}
				start := time.Now()
				do(t, c, "CLIENT", "KILL", "ID", ids[0])
				eventually(t, "the loss is noticed", func() bool { return cached(s, id) == 0 })
				if took := time.Since(start); busy.Exceeds(took, deafness) {
					t.Errorf("the loss of a connection was noticed after %v", took)
				}
				on(t, s, id)
			}

			server.Pause()
			off(t, s, id, "frozen")
			server.Resume()
			on(t, s, id)

			server.Stop()
			off(t, s, id, "stopped")
			server.Restart()
			on(t, s, id)

			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if cached(s, id) != 0 {
				t.Error("closed, but the session is in memory")
			}
			c.Close()
			nothingLeft(t)
		})
	}
}

// hole stands before a server and swallows, when told so, whatever is said on
// tracking connections: no answer, no end.
type hole struct {
	addr string
	deaf atomic.Bool
}

func newHole(t *testing.T, server string) *hole {
	t.Helper()
	h := new(hole)
	h.addr = relay(t, server, func(client, server net.Conn) {
		tracks := new(atomic.Bool)
		go h.copy(server, client, tracks)
		go h.copy(client, server, tracks)
	})
	return h
}

func (h *hole) copy(dst io.WriteCloser, src io.ReadCloser, tracks *atomic.Bool) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], []byte("TRACKING")) {
			tracks.Store(true)
		}
		if tracks.Load() && h.deaf.Load() {
			continue
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A tracking connection that has died without a word is found by its pings,
// while all others work.
func TestNearSilence(t *testing.T) {
	server := redistest.Start(t)
	other := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	h := newHole(t, server.Addr)
	s := listening(t, redisstore.Options{Addresses: []string{h.addr}})
	for range 3 {
		id := created(t, s)
		keep(t, s, id)
		h.deaf.Store(true)
		if err := other.Delete(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		eventually(t, "the end is seen", func() bool { return look(t, s, id) == 0 })
		took := time.Since(start)
		t.Logf("seen after %v", took.Round(time.Millisecond))
		if busy.Exceeds(took, deafness) {
			t.Errorf("the end of a session was seen after %v", took)
		}
		off(t, s, id, "silence")

		// Nobody listens, so nothing is kept.
		id = created(t, other)
		for range 20 {
			look(t, s, id)
			if cached(s, id) != 0 {
				t.Fatal("kept although nobody listens")
			}
			time.Sleep(50 * time.Millisecond)
		}
		h.deaf.Store(false)
		on(t, s, id)
	}
}

// A server that does not announce changes is used without a near-cache, and
// complained about once.
func TestNearRefused(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) redisstore.Options{
		"no permission": func(t *testing.T) redisstore.Options {
			server := redistest.Start(t)
			c := admin(t, server.Addr)
			do(t, c, "ACL", "SETUSER", "caddy", "on", ">"+secret, "~*", "+@all", "-client|tracking")
			c.Close()
			return redisstore.Options{Addresses: []string{server.Addr}, Username: "caddy", Password: secret}
		},
		"RESP2": func(t *testing.T) redisstore.Options {
			return redisstore.Options{Addresses: []string{redistest.Start(t, "--rename-command", "HELLO", "").Addr}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := start(t)
			core, logs := observer.New(zap.InfoLevel)
			opts.Logger, opts.Timeout = zap.New(core), patient
			s := near(t, opts, redisstore.NearOptions{})
			id := created(t, s)
			look(t, s, id)
			warnings := func() []observer.LoggedEntry {
				return logs.FilterMessageSnippet("near-cache is off").All()
			}
			eventually(t, "it is complained about", func() bool { return len(warnings()) > 0 })
			time.Sleep(600 * time.Millisecond) // some more turns of the loop
			for range 3 {
				if look(t, s, id) != 1 || cached(s, id) != 0 {
					t.Error("it does not work without a near-cache")
				}
			}
			if stats := s.NearCacheStats(); stats.On || stats.Hits > 0 {
				t.Errorf("got %+v", stats)
			}
			if all := warnings(); len(all) != 1 || strings.Contains(all[0].Message, secret) {
				t.Errorf("got the warnings %v, want one", all)
			}
			s.Close()
			nothingLeft(t)
		})
	}
}

// The documented permissions and the one for the near-cache are enough.
func TestNearACL(t *testing.T) {
	src, err := os.ReadFile("redisstore.go")
	if err != nil {
		t.Fatal(err)
	}
	_, acl, _ := strings.Cut(string(src), "//	user caddy on >secret ")
	acl, rest, ok := strings.Cut(acl, "\n//\n")
	if !ok || !strings.Contains(rest, "A near-cache needs +client|tracking +client|trackinginfo.") {
		t.Fatal("the package comment does not say what a near-cache needs")
	}
	server := redistest.Start(t)
	c := admin(t, server.Addr)
	rules := append(strings.Fields(strings.ReplaceAll(acl, "//", "")), "+client|tracking", "+client|trackinginfo")
	do(t, c, append([]string{"ACL", "SETUSER", "caddy", "on", ">" + secret}, rules...)...)
	s := listening(t, redisstore.Options{Addresses: []string{server.Addr}, Username: "caddy", Password: secret})
	id := created(t, s)
	keep(t, s, id)
	do(t, c, "DEL", "session:"+id)
	eventually(t, "the end is seen", func() bool { return cached(s, id) == 0 })
	s.Close()
	nobody := admin(t, server.Addr)
	if log, err := do(t, nobody, "ACL", "LOG").ToArray(); err != nil || len(log) != 0 {
		t.Errorf("the server refused something: %v, %v", log, err)
	}
}

func TestNearClose(t *testing.T) {
	server := redistest.Start(t)
	opts := redisstore.Options{Addresses: []string{server.Addr}}
	closed := func(what string, s *redisstore.NearStore) {
		t.Helper()
		start := time.Now()
		for range 2 {
			if err := s.Close(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if took := time.Since(start); busy.Exceeds(took, 3*time.Second) {
			t.Errorf("%s: Close took %v", what, took)
		}
		if s.Get(t.Context(), newID()); s.NearCacheStats().On {
			t.Errorf("%s: on after Close", what)
		}
		nothingLeft(t)
	}
	closed("unused", near(t, opts, redisstore.NearOptions{}))
	closed("in use", listening(t, opts))

	s := near(t, opts, redisstore.NearOptions{})
	s.Get(t.Context(), newID())
	closed("connecting", s)

	s = listening(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: redisstore.DefaultTimeout})
	server.Pause()
	closed("frozen", s)
	server.Resume()

	server.Stop()
	s = near(t, opts, redisstore.NearOptions{})
	s.Get(t.Context(), newID())
	time.Sleep(300 * time.Millisecond)
	closed("down", s)
}
