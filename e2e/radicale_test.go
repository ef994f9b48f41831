package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
)

// radicale starts Radicale as Debian ships it, which takes its user from the header
// X-Remote-User, and returns its address.
func radicale(t *testing.T) string {
	t.Helper()
	path := need.Program(t, "radicale")
	dir, addr := t.TempDir(), freeAddr(t)
	config := filepath.Join(dir, "config")
	writeFile(t, config, fmt.Sprintf("[server]\nhosts = %s\n[auth]\ntype = http_x_remote_user\n[storage]\nfilesystem_folder = %s/data\n", addr, dir), 0o600)
	startServer(t, addr, exec.Command(path, "--config", config))
	return addr
}

// startServer starts a server that listens on addr, HOST:PORT or a socket's path, until the test has ended.
func startServer(t *testing.T, addr string, cmd *exec.Cmd) {
	t.Helper()
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end its children with it
	cmd.WaitDelay = timeout
	if err := lifeline.Start(cmd, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			t.Logf("%s: %s", cmd.Path, output.Bytes()[max(0, output.Len()-4000):])
		}
	})
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	eventually(t, cmd.Path+" listens", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s has ended: %s", cmd.Path, cmd.ProcessState)
		default:
		}
		c, err := net.DialTimeout(network, addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// radicaleSite is the recipe of the manual in front of Radicale at addr, with users
// alice and bob, whose passwords are hiccup.
func radicaleSite(t *testing.T, addr string) string {
	t.Helper()
	block := regexp.MustCompile("(?s)```caddyfile\ncalendar\\.example\\.com \\{\n(.*?)\n\\}\n```").FindStringSubmatch(repoFile(t, "docs/caddyfile.md"))
	if block == nil {
		t.Fatal("docs/caddyfile.md has no recipe for calendar.example.com")
	}
	site := strings.ReplaceAll(block[1], "radicale:5232", addr)
	user := regexp.MustCompile(`(?m)^\t\talice \$.*$`)
	if !user.MatchString(site) || site == block[1] {
		t.Fatalf("the recipe has no user alice or no radicale:5232:\n%s", site)
	}
	return user.ReplaceAllLiteralString(site, "\t\talice "+hiccup+"\n\t\tbob "+hiccup)
}

// calendar is a site with Radicale behind it.
type calendar struct{ *operated }

func (c calendar) do(method, target, body string, lines ...string) *response {
	c.t.Helper()
	head := strings.Join(append(lines, "Host: "+c.addr, fmt.Sprintf("Content-Length: %d", len(body)), "Connection: close"), "\r\n")
	return c.parse(c.raw(method + " " + target + " HTTP/1.1\r\n" + head + "\r\n\r\n" + body))
}

// sessions returns how many there are of a user, "" for all.
func (c calendar) sessions(user string) int {
	c.t.Helper()
	status, answer := c.ask("POST", "/session/list", `{"limit":100,"subject":"`+user+`"}`, isJSON)
	var list struct{ Sessions []any }
	if err := json.Unmarshal([]byte(answer), &list); status != http.StatusOK || err != nil {
		c.t.Fatalf("%d %s: %v", status, answer, err)
	}
	return len(list.Sessions)
}

func basic(user string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":hiccup"))
}

// An application that takes its user from a header, behind Basic authentication: for
// browsers, which sign in once, and for programs that never send a cookie.
func TestRadicale(t *testing.T) {
	addr := radicale(t)
	site := radicaleSite(t, addr)
	c := calendar{serveOperated(t, storeOption("memory"), site)}
	const (
		event = "/alice/work/1.ics"
		ics   = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//x//EN\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T000000Z\r\nSUMMARY:Private\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	)
	wants := func(what string, r *response, status int) {
		t.Helper()
		if r.StatusCode != status || strings.Contains(r.body, "SUMMARY:Private") != (status == http.StatusOK) {
			t.Errorf("%s: want %d: %q", what, status, r.raw)
		}
	}
	// Every spelling that a server by CGI's rules reads as this header.
	forged := []string{"X-Remote-User: alice", "X_Remote_User: alice", "x-remote_user: alice", "X_REMOTE_USER: alice"}

	// Nobody is in front of it here.
	direct := func(line string) *response {
		return (&server{t: t, addr: addr}).parse((&server{t: t, addr: addr}).raw("GET " + event + " HTTP/1.0\r\n" + line + "\r\n\r\n"))
	}

	// A program keeps no cookies.
	if r := c.do("MKCALENDAR", "/alice/work/", "", basic("alice")); r.StatusCode != http.StatusCreated {
		t.Fatalf("MKCALENDAR: %q", r.raw)
	}
	if r := c.do("PUT", event, ics, basic("alice"), "Content-Type: text/calendar"); r.StatusCode != http.StatusCreated {
		t.Fatalf("PUT: %q", r.raw)
	}
	for _, line := range forged {
		wants("without Caddy, "+line, direct(line), http.StatusOK)
	}
	for range 20 {
		r := c.do("GET", event, "", basic("alice"), "Accept: */*")
		wants("a program", r, http.StatusOK)
		if r.Header.Get("Set-Cookie") != "" {
			t.Errorf("a program gets a cookie: %q", r.raw)
		}
	}
	if n := c.sessions(""); n != 0 {
		t.Errorf("programs have %d sessions", n)
	}
	for _, line := range forged {
		wants("nobody with "+line, c.do("GET", event, "", line), http.StatusUnauthorized)
		wants("bob with "+line, c.do("GET", event, "", basic("bob"), line), http.StatusForbidden)
	}

	// A browser signs in once.
	const page = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
	signIn := func(user string) (cookie string) {
		t.Helper()
		r := c.do("GET", event, "", basic(user), page)
		if cookie = "Cookie: " + r.cookie(); cookie == "Cookie: " {
			t.Fatalf("%s gets no cookie: %q", user, r.raw)
		}
		return cookie
	}
	alice, bob := signIn("alice"), signIn("bob")
	wants("alice by her cookie", c.do("GET", event, "", alice, page), http.StatusOK)
	wants("bob by his cookie", c.do("GET", event, "", bob, page), http.StatusForbidden)
	for _, line := range forged {
		wants("bob's cookie with "+line, c.do("GET", event, "", bob, line), http.StatusForbidden)
		wants("alice's cookie with another "+line, c.do("GET", event, "", alice, strings.ReplaceAll(line, "alice", "bob")), http.StatusOK)
	}
	if n := c.sessions(""); n != 2 {
		t.Errorf("two browsers have %d sessions", n)
	}
	if status, answer := c.ask("POST", "/session/end", `{"subject":"alice"}`, isJSON); status != http.StatusOK {
		t.Fatal(answer)
	}
	wants("alice's cookie, ended", c.do("GET", event, "", alice, page), http.StatusUnauthorized)

	// Where programs begin sessions, too, a limit bounds them.
	limited := strings.Replace(strings.Replace(site, "session_set @page", "session_set @anonymous", 1), "session {\n", "session {\n\t\tsubject user max 3\n", 1)
	c.load("admin "+c.admin+"\n"+storeOption("memory"), limited)
	for range 10 {
		wants("a program with a session", c.do("GET", event, "", basic("alice")), http.StatusOK)
	}
	if n := c.sessions("alice"); n != 3 {
		t.Errorf("with a limit of 3, programs have %d sessions", n)
	}
}
