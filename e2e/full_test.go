package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Visitors have filled what they may have of the store: users sign in, sign out,
// whichever way their application does that, and go on as visitors.
func TestUsersInAFullStore(t *testing.T) {
	a := app(t, scripted)
	for _, query := range []string{"control=destroy", "unset=user", "control=clear", "control=clear&set=n%3D1", "set=user%3Dbob"} {
		t.Run(query, func(t *testing.T) {
			s := serve(t, fmt.Sprintf("session {\n\tstore embedded %s/sessions.db {\n\t\tmax_sessions 40\n\t}\n}", t.TempDir()), "session\nreverse_proxy "+a.host())
			for range 36 {
				s.get("/", s.get("/?set=n%3D1", "").cookie()) // which claims it
			}
			if r := s.get("/?set=n%3D1", ""); r.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("it is not full: %q", r.raw)
			}
			old := s.signIn("alice")
			r := s.get("/?"+query, old)
			if r.StatusCode != http.StatusOK {
				t.Errorf("%q", r.raw)
			}
			if r := s.get("/", old); strings.Contains(r.body, "alice") {
				t.Errorf("the old session: %q", r.body)
			}
		})
	}
}
