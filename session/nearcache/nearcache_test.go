package nearcache_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/nearcache"
)

const id = "0123456789abcdefghijkl"

func open(t testing.TB, size int64, maxAge time.Duration) *nearcache.Cache {
	t.Helper()
	c := nearcache.New(size, maxAge)
	t.Cleanup(c.Close)
	c.Enable()
	return c
}

func found(version uint64) session.Entry {
	return session.Entry{Version: version, Value: fmt.Appendf(nil, "v%d", version), TTL: time.Hour}
}

// has asserts what the cache returns now; 0 is nothing.
func has(t *testing.T, c *nearcache.Cache, version uint64) {
	t.Helper()
	want, got := "", ""
	if version > 0 {
		want = string(found(version).Value)
	}
	if e := c.Get(id, time.Now()); e != nil {
		got = string(e.Value)
	}
	if got != want {
		t.Errorf("the cache has %q, want %q", got, want)
	}
}

// The three places where an announcement can be, relative to a read, and all
// else that comes in between.
func TestFill(t *testing.T) {
	for _, test := range []struct {
		name    string
		between func(*nearcache.Cache)
		after   func(*nearcache.Cache)
		want    uint64
	}{
		{"nothing happens", nil, nil, 1},
		{"change in between", func(c *nearcache.Cache) { c.Invalidate(id) }, nil, 0},
		{"change after", nil, func(c *nearcache.Cache) { c.Invalidate(id) }, 0},
		{"drop in between", (*nearcache.Cache).Drop, nil, 0},
		{"drop after", nil, (*nearcache.Cache).Drop, 0},
		{"off in between", (*nearcache.Cache).Disable, nil, 0},
		{"off and on in between", func(c *nearcache.Cache) { c.Disable(); c.Enable() }, nil, 0},
		{"off and on after", nil, func(c *nearcache.Cache) { c.Disable(); c.Enable() }, 0},
		{"on again in between", (*nearcache.Cache).Enable, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := open(t, 1<<20, time.Minute)
			r := c.Begin(id)
			if test.between != nil {
				test.between(c)
			}
			c.Fill(r, found(1))
			if test.after != nil {
				test.after(c)
			}
			has(t, c, test.want)

			// And it works again, unless it is off.
			if !c.Stats().On {
				c.Enable()
			}
			c.Fill(c.Begin(id), found(2))
			has(t, c, 2)
		})
	}
}

func TestOffAtFirst(t *testing.T) {
	c := nearcache.New(1<<20, time.Minute)
	defer c.Close()
	r := c.Begin(id)
	c.Fill(r, found(1))
	has(t, c, 0)
	c.Enable()
	c.Fill(r, found(1)) // sent before anybody listened
	has(t, c, 0)
	if s := c.Stats(); s.Bypassed != 1 || s.Misses != 1 || s.Hits != 0 || !s.On {
		t.Errorf("got %+v", s)
	}
}

// Of two reads the first may come back last.
func TestNewerStays(t *testing.T) {
	c := open(t, 1<<20, time.Minute)
	first, second := c.Begin(id), c.Begin(id)
	c.Fill(second, found(2))
	c.Fill(first, found(1))
	has(t, c, 2)

	// A read that can't be kept has still seen more than what is there.
	late := c.Begin(id)
	for i := range 1 << 14 { // another id of the same shard
		c.Invalidate(fmt.Sprint("other", i))
	}
	has(t, c, 2)
	c.Fill(late, found(3))
	has(t, c, 0)
}

func TestAge(t *testing.T) {
	c := open(t, 1<<20, time.Minute)
	before := time.Now()
	r := c.Begin(id)
	after := time.Now()
	e := found(1)
	e.TTL = time.Hour
	c.Fill(r, e)
	if c.Get(id, before.Add(time.Minute-time.Millisecond)) == nil {
		t.Error("gone before its time")
	}
	if c.Get(id, after.Add(time.Minute)) != nil {
		t.Error("returned past the maximum age")
	}
	e.TTL = time.Second
	c.Fill(c.Begin(id), e)
	if got := c.Get(id, time.Now()); got == nil || time.Until(got.Expires) > time.Second || time.Until(got.Expires) < 0 {
		t.Errorf("got %v", got)
	}
	if c.Get(id, time.Now().Add(time.Second)) != nil {
		t.Error("returned although the store has forgotten it")
	}
}

// The value belongs to whoever read it, and the id is a part of a long line.
func TestCopies(t *testing.T) {
	c := open(t, 1<<20, time.Minute)
	e := found(1)
	c.Fill(c.Begin(id), e)
	e.Value[0] = 'X'
	has(t, c, 1)
}

// What nobody asks for again does not stay in memory.
func TestForgets(t *testing.T) {
	c := open(t, 1<<20, 10*time.Millisecond)
	c.Fill(c.Begin(id), found(1))
	for deadline := time.Now().Add(20 * time.Second); c.Stats().Entries > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %+v", c.Stats())
		}
	}
}

func TestBounds(t *testing.T) {
	const size = 1 << 20
	c := open(t, size, time.Minute)
	for _, length := range []int{0, 500, 4 << 10, 60 << 10} {
		e := session.Entry{Version: 1, Value: []byte(strings.Repeat("x", length)), TTL: time.Hour}
		for i := range 5000 {
			name := fmt.Sprintf("%022d", i)
			c.Fill(c.Begin(name), e)
		}
		var s nearcache.Stats
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			if s = c.Stats(); s.Bytes <= size && s.Entries <= size>>10 && uint64(s.Entries)*uint64(1024+3*length) <= size {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("values of %d bytes: %+v", length, s)
			}
		}
		if s.Entries == 0 {
			t.Errorf("values of %d bytes: none is kept", length)
		}
		t.Logf("values of %d bytes: %d entries, %d bytes", length, s.Entries, s.Bytes)
		c.Drop()
	}

	// One that would take a quarter is not worth it.
	c.Fill(c.Begin(id), session.Entry{Version: 1, Value: make([]byte, size/12), TTL: time.Hour})
	if c.Get(id, time.Now()) != nil {
		t.Error("a value that is too large is kept")
	}
}

func TestClose(t *testing.T) {
	stacks := func() string {
		buf := make([]byte, 1<<20)
		return string(buf[:runtime.Stack(buf, true)])
	}
	var caches []*nearcache.Cache
	for range 3 {
		c := nearcache.New(1<<20, time.Minute)
		c.Enable()
		for i := range 10000 {
			c.Fill(c.Begin(fmt.Sprint(i)), found(1))
		}
		caches = append(caches, c)
	}
	for _, c := range caches {
		c.Close()
		c.Close()
		c.Fill(c.Begin(id), found(1))
		has(t, c, 0)
	}
	for deadline := time.Now().Add(5 * time.Second); strings.Contains(stacks(), "maypok86/otter"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines are left:\n%s", stacks())
		}
	}
}

func BenchmarkGet(b *testing.B) {
	c := open(b, 1<<20, time.Hour)
	c.Fill(c.Begin(id), found(1))
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if c.Get(id, now) == nil {
			b.Fatal("a miss")
		}
	}
}

func BenchmarkInvalidate(b *testing.B) {
	c := open(b, 1<<20, time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		c.Invalidate(id)
	}
}

func BenchmarkFill(b *testing.B) {
	c := open(b, 1<<20, time.Hour)
	e := session.Entry{Version: 1, Value: make([]byte, 600), TTL: time.Hour}
	b.ReportAllocs()
	for b.Loop() {
		c.Fill(c.Begin(id), e)
	}
}
