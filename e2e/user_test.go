package e2e

import (
	"testing"
)

// A password in front of all, then the session of the application: who is signed
// in is the session's user, for {http.auth.user.id} and all that takes it.
func TestUserBehindBasicAuth(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), `route {
	basic_auth {
		team $2a$04$g9nI4oRpMvYWX/h8JNmCIe1fBNp/1Awub/gNcqaOt2BwWI2zus9my
	}
	session
	header X-Shown {http.auth.user.id}
	reverse_proxy `+a.host()+`
}`)
	const password = "Authorization: Basic dGVhbTpoaWNjdXA="
	r := s.get("/?set=user%3Dalice", "", password)
	if got := r.Header.Get("X-Shown"); got != "team" {
		t.Errorf("without a session the user is %q", got)
	}
	if got := s.get("/", r.cookie(), password).Header.Get("X-Shown"); got != "alice" {
		t.Errorf("with a session the user is %q", got)
	}
}

// An error route without a session does not take the user out of the access log.
func TestUserIsLoggedAfterAnError(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), `log
@never path /never
session
route /fail {
	error 500
}
reverse_proxy `+a.host()+`
handle_errors {
	session @never
	respond "error of {http.auth.user.id}"
}`)
	cookie := s.signIn("alice")
	if got := s.get("/fail", cookie).body; got != "error of alice" {
		t.Errorf("the error page says %q", got)
	}
	eventually(t, "the access log has the user", func() bool {
		return s.logged("handled request", `"uri":"/fail"`, `"user_id":"alice"`) != nil
	})
}
