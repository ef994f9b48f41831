package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// readmitted are the server's options that let headers in which Caddy drops by
// itself: our handler does not rely upon that.
const readmitted = probed + `
servers {
	expected_underscore_headers x_session_* x_remote_* X_Session.User
	expected_dot_headers x.session.* x.remote.*
}`

// spoofed are header lines of a client that wants to be mallory.
var spoofed = []string{
	"X-Session-User: mallory", "X-Session-User: mallory too", "x-sEsSiOn-uSeR: mallory",
	"X-Session-Id: mallory", "X-Session-Version: 9", `X-Session-Data: {"user":"mallory"}`,
	"X-Session-Set: user=mallory", "X-Session-Control: destroy", "X-Session-Whatever: mallory", "X-Session-: mallory",
	"X_Session_User: mallory", "x_session_user_: mallory", "X_Session-User: mallory", "X-Session_Data: mallory",
	"x.session.user: mallory", "X.Session-User: mallory", "X_Session.User: mallory",
	"X~Session~User: mallory", "X!session'user: mallory",
}

// promoted are header lines of one who wants to be an admin, where a forward
// line names X-Remote-Role.
var promoted = []string{
	"X-Remote-Role: admin", "X_Remote_Role: admin", "x.remote.role: admin", "x^remote^role: admin",
}

func TestRule1StripsFoldedNames(t *testing.T) {
	const session = "session {\n\tforward user\n\tforward role X-Remote-Role\n%s}\n"
	in := func(more string) string { return fmt.Sprintf(session, more) }
	tests := []struct {
		name   string
		site   string
		cookie bool // the client is signed in
		down   bool // and the store fails after that
		fails  bool // and only the error route asks the application
		want   []string
	}{
		{name: "anonymous", site: in("")},
		{name: "live", site: in(""), cookie: true,
			want: []string{"X-Remote-Role: editor", "X-Session-User: alice", "X-Session-Version: 1"}},
		{name: "store down", site: in("") + "handle_errors {\n\trewrite /error\n\treverse_proxy {app}\n}\n", cookie: true, down: true, fails: true},
		{name: "store down, pass", site: in("on_store_error pass\n"), cookie: true, down: true},
		{name: "not matched", site: "@never path /never\n" + strings.Replace(in(""), "session", "session @never", 1)},
		{name: "not matched, then anonymous", site: "@never path /never\nroute {\n" + strings.Replace(in(""), "session", "session @never", 1) + in("") + "reverse_proxy {app}\n}\n"},
	}
	for _, globals := range []struct{ name, options string }{{"defaults", probed}, {"allow lists", readmitted}} {
		for _, tt := range tests {
			t.Run(globals.name+"/"+tt.name, func(t *testing.T) {
				a := app(t, scripted)
				site := strings.ReplaceAll(tt.site+"reverse_proxy {app}", "{app}", a.host())
				s := serve(t, globals.options, site)
				cookie := ""
				if tt.cookie {
					cookie = s.get(`/?set={"user":"alice","role":"editor"}`, "").cookie()
				}
				if tt.down {
					storeDown(t)
				}
				s.get("/", cookie, append(promoted, spoofed...)...)
				got := a.last().Header
				if (a.last().URL.Path == "/error") != tt.fails {
					t.Fatalf("the request got through to %s", a.last().URL)
				}
				var lines []string
				for _, name := range slices.Concat(under(got, "x-session-"), under(got, "x-remote-")) {
					if name != "X-Session-Id" || len(tt.want) == 0 {
						lines = append(lines, name+": "+strings.Join(got[name], " and "))
					}
				}
				slices.Sort(lines)
				if !slices.Equal(lines, tt.want) {
					t.Errorf("the application gets %q, want %q", lines, tt.want)
				}
			})
		}
	}
}

