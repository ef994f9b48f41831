package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// bounds of what a visitor waits for while the store is down: one operation,
// and a commit with all that it may try.
const (
	loadBound   = time.Second
	commitBound = 4 * time.Second
)

// quickly fails the test if f takes longer than bound, and returns its result.
func quickly(t *testing.T, bound time.Duration, f func() *response) *response {
	t.Helper()
	start := time.Now()
	r := f()
	if d := time.Since(start); busy.Exceeds(d, bound) {
		t.Errorf("answered after %s", d)
	}
	return r
}

// outage is a Caddy with a Redis server that a test may stop. It has the
// default timeout.
func outage(t *testing.T, settings string) (*server, *redistest.Server, *gate) {
	redis := redistest.Start(t)
	g := newGate(t)
	s := serve(t, storeOption("redis "+redis.Addr), "session {\n"+settings+"\n}\nhandle_errors {\n\trespond \"error page\"\n}\nreverse_proxy "+g.host())
	return s, redis, g
}

// signInEventually waits out a first connection that is slower than the timeout.
func signInEventually(t *testing.T, s *server, user string) (cookie string) {
	t.Helper()
	eventually(t, "sign-in", func() bool {
		cookie = s.get("/?set=user%3D"+user, "").cookie()
		return cookie != ""
	})
	return cookie
}

// failure is a way in which Redis fails, between a proxy and a server.
type failure struct {
	name       string
	begin, end func(*redistest.Server, *redistest.Proxy)
	reads      bool   // sessions can be read nevertheless
	complaint  string // what the log says, once
	relief     string // and when it is over
}

const (
	redisDown, redisBack  = "redis is down", "redis is back"
	noReads, readsAgain   = "redis refuses to read sessions", "redis reads sessions again"
	noWrites, writesAgain = "redis refuses to write sessions", "redis writes sessions again"
)

var failures = []failure{
	{"stopped", func(r *redistest.Server, _ *redistest.Proxy) { r.Stop() },
		func(r *redistest.Server, _ *redistest.Proxy) { r.Restart() }, false, redisDown, redisBack},
	{"frozen", func(r *redistest.Server, _ *redistest.Proxy) { r.Pause() },
		func(r *redistest.Server, _ *redistest.Proxy) { r.Resume() }, false, redisDown, redisBack},
	{"cut off", func(_ *redistest.Server, p *redistest.Proxy) { p.Cut() },
		func(_ *redistest.Server, p *redistest.Proxy) { p.Restore() }, false, redisDown, redisBack},
	{"out of reach", func(_ *redistest.Server, p *redistest.Proxy) { p.Drop() },
		func(_ *redistest.Server, p *redistest.Proxy) { p.Restore() }, false, redisDown, redisBack},
	{"slow", func(_ *redistest.Server, p *redistest.Proxy) { p.Delay(time.Second) },
		func(_ *redistest.Server, p *redistest.Proxy) { p.Restore() }, false, redisDown, redisBack},
	{"read-only", func(r *redistest.Server, _ *redistest.Proxy) { r.Do("REPLICAOF", "127.0.0.1", "1") },
		func(r *redistest.Server, _ *redistest.Proxy) { r.Do("REPLICAOF", "NO", "ONE") }, true, noWrites, writesAgain},
	{"out of memory", func(r *redistest.Server, _ *redistest.Proxy) { r.Do("CONFIG", "SET", "maxmemory", "1") },
		func(r *redistest.Server, _ *redistest.Proxy) { r.Do("CONFIG", "SET", "maxmemory", "0") }, true, noWrites, writesAgain},
	{"without enough replicas", func(r *redistest.Server, _ *redistest.Proxy) { r.Do("CONFIG", "SET", "min-replicas-to-write", "1") },
		func(r *redistest.Server, _ *redistest.Proxy) { r.Do("CONFIG", "SET", "min-replicas-to-write", "0") }, true, noWrites, writesAgain},
	{"not allowed to write", func(r *redistest.Server, _ *redistest.Proxy) {
		r.Do("ACL", "SETUSER", "default", "-set", "-evalsha", "-eval", "-del")
	}, func(r *redistest.Server, _ *redistest.Proxy) { r.Do("ACL", "SETUSER", "default", "+@all") }, true, noWrites, writesAgain},
	{"loading", func(r *redistest.Server, _ *redistest.Proxy) {
		// A reload of its data that takes seconds.
		r.Do("CONFIG", "SET", "loading-process-events-interval-bytes", "1024")
		r.Do("CONFIG", "SET", "key-load-delay", "2000")
		r.Do("DEBUG", "POPULATE", "2000")
		go r.Try("DEBUG", "RELOAD")
		for {
			if _, err := r.Try("GET", "x"); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}, func(r *redistest.Server, _ *redistest.Proxy) {
		for {
			if _, err := r.Try("GET", "x"); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}, false, noReads, readsAgain},
	{"not allowed to read", func(r *redistest.Server, _ *redistest.Proxy) { r.Do("ACL", "SETUSER", "default", "-get") },
		func(r *redistest.Server, _ *redistest.Proxy) { r.Do("ACL", "SETUSER", "default", "+@all") }, false, noReads, readsAgain},
}

func TestRedisOutage(t *testing.T) {
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			redis := redistest.Start(t, "--enable-debug-command", "yes")
			proxy := redistest.NewProxy(t, redis.Addr)
			a := app(t, scripted)
			s := serve(t, storeOption("redis "+proxy.Addr), "session\nhandle_errors {\n\trespond \"error page\"\n}\nreverse_proxy "+a.host())
			cookie := signInEventually(t, s, "alice")
			before := goroutines("")

			f.begin(redis, proxy)
			for range 5 { // from the second time on it is known
				during(t, s, a, f, cookie)
			}
			f.end(redis, proxy)
			eventually(t, "everything goes on", func() bool {
				r := s.get("/", cookie)
				if r.Header.Get("Set-Cookie") != "" {
					t.Errorf("the cookie is changed: %q", r.raw)
				}
				return strings.Contains(r.body, "user=alice ")
			})
			signInEventually(t, s, "bob")
			eventually(t, "the log tells that it is over", func() bool {
				return strings.Contains(s.log.String(), f.relief)
			})
			// What is slow may fail now and then while that begins and ends.
			if n := strings.Count(s.log.String(), `"`+f.complaint+`"`); n != 1 {
				t.Errorf("%q is logged %d times", f.complaint, n)
			}
			eventually(t, "nothing is left over", func() bool { return goroutines("") <= before+5 })
			if open, _ := proxy.Connections(); open > 8 {
				t.Errorf("%d connections are open", open)
			}
		})
	}
}

