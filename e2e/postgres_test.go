package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session/pgstore"
	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
)

// Another Caddy that ends a session has the connections closed here.
func TestPostgresTellsOtherNodes(t *testing.T) {
	a := streamApp(t)
	server := pgtest.Shared(t)
	s := serve(t, storeOption(postgresStore(server, "told")), "session\nreverse_proxy "+a.host())
	store, err := pgstore.New(pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: "told", Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	cookie := signInEventually(t, s, "alice")
	_, ws, _ := s.upgrade(cookie, webSocketKey)
	admin := server.Connect(t)
	eventually(t, "Caddy listens", func() bool {
		var n int
		err := admin.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN "told_ended"'`).Scan(&n)
		return err == nil && n > 0
	})
	start := time.Now()
	if err := store.Delete(t.Context(), sessionID(cookie), 0); err != nil {
		t.Fatal(err)
	}
	if err := store.Notify(t.Context(), sessionID(cookie)); err != nil {
		t.Fatal(err)
	}
	closes(t, "the WebSocket", ws, start)
	if took := time.Since(start); busy.Exceeds(took, 2*time.Second) {
		t.Errorf("told at once, closed after %v", took)
	}
}

// While the server is down, who has a session gets a 503 and keeps the cookie, others
// are served; afterwards all are still signed in.
func TestPostgresIsDown(t *testing.T) {
	a := app(t, scripted)
	server := pgtest.Shared(t)
	s := serve(t, inPostgres(t), "session\nreverse_proxy "+a.host())
	cookie := signInEventually(t, s, "alice")
	server.Stop(t)
	if r := s.get("/", ""); r.StatusCode != http.StatusOK {
		t.Errorf("without a session: %d", r.StatusCode)
	}
	for range 3 {
		r := s.get("/", cookie)
		if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || r.Header.Get("Set-Cookie") != "" {
			t.Errorf("with a session: %d, %v", r.StatusCode, r.Header)
		}
	}
	server.Restart(t)
	eventually(t, "it works again", func() bool { return s.get("/", cookie).StatusCode == http.StatusOK })
	if r := a.last(); r.Header.Get("X-Session-User") != "alice" {
		t.Errorf("the application sees %v", r.Header)
	}
}