// The test above proves nothing if these headers do not get there anyway.
func TestSpoofedHeadersArriveWithoutSession(t *testing.T) {
	for globals, want := range map[string]string{
		"": "X!session'user X-Session- X-Session-Control X-Session-Data X-Session-Id X-Session-Set X-Session-User " +
			"X-Session-Version X-Session-Whatever X~session~user",
		readmitted: "X!session'user X.session.user X_session.user X_session_user X_session_user_ X~session~user",
	} {
		a := app(t, nil)
		s := serve(t, globals, "reverse_proxy "+a.host())
		s.get("/", "", spoofed...)
		if got := strings.Join(under(a.last().Header, "x-session-"), " "); got != want {
			t.Errorf("with %q arrive\n%s, want\n%s", globals, got, want)
		}
	}
}

func TestRule1ConnectionCannotDeleteInjected(t *testing.T) {
	a := app(t, nil)
	u := app(t, scripted)
	s := serve(t, probed, "session {\n\tforward user\n\tforward role X-Remote-Role\n}\nreverse_proxy /sign-in "+u.host()+"\nreverse_proxy "+a.host())
	cookie := s.get(`/sign-in?set={"user":"alice","role":"editor"}`, "").cookie()

	for _, connection := range [][]string{
		{"close, X-Session-User, X-Session-Id, X-Session-Version, X-Remote-Role"},
		{"X-Session-User,X-Remote-Role,close"},
		{"close,\tx-session-user\t, x-remote-role ,,X-SESSION-ID"},
		{"close", "X-Session-User", "x-session-version, x-remote-role"},
		{"X-Session-User, X-Remote-Role, X-Session-Id, X-Session-Version"},
		{"close, X_Session_User, X.Session.User, X_Remote_Role"},
	} {
		var lines []string
		for _, value := range connection {
			lines = append(lines, "Connection: "+value)
		}
		lines = append(lines, "X-Hop: 1")
		s.raw(strings.Replace(s.request("GET", "/", "", append(lines, "Cookie: "+cookie)...), "HTTP/1.1", "HTTP/1.0", 1))
		got := a.last().Header
		if got.Get("X-Session-User") != "alice" || got.Get("X-Remote-Role") != "editor" || got.Get("X-Session-Id") == "" || got.Get("X-Session-Version") != "1" {
			t.Errorf("Connection: %q: the application gets %q", connection, got)
		}
	}

	// What is not ours works as ever.
	s.get("/", cookie, "Connection: X-Hop, X-Session-User", "X-Hop: 1")
	if got := a.last().Header; got.Get("X-Hop") != "" || got.Get("X-Session-User") != "alice" {
		t.Errorf("after Connection: X-Hop the application gets %q", got)
	}
}

func TestRule1ConnectionKeepsUpgrade(t *testing.T) {
	u := upstream(t, upgrading(""))
	a := app(t, scripted)
	s := serve(t, probed, "session\nreverse_proxy /sign-in "+a.host()+"\nreverse_proxy "+u.addr)
	cookie := s.get("/sign-in?set=user%3Dalice", "").cookie()

	c := s.dial()
	defer c.Close()
	echo(t, c, s.request("GET", "/", "", "Cookie: "+cookie, "Connection: X-Session-User, Upgrade, X-Session-Id", "Upgrade: websocket"))
	got := u.last().Header
	if got.Get("Connection") != "Upgrade" || got.Get("Upgrade") != "websocket" || got.Get("X-Session-User") != "alice" || got.Get("X-Session-Id") == "" {
		t.Errorf("the application gets %q", got)
	}
}

