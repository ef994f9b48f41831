package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// Rule 5: what a late response sets is dropped; that it ends the session is
// obeyed, for the record, and for the cookie if that is still the current one.
func TestRule5LateResponses(t *testing.T) {
	for _, tt := range []struct {
		name, meanwhile, late string
		status                int
		ends                  bool // the session
		expires               bool // the cookie
	}{
		{name: "set after renew", meanwhile: "control=renew", late: "set=n%3D1"},
		{name: "set after sign-in", meanwhile: "set=user%3Dbob", late: "set=n%3D1"},
		{name: "if-version after renew", meanwhile: "control=renew", late: "set=n%3D1&control=if-version%3D1", status: http.StatusConflict},
		{name: "revoke-others after renew", meanwhile: "control=renew", late: "control=revoke-others"},
		{name: "destroy after renew", meanwhile: "control=renew", late: "control=destroy", ends: true},
		{name: "destroy after a change", meanwhile: "set=n%3D1", late: "control=destroy", ends: true, expires: true},
		{name: "destroy after destroy", meanwhile: "control=destroy", late: "control=destroy", ends: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGate(t)
			s := serve(t, probed, "session\nreverse_proxy "+g.host())
			cookie := s.get("/?set=x%3D1", "").cookie()
			answer := s.getLater(g, "/?"+tt.late+"&h.X-App=1", cookie)
			newest := cookie
			if fresh := s.get("/?"+tt.meanwhile, cookie).cookie(); fresh != "" {
				newest = fresh
			}
			close(g.open)
			late := s.await(answer)
			if late.StatusCode != max(tt.status, http.StatusOK) || (late.Header.Get("X-App") == "") != (tt.status != 0) {
				t.Errorf("the late response: %q", late.raw)
			}
			if (late.Header.Get("Set-Cookie") != "") != tt.expires || late.cookie() != "" {
				t.Errorf("its cookie: %q", late.raw)
			}
			r := s.get("/", newest)
			if strings.Contains(r.body, "id=\n") != tt.ends {
				t.Errorf("afterwards the session is %q", r.body)
			}
			if !tt.ends && strings.Contains(r.body, `"n"`) {
				t.Errorf("the late patch was saved: %q", r.body)
			}
			if dropped := s.logged("dropping what a response sets", sessionID(cookie)) != nil; dropped != (!tt.ends && tt.status == 0) {
				t.Errorf("logged as dropped: %v", dropped)
			}
		})
	}
}