// during asserts what visitors get while Redis fails.
func during(t *testing.T, s *server, a *application, f failure, cookie string) {
	t.Helper()
	asked := a.count()
	r := quickly(t, loadBound, func() *response { return s.get("/", cookie) })
	if f.reads {
		if !strings.Contains(r.body, "user=alice ") {
			t.Errorf("with a cookie: %q", r.raw)
		}
	} else {
		if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") != "1" {
			t.Errorf("with a cookie: %q", r.raw)
		}
		if r.body != "error page" {
			t.Errorf("handle_errors does not see the error: %q", r.raw)
		}
		if a.count() != asked {
			t.Error("the application was asked")
		}
	}
	if line := r.Header.Get("Set-Cookie"); line != "" {
		t.Errorf("the cookie is changed: %s", line)
	}
	for _, cookie := range []string{"", "csid=forged; csid=" + strings.Repeat("x", 66)} {
		r = quickly(t, loadBound, func() *response { return s.get("/", cookie) })
		if r.StatusCode != http.StatusOK {
			t.Errorf("with the cookie %q: %q", cookie, r.raw)
		}
	}
	if f.complaint == noReads {
		return // it could sign people in
	}
	r = quickly(t, commitBound, func() *response { return s.get("/?set=user%3Dbob&status=302&h.Location=/in", "") })
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") != "" ||
		r.Header.Get("Set-Cookie") != "" || r.Header.Get("Location") != "" {
		t.Errorf("signing in: %q", r.raw)
	}
	r = quickly(t, commitBound, func() *response { return s.get("/?set=lang%3Dfr", cookie) })
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("changing: %q", r.raw)
	}
}

