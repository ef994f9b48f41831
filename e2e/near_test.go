package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// nearOption is the global option for a server with a near-cache in front.
func nearOption(r *redistest.Server, block string) string {
	return storeOption("redis " + r.Addr + " {\n\t\ttimeout 5s\n\t\tnear_cache" + block + "\n\t}")
}

// reads returns how often the server was asked for a session.
func reads(t *testing.T, r *redistest.Server) (n int) {
	t.Helper()
	stats, err := redisDo(t, r, "INFO", "commandstats").ToString()
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(stats, "cmdstat_get:calls=")
	fmt.Sscanf(line, "%d", &n)
	return n
}

// inMemory waits until a GET does without the server.
func inMemory(s *server, r *redistest.Server, cookie string) {
	s.t.Helper()
	eventually(s.t, "the session is in memory", func() bool {
		before := reads(s.t.(*testing.T), r)
		s.get("/", cookie)
		return reads(s.t.(*testing.T), r) == before
	})
}

func TestNearCache(t *testing.T) {
	redis := redistest.Start(t)
	a := app(t, scripted)
	site := "session\nreverse_proxy " + a.host()
	s := serve(t, nearOption(redis, " 16MiB {\n\t\t\tmax_age 1h\n\t\t}"), site)
	cookie := s.signIn("alice")
	inMemory(s, redis, cookie)

	for _, test := range []struct {
		method string
		line   string
		asks   bool
	}{
		{"GET", "", false},
		{"HEAD", "", false},
		{"OPTIONS", "", false},
		{"POST", "", true},
		{"PUT", "", true},
		{"PATCH", "", true},
		{"DELETE", "", true},
		{"PROPFIND", "", true},
		{"get", "", true},
		{"GET", "Upgrade: websocket", true}, // it lasts
	} {
		inMemory(s, redis, cookie)
		lines := []string{"Cookie: " + cookie, "Content-Length: 0"}
		if test.line != "" {
			lines = append(lines, test.line, "Connection: close, Upgrade")
		}
		before := reads(t, redis)
		text := s.raw(s.request(test.method, "/", "", lines...))
		if test.method != "HEAD" && !strings.Contains(text, "user=alice ") {
			t.Errorf("%s: %q", test.method, text)
		}
		if asked := reads(t, redis) != before; asked != test.asks {
			t.Errorf("%s %s: asks redis: %v, want %v", test.method, test.line, asked, test.asks)
		}
	}

	// One process always sees its own commits.
	for i := range 50 {
		target := fmt.Sprintf(`/?set={"n":%d}`, i)
		if i%2 == 0 {
			s.get(target, cookie)
		} else {
			s.raw(s.request("POST", target, "", "Cookie: "+cookie, "Content-Length: 0"))
		}
		for range 3 {
			if r := s.get("/", cookie); !strings.Contains(r.body, fmt.Sprintf(`"n":%d,`, i)) {
				t.Fatalf("after the commit of %d: %s", i, r.body)
			}
		}
	}

	// What another one commits is seen without waiting for max_age.
	inMemory(s, redis, cookie)
	redisDo(t, redis, "DEL", "session:"+sessionID(cookie))
	eventually(t, "the end of the session is seen", func() bool {
		return strings.Contains(s.get("/", cookie).body, "id=\n")
	})

	// A changed near-cache is another store, and the old one leaves nothing.
	cookie = s.signIn("bob")
	inMemory(s, redis, cookie)
	s.load(nearOption(redis, ""), site)
	inMemory(s, redis, cookie)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left", func() bool {
		return goroutines("/rueidis.") == 0 && goroutines("/redisstore.") == 0 && goroutines("/otter/") == 0
	})
}

// What is in memory does not hide that redis is down.
func TestNearCacheOutage(t *testing.T) {
	redis := redistest.Start(t)
	a := app(t, scripted)
	s := serve(t, storeOption("redis "+redis.Addr+" {\n\t\tnear_cache {\n\t\t\tmax_age 1h\n\t\t}\n\t}"), "session\nreverse_proxy "+a.host())
	cookie := signInEventually(t, s, "alice")
	inMemory(s, redis, cookie)
	redis.Pause()
	start := time.Now()
	eventually(t, "requests fail", func() bool { return s.get("/", cookie).StatusCode == http.StatusServiceUnavailable })
	if took := time.Since(start); busy.Exceeds(took, 5*time.Second) {
		t.Errorf("requests failed after %v", took)
	}
	redis.Resume()
	eventually(t, "requests succeed", func() bool { return strings.Contains(s.get("/", cookie).body, "user=alice ") })
	inMemory(s, redis, cookie)
}
