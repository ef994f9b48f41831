package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// A password that Redis refuses is told when Caddy starts and when it reloads,
// before anybody comes, and keeps Caddy from neither.
func TestWrongPassword(t *testing.T) {
	redis := redistest.Start(t, "--requirepass", "right")
	option := func(password string) string {
		return storeOption("redis " + redis.Addr + " {\n\t\tpassword " + password + "\n\t}")
	}
	a := app(t, scripted)
	site := "session\nreverse_proxy " + a.host()
	s := serve(t, option("wrong1"), site)
	refused := func(n int) bool { return len(s.logged(`"level":"warn"`, `"logger":"session`, "WRONGPASS")) == n }
	eventually(t, "the start tells that the password is wrong", func() bool { return refused(1) })
	if r := s.get("/", ""); r.StatusCode != http.StatusOK {
		t.Errorf("a visitor without a session: %q", r.raw)
	}
	s.load(option("wrong2"), site)
	eventually(t, "the reload tells that the password is wrong", func() bool { return refused(2) })
	s.load(option("right"), site)
	signInEventually(t, s, "alice")
	if log := s.log.String(); !refused(2) || strings.Contains(log, "wrong1") || strings.Contains(log, "wrong2") {
		t.Errorf("with the right password, or with passwords in it:\n%s", log)
	}
}