// A Redis that has lost everything signs everybody out, and no more.
func TestRedisRestartedEmpty(t *testing.T) {
	redis := redistest.Start(t, "--appendonly", "no")
	a := app(t, scripted)
	s := serve(t, inRedis(redis), "session\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")
	redis.Restart()
	eventually(t, "an answer", func() bool {
		r := s.get("/", cookie)
		if line := r.Header.Get("Set-Cookie"); line != "" {
			t.Errorf("the cookie is changed: %s", line)
		}
		return r.StatusCode == http.StatusOK && strings.Contains(r.body, "user= ")
	})
	// A connection that was not used since finds out by a creation that is lost.
	var next string
	eventually(t, "the next sign-in", func() bool {
		next = s.get("/?set=user%3Dalice", cookie).cookie()
		return next != ""
	})
	if sessionID(next) == sessionID(cookie) {
		t.Error("the id is used again")
	}
}

// The store goes down between the request and the response.
func TestOutageDuringRequest(t *testing.T) {
	for _, test := range []struct {
		name    string
		control string
		status  int
	}{
		{"read", "", http.StatusOK},
		{"change", "&set=lang%3Dfr", http.StatusServiceUnavailable},
		{"renew", "&control=renew", http.StatusServiceUnavailable},
		{"sign-out", "&control=destroy", http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, redis, g := outage(t, "")
			cookie := signInEventually(t, s, "alice")
			answer := s.getLater(g, "/?h.X-Page=secret"+test.control, cookie)
			redis.Stop()
			close(g.open)
			r := quickly(t, commitBound, func() *response { return s.await(answer) })
			if r.StatusCode != test.status || r.Header.Get("Retry-After") != "" || r.Header.Get("Set-Cookie") != "" {
				t.Errorf("answer: %q", r.raw)
			}
			if ok := test.status == http.StatusOK; strings.Contains(r.body, "user=alice ") != ok || r.Header.Get("X-Page") == "secret" != ok {
				t.Errorf("the client gets what was not saved: %q", r.raw)
			}
			redis.Restart()
			eventually(t, "the session is as before", func() bool {
				return strings.Contains(s.get("/", cookie).body, `user=alice data={"user":"alice"} version=1 `)
			})
		})
	}
}

// A touch that fails is nobody's problem but the operator's.
func TestOutageDuringTouch(t *testing.T) {
	redis := redistest.Start(t)
	g := newGate(t)
	site := "metrics /metrics\nreverse_proxy " + g.host()
	s := serve(t, storeOption("redis "+redis.Addr), "session\n"+site)
	cookie := signInEventually(t, s, "alice")
	s.load(storeOption("redis "+redis.Addr), "session {\n idle 10m\n}\n"+site) // makes it due
	failures := func() string {
		_, after, _ := strings.Cut(s.get("/metrics", "").body, `caddy_session_touches_total{outcome="touch_error"} `)
		count, _, _ := strings.Cut(after, "\n")
		return count
	}
	before := failures()
	answer := s.getLater(g, "/?", cookie)
	redis.Stop()
	close(g.open)
	r := quickly(t, loadBound, func() *response { return s.await(answer) })
	if r.StatusCode != http.StatusOK || !strings.Contains(r.body, "user=alice ") {
		t.Errorf("answer: %q", r.raw)
	}
	eventually(t, "the failed touch is counted", func() bool { return failures() != before })
}

func TestOnStoreErrorPass(t *testing.T) {
	s, redis, a := outage(t, "on_store_error pass")
	cookie := signInEventually(t, s, "alice")
	redis.Stop()
	r := quickly(t, loadBound, func() *response { return s.get("/", cookie) })
	if r.StatusCode != http.StatusOK || r.Header.Get("Set-Cookie") != "" || !strings.Contains(r.body, "version= id=\n") {
		t.Errorf("the request is not anonymous: %q", r.raw)
	}
	if got := r.Header.Get("Cache-Control"); got != "private" {
		t.Errorf("Cache-Control %q: a cache would give this page to everybody", got)
	}
	if got := a.last().Header.Get("Cookie"); got != "" {
		t.Errorf("the application sees the cookie %q", got)
	}
	for _, control := range []string{"set=user%3Dmallory", "set=a%3Db", "control=destroy"} {
		r = quickly(t, commitBound, func() *response { return s.get("/?"+control, cookie) })
		if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %q", control, r.raw)
		}
	}
	redis.Restart()
	eventually(t, "the session is back", func() bool {
		return strings.Contains(s.get("/", cookie).body, "user=alice ")
	})
}

