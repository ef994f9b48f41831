package e2e

import (
	"strings"
	"testing"
	"time"
)

// A lowered lifetime or remember is for sessions that exist, too.
func TestLoweredTimes(t *testing.T) {
	eachStore(t, func(t *testing.T, option string) {
		a := app(t, scripted)
		site := func(times string) string { return "session {\n" + times + "\n}\nreverse_proxy " + a.host() }
		s := serve(t, option, site(""))
		born := time.Now()
		plain := signInEventually(t, s, "alice")
		remembered := s.get("/?set=user%3Dbob&control=max-age%3D86400", "").cookie()
		s.load(option, site("idle 1s\nlifetime 1s\nremember 1h"))
		time.Sleep(time.Until(born.Add(1100 * time.Millisecond)))
		if r := s.get("/", plain); !strings.Contains(r.body, "id=\n") {
			t.Errorf("after its lifetime: %q", r.body)
		}
		if r := s.get("/", remembered); !strings.Contains(r.body, "user=bob") {
			t.Errorf("remembered: %q", r.body)
		}
		s.load(option, site("remember 1s"))
		if r := s.get("/", remembered); !strings.Contains(r.body, "id=\n") {
			t.Errorf("remembered for too long: %q", r.body)
		}
	})
}
