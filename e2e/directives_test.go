package e2e

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The directives of Caddy with a session in front of them.
func TestDirectives(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"user.html":    `user={{placeholder "http.auth.user.id"}} header={{.Req.Header.Get "X-Session-User"}}`,
		"include.html": `included={{httpInclude "/user.html"}}`,
		"big.txt":      strings.Repeat("all work and no play\n", 1000),
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := app(t, scripted)
	big := app(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-Session-Set", "visits=1")
		io.WriteString(w, strings.Repeat("all work and no play\n", 1000))
	})
	s := serve(t, storeOption("memory"), fmt.Sprintf(`session
root %[1]s
header /header X-User {http.auth.user.id}
@anonymous {
	path /private
	not header X-Session-User *
}
redir @anonymous /login
rewrite /me /users/{http.auth.user.id}
encode /zipped* gzip
templates *.html
handle /respond {
	respond "you are {http.auth.user.id}"
}
handle_path /zipped/* {
	reverse_proxy %[2]s
}
handle /up {
	reverse_proxy %[3]s {
		header_up X-Who {http.auth.user.id}
	}
}
handle /users/* {
	respond {path}
}
handle /app* {
	reverse_proxy %[3]s
}
handle {
	file_server
}`, root, big.host(), a.host()))
	cookie := s.get("/app?set=user%3Dalice", "").cookie()

	for _, test := range []struct{ target, signedIn, anonymous string }{
		{"/respond", "you are alice", "you are "},
		{"/user.html", "user=alice header=alice", "user= header="},
		{"/me", "/users/alice", "/users/"},
		{"/big.txt", "all work and no play\n", "all work and no play\n"},
	} {
		for who, want := range map[string]string{cookie: test.signedIn, "": test.anonymous} {
			r := s.get(test.target, who)
			if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.body, want) {
				t.Errorf("%s with cookie %q: %.300q, want %q", test.target, who, r.raw, want)
			}
			noSessionHeaders(t, r.raw)
		}
	}
	if r := s.get("/include.html", cookie); !strings.HasPrefix(r.body, "included=user=") {
		t.Errorf("httpInclude: %.300q", r.raw)
	}
	if r := s.get("/header", cookie); r.StatusCode != http.StatusNotFound {
		t.Errorf("header: %q", r.raw)
	}
	if s.get("/up", cookie); a.last().Header.Get("X-Who") != "alice" {
		t.Errorf("header_up: %q", a.last().Header)
	}

	if r := s.get("/private", ""); r.StatusCode != http.StatusFound || r.Header.Get("Location") != "/login" {
		t.Errorf("redir of an anonymous visitor: %q", r.raw)
	}
	if r := s.get("/private", "", "X-Session-User: mallory"); r.StatusCode != http.StatusFound {
		t.Errorf("redir of a liar: %q", r.raw)
	}
	if r := s.get("/private", cookie); r.StatusCode != http.StatusNotFound {
		t.Errorf("redir of a user: %q", r.raw)
	}

	r := s.get("/zipped/", cookie, "Accept-Encoding: gzip")
	unzipped, err := gzip.NewReader(strings.NewReader(r.body))
	if err != nil || r.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("encode: %v: %q", err, r.Header)
	}
	if text, err := io.ReadAll(unzipped); err != nil || len(text) != 21000 {
		t.Errorf("encode: %d bytes, %v", len(text), err)
	}
	if vary := fmt.Sprint(r.Header.Values("Vary")); !strings.Contains(vary, "Accept-Encoding") || !strings.Contains(vary, "Cookie") {
		t.Errorf("encode: Vary %s", vary)
	}
	if r := s.get("/app", cookie); !strings.Contains(r.body, `"visits":"1"`) {
		t.Errorf("what was set behind encode: %s", r.body)
	}
}

// An auth gateway sees the session, and its refusal is a response like others:
// it may sign out. Its consent is no response, so that the page has the word.
func TestForwardAuth(t *testing.T) {
	gateway := app(t, func(w http.ResponseWriter, r *http.Request) {
		switch user := r.Header.Get("X-Session-User"); user {
		case "alice":
			w.Header().Set("X-Role", "admin")
			w.Header().Set("X-Session-Set", "gateway=wrote")
		default:
			w.Header().Set("X-Session-Set", "return=/page")
			http.Redirect(w, r, "/login", http.StatusFound)
		}
	})
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), fmt.Sprintf(`session
handle /in* {
	reverse_proxy %[1]s
}
handle {
	forward_auth %[2]s {
		uri /auth
		copy_headers X-Role
	}
	reverse_proxy %[1]s
}`, a.host(), gateway.host()))

	r := s.get("/page", "", "X-Session-User: alice", "X-Role: admin")
	if r.StatusCode != http.StatusFound || r.cookie() == "" {
		t.Fatalf("refusal: %q", r.raw)
	}
	noSessionHeaders(t, r.raw)
	cookie := s.get("/in?set=user%3Dalice", r.cookie()).cookie()
	r = s.get("/page", cookie)
	if r.StatusCode != http.StatusOK || !strings.Contains(r.body, `data={"return":"/page","user":"alice"}`) {
		t.Errorf("consent: %q", r.raw)
	}
	if got := gateway.last().Header.Get("X-Session-Data"); got != `{"return":"/page","user":"alice"}` {
		t.Errorf("the gateway sees %q", got)
	}
	if got := a.last().Header; got.Get("X-Role") != "admin" || got.Get("X-Session-User") != "alice" {
		t.Errorf("the application sees %q", got)
	}
	noSessionHeaders(t, r.raw)
}

// Responses that Caddy takes from the application to answer something else.
func TestReplacedResponses(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), fmt.Sprintf(`session
handle /copied* {
	reverse_proxy %[1]s {
		handle_response {
			copy_response_headers {
				exclude Content-Length
			}
			respond "instead"
		}
	}
}
handle /dropped* {
	reverse_proxy %[1]s {
		@teapot status 418
		handle_response @teapot {
			respond "instead"
		}
	}
}
handle /error* {
	reverse_proxy %[1]s {
		handle_response {
			copy_response_headers {
				exclude Content-Length
			}
			error 418
		}
	}
}
handle /intercepted* {
	intercept {
		@teapot status 418
		handle_response @teapot {
			header -Content-Length
			respond "instead"
		}
	}
	reverse_proxy %[1]s
}
handle {
	reverse_proxy %[1]s
}
handle_errors {
	respond "error page"
}`, a.host()))
	for _, test := range []struct {
		path   string
		body   string
		status int
		obeyed bool
	}{
		{"/copied", "instead", 200, true},
		{"/dropped", "instead", 200, false},    // no header of the response is in the answer
		{"/error", "error page", 418, false},   // an error return commits nothing
		{"/intercepted", "instead", 200, true}, // it keeps the headers
	} {
		r := s.get(test.path+"?status=418&set=user%3Dalice", "")
		if r.StatusCode != test.status || r.body != test.body {
			t.Errorf("%s: %q", test.path, r.raw)
		}
		noSessionHeaders(t, r.raw)
		cookie := r.cookie()
		if (cookie != "") != test.obeyed {
			t.Errorf("%s: cookie %q", test.path, cookie)
		}
		if cookie != "" && !strings.Contains(s.get("/", cookie).body, "user=alice ") {
			t.Errorf("%s: not signed in", test.path)
		}
	}
}