func TestRedisDownAtStart(t *testing.T) {
	redis := redistest.Start(t)
	redis.Stop()
	a := app(t, scripted)
	option, site := storeOption("redis "+redis.Addr), "session\nreverse_proxy "+a.host()
	start := time.Now()
	s := serve(t, option, site)
	s.load(option, "header Generation 2\n"+site)
	s.load(storeOption("redis "+redis.Addr+" {\n\ttimeout 300ms\n}"), site)
	if d := time.Since(start); busy.Exceeds(d, 5*time.Second) {
		t.Errorf("loading took %s", d)
	}
	if r := s.get("/", ""); r.StatusCode != http.StatusOK {
		t.Errorf("without a cookie: %q", r.raw)
	}
	redis.Restart()
	cookie := signInEventually(t, s, "alice")
	eventually(t, "the session is there", func() bool { return strings.Contains(s.get("/", cookie).body, "user=alice ") })
}

// What others have written under our keys must not make a site unusable.
func TestForeignValues(t *testing.T) {
	const complaint = "a stored value that is no session of ours"
	for _, test := range []struct {
		name    string
		command []string // key is to be put after the first word
		// A newer release may know what it means: nobody is signed out.
		newer bool
	}{
		{"garbage", []string{"SET", "garbage"}, false},
		{"empty", []string{"SET", ""}, false},
		{"cut short", []string{"SET", "cs1 0000000000000001 "}, false},
		{"a list", []string{"RPUSH", "x"}, false},
		{"a newer format", []string{"SET", "cs2 0000000000000001 x"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			redis := redistest.Start(t)
			a := app(t, scripted)
			s := serve(t, inRedis(redis), "session\nreverse_proxy "+a.host())
			cookie := s.signIn("alice")
			key := "session:" + sessionID(cookie)
			redisDo(t, redis, "DEL", key)
			redisDo(t, redis, append([]string{test.command[0], key}, test.command[1:]...)...)

			r := s.get("/", cookie)
			if test.newer {
				if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Set-Cookie") != "" {
					t.Errorf("answer: %q", r.raw)
				}
				return
			}
			if r.StatusCode != http.StatusOK || !strings.Contains(r.body, "version= id=\n") {
				t.Errorf("the request is not anonymous: %q", r.raw)
			}
			eventually(t, "the error log", func() bool {
				log := s.log.String()
				return strings.Contains(log, complaint) && strings.Contains(log, sessionID(cookie))
			})
			next := s.get("/?set=user%3Dalice", cookie).cookie()
			if next == "" || sessionID(next) == sessionID(cookie) {
				t.Fatalf("the next sign-in gives %q after %q", next, cookie)
			}
			if r := s.get("/", next); !strings.Contains(r.body, "user=alice ") {
				t.Errorf("after the next sign-in: %s", r.body)
			}
		})
	}
}

func TestEmbeddedFileIsLocked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions.db")
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), "session\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")

	err = s.try(storeOption("embedded "+file), "http://"+s.addr+" {\n\tsession\n}")
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "store redis") {
		t.Errorf("error %v names not the file, or not the way out", err)
	}
	if r := s.get("/", cookie); !strings.Contains(r.body, "user=alice ") {
		t.Errorf("the configuration before does not go on: %q", r.raw)
	}
}

func TestEmbeddedFileIsDamaged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions.db")
	a := app(t, scripted)
	option, site := storeOption("embedded "+file), "session\nreverse_proxy "+a.host()
	s := serve(t, option, site)
	cookie := s.signIn("alice")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Most of the file is space for what comes: the pages are at its beginning.
	damaged := append([]byte("this is no database"), good[19:20_000]...)
	if err := os.WriteFile(file, damaged, 0o600); err != nil {
		t.Fatal(err)
	}

	s.load(option, site)
	if r := s.get("/", cookie); r.StatusCode != http.StatusOK || !strings.Contains(r.body, "version= id=\n") {
		t.Errorf("a lost session: %q", r.raw)
	}
	s.signIn("bob")
	aside, err := filepath.Glob(file + ".damaged-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %q, %v", aside, err)
	}
	if b, err := os.ReadFile(aside[0]); err != nil || string(b) != string(damaged) {
		t.Errorf("the file set aside is another one (%v)", err)
	}
	if log := s.log.String(); !strings.Contains(log, aside[0]) {
		t.Errorf("the log does not say where the damaged file is:\n%s", log)
	}
}
