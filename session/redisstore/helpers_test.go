//go:build unix

package redisstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/redis/rueidis"
)

func newID() string { return rand.Text()[:22] }

func entry(version uint64, body string) session.Entry {
	return session.Entry{
		Version: version,
		Value:   append(session.AppendHead(nil, version), body...),
		TTL:     time.Hour,
	}
}

func open(t testing.TB, opts redisstore.Options) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// patient is a timeout for tests that are about something else.
const patient = 10 * time.Second

// admin returns a plain client to look behind the store.
func admin(t testing.TB, addr string) rueidis.Client {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// do runs one command given as its words.
func do(t testing.TB, c rueidis.Client, words ...string) rueidis.RedisResult {
	t.Helper()
	res := c.Do(context.Background(), c.B().Arbitrary(words...).Build())
	if err := res.Error(); err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("%s: %v", words[0], err)
	}
	return res
}

// eventually polls until ok, which it must become soon.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// works reports whether the store can be read.
func works(s *redisstore.Store) bool {
	_, err := s.Get(context.Background(), newID())
	return errors.Is(err, session.ErrNotFound)
}

// ours counts the goroutines that a store may have started.
func ours() (n int, stacks string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(g, "redis/rueidis.") || strings.Contains(g, "maypok86/otter/") || strings.Contains(g, "redisstore.(") {
			n++
			stacks += g + "\n\n"
		}
	}
	return n, stacks
}

// nothingLeft asserts that closed stores have left no goroutine.
func nothingLeft(t testing.TB) {
	t.Helper()
	var stacks string
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var n int
		if n, stacks = ours(); n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left:\n%s", n, stacks)
		}
	}
}