func TestRule1TrailersCannotSmuggle(t *testing.T) {
	u := upstream(t, always(saying("200 OK", "")))
	a := app(t, scripted)
	const trailers = "X-Session-User: mallory\r\nX_Session_User: mallory\r\nx.session.user: mallory\r\nX~Session~Data: mallory\r\n" +
		"X-Remote-Role: admin\r\nX_Remote_Role: admin\r\nX-Checksum: 1234\r\n"
	const body = "5\r\nhello\r\n0\r\n" + trailers + "\r\n"
	const session = "session {\n\tforward role X-Remote-Role\n}\n"

	for name, site := range map[string]string{
		"session":     session + "reverse_proxy " + u.addr,
		"buffered":    session + "reverse_proxy " + u.addr + " {\n\trequest_buffers 4KiB\n}",
		"not matched": "@never path /never\n" + strings.Replace(session, "session", "session @never", 1) + "reverse_proxy " + u.addr,
	} {
		s := serve(t, readmitted, "handle /sign-in {\n"+session+"reverse_proxy "+a.host()+"\n}\nhandle {\n"+site+"\n}")
		live := s.get(`/sign-in?set={"user":"alice","role":"editor"}`, "").cookie()
		for _, announced := range []string{
			"X-Checksum",
			"X-Checksum, X-Session-User, X_Session_User, x.session.user, X~Session~Data, X-Remote-Role, X_Remote_Role",
			"x-session-user , X-Checksum",
			"X-Session-User",
			"",
		} {
			for _, cookie := range []string{"", live} {
				lines := []string{"Transfer-Encoding: chunked", "Cookie: " + cookie}
				if announced != "" {
					lines = append(lines, "Trailer: "+announced)
				}
				r := s.parse(s.raw(s.request("POST", "/", body, lines...)))
				if r.StatusCode != http.StatusOK {
					t.Fatalf("%s: answer %q", name, r.raw)
				}
				got := u.last()
				if names := slices.Concat(under(got.Trailer, "x-session-"), under(got.Trailer, "x-remote-")); names != nil {
					t.Errorf("%s, announcing %q: the application gets the trailers %q", name, announced, names)
				}
				if strings.Contains(announced, "X-Checksum") && got.Trailer.Get("X-Checksum") != "1234" {
					t.Errorf("%s, announcing %q: the client's own trailer is lost: %q", name, announced, got.Trailer)
				}
				if user := got.Header.Get("X-Session-User"); (user == "alice") != (cookie != "" && name != "not matched") {
					t.Errorf("%s, announcing %q: the application sees user %q", name, announced, user)
				}
			}
		}
	}
}

// lateTrailers is a request body that adds trailers when it ends, which the
// client has not announced.
type lateTrailers struct {
	io.Reader
	request *http.Request
}

func (l *lateTrailers) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == io.EOF {
		for _, name := range []string{"X-Session-User", "X-Session-Role", "X~session~user"} {
			l.request.Trailer[name] = []string{"mallory"}
		}
		l.request.Trailer["X-Checksum"] = []string{"1234"}
	}
	return n, err
}

func TestRule1TrailersOfEachProtocol(t *testing.T) {
	u := upstream(t, always(saying("200 OK", "")))
	eachClient(t, "session\nreverse_proxy "+u.addr, func(t *testing.T, c *client) {
		if c.proto == "HTTP/1.0" {
			return // it has no trailers
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "POST", "https://"+c.addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Body = io.NopCloser(&lateTrailers{strings.NewReader("hello"), r})
		r.ContentLength = -1
		r.Trailer = http.Header{"X-Checksum": nil, "X-Session-Role": nil}
		res, err := c.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		got := u.last()
		// The HTTP/3 server reads no trailers, so there is none to go on either.
		lost := got.Trailer.Get("X-Checksum") != "1234" && c.proto != "HTTP/3.0"
		if names := under(got.Trailer, "x-session-"); names != nil || lost {
			t.Errorf("the application gets the trailers %q", got.Trailer)
		}
	})
}

func TestRule1OtherPrefixes(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, probed, "session {\n\theader_prefix X-App-\n}\nreverse_proxy "+a.host())
	s.get("/", "", "X-Session-Token: of the application", "X-App-User: mallory", "X_App_User: mallory", "X-Application: 1")
	got := a.last().Header
	if got.Get("X-Session-Token") == "" || got.Get("X-Application") == "" || under(got, "x-app-") != nil {
		t.Errorf("the application gets %q", got)
	}
}
