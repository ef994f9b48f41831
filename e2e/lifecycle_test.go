package e2e

import (
	"net/http"
	"strings"
	"testing"
)

func TestAnonymousVisitorsTouchNothing(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, "session {\n\tstore memory\n}", "session\nreverse_proxy "+a.host())
	r := s.get("/", "")
	if r.StatusCode != http.StatusOK || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("anonymous: %q", r.raw)
	}
	for name := range a.last().Header {
		if strings.HasPrefix(name, "X-Session-") {
			t.Errorf("the application of an anonymous visitor sees %s", name)
		}
	}
	if vary := r.Header.Get("Vary"); vary != "Cookie" {
		t.Errorf("Vary %q", vary)
	}
}

func TestSignInChangeAndSignOut(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, "session {\n\tstore memory\n}", "session\nreverse_proxy "+a.host())

	r := s.get("/?set=user%3Dalice&status=302&h.Location=/", "")
	line := r.Header.Get("Set-Cookie")
	if r.StatusCode != http.StatusFound || !strings.HasPrefix(line, "csid=") || !strings.HasSuffix(line, "; Path=/; HttpOnly; SameSite=Lax") {
		t.Fatalf("signing in: %q", r.raw)
	}
	if cc := r.Header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("Cache-Control %q with Set-Cookie", cc)
	}
	noSessionHeaders(t, r.raw)
	cookie := r.cookie()

	r = s.get("/", cookie)
	if !strings.Contains(r.body, `user=alice data={"user":"alice"} version=1`) {
		t.Errorf("after signing in: %q", r.body)
	}
	if got := a.last().Header.Get("Cookie"); got != "" {
		t.Errorf("the application sees the cookie %q", got)
	}
	if cc := r.Header.Get("Cache-Control"); cc != "private" || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("a page of a session: %q", r.raw)
	}

	s.get(`/?set={"lang":"fr"}`, cookie)
	if r = s.get("/", cookie); !strings.Contains(r.body, `data={"lang":"fr","user":"alice"} version=2`) {
		t.Errorf("after a change: %q", r.body)
	}

	r = s.get("/?control=destroy", cookie)
	if line := r.Header.Get("Set-Cookie"); line != "csid=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax" {
		t.Errorf("signing out: %q", line)
	}
	if r = s.get("/", cookie); !strings.Contains(r.body, "user= data= version= id=\n") {
		t.Errorf("the old cookie after signing out: %q", r.body)
	}
}

// What the site's own header directive sets is there before the session handler
// runs, and so in the header that a refused response goes back to.
func TestRule2RefusedHeaderOfTheSiteItself(t *testing.T) {
	s := serve(t, "session {\n\tstore memory\n}", "header X-Session-Set `{bad`\nsession\nrespond ok")
	r := s.get("/", "")
	if r.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d", r.StatusCode)
	}
	noSessionHeaders(t, r.raw)
}
