package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// A site changes its store while 100 requests a second come: nobody is signed out,
// and no change that was answered is lost.
func TestMoveUnderLoad(t *testing.T) {
	embedded := "embedded " + filepath.Join(t.TempDir(), "sessions.db")
	redis := redisStore(redistest.Start(t))
	postgres := postgresStore(pgtest.Shared(t), "moved")
	for _, move := range []struct{ name, from, to string }{
		{"embedded to Redis", embedded, redis},
		{"Redis to PostgreSQL", redis, postgres},
	} {
		t.Run(move.name, func(t *testing.T) { moveUnderLoad(t, move.from, move.to) })
	}
}

func moveUnderLoad(t *testing.T, from, to string) {
	site := "session\nreverse_proxy " + app(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond) // so that some are under way whenever the store changes
		scripted(w, r)
	}).host()
	s := serve(t, storeOption(from), site)
	l := startLoad(t, s, visitors)
	answered := func(more int) {
		t.Helper()
		before := len(l.results())
		eventually(t, "the load goes on", func() bool { return len(l.results()) >= before+more })
	}
	answered(2 * rate)
	s.load(storeOption(to+"\n\tread_from "+from), site)
	answered(3 * rate)
	l.end()

	cut := 0
	for _, sample := range l.results() {
		switch sample.status {
		case http.StatusOK:
		case 0: // Caddy breaks connections that come while it changes its listener
			cut++
		default:
			t.Errorf("%s: status %d", sample.task, sample.status)
		}
	}
	check := func(when string) {
		t.Helper()
		for id, cookie := range l.cookies {
			if r := s.get("/", cookie); !strings.Contains(r.body, "id="+id) || versionIn(r.body) < l.versions[id] {
				t.Errorf("%s: session %s was at version %d, and the application sees %q", when, id, l.versions[id], r.body)
			}
		}
	}
	check("while both stores are there")
	s.load(storeOption(to), site)
	check("without the old store")
	t.Logf("%d requests, %d connections cut by the reload, %d sessions moved", len(l.results()), cut, len(l.cookies))
}

// What is ended ends in both stores, and is listed from both, before and after it is
// moved.
func TestMoveAndEnd(t *testing.T) {
	redis := redistest.Start(t)
	embedded := "embedded " + filepath.Join(t.TempDir(), "sessions.db")
	site := "session\nreverse_proxy " + app(t, scripted).host()
	s := serve(t, storeOption(embedded), site)
	var cookies []string
	for range 3 {
		cookies = append(cookies, s.signIn("alice"))
	}
	bob := s.signIn("bob")
	s.load(storeOption(redisStore(redis)+"\n\tread_from "+embedded), site)
	user := func(cookie string) string {
		t.Helper()
		_, rest, _ := strings.Cut(s.get("/", cookie).body, "user=")
		name, _, _ := strings.Cut(rest, " ")
		return name
	}
	if got := user(cookies[0]); got != "alice" {
		t.Fatalf("moved: %q", got)
	}
	own := s.signIn("alice") // in the new store
	s.get("/?control=revoke-others", own)
	for i, cookie := range cookies {
		if got := user(cookie); got != "" {
			t.Errorf("session %d of the user goes on as %q", i, got)
		}
	}
	s.get("/?control=destroy", bob)
	for _, want := range []struct{ cookie, user string }{{own, "alice"}, {bob, ""}} {
		if got := user(want.cookie); got != want.user {
			t.Errorf("got user %q, want %q", got, want.user)
		}
	}
	// What has ended is not in the old store either.
	s.load(storeOption(embedded), site)
	for i, cookie := range append(cookies, bob) {
		if got := user(cookie); got != "" {
			t.Errorf("in the old store, session %d is there as %q", i, got)
		}
	}
}

// Connections that were opened before the store was changed end with their sessions, and
// when nobody can tell any more whether these have ended.
func TestMoveAndConnections(t *testing.T) {
	a := streamApp(t)
	embedded := "embedded " + filepath.Join(t.TempDir(), "sessions.db")
	site := "session\nreverse_proxy " + a.host() + " {\n\tstream_close_delay 10m\n}"
	s := serve(t, storeOption(embedded), site)
	alice, bob := s.signIn("alice"), s.signIn("bob")
	_, ofAlice, _ := s.upgrade(alice, webSocketKey)
	_, ofBob, bobs := s.upgrade(bob, webSocketKey)
	s.load(storeOption("memory\n\tread_from "+embedded), site)
	start := time.Now()
	s.get("/?control=destroy", alice)
	closes(t, "the WebSocket of who has signed out", ofAlice, start)
	stays(t, "another one", bobs)
	start = time.Now()
	bobs.SetReadDeadline(start.Add(timeout))
	s.load(storeOption("memory"), site)
	closes(t, "the WebSocket of a session in the old store", ofBob, start)
}

func TestReadFromItself(t *testing.T) {
	s := serve(t, storeOption("memory"), "respond OK")
	err := s.try("session {\n\tstore memory\n\tread_from memory\n}", fmt.Sprintf("http://%s {\nsession\nrespond OK\n}", s.addr))
	if err == nil || !strings.Contains(err.Error(), "read_from is the store memory itself") {
		t.Errorf("error %v", err)
	}
}
