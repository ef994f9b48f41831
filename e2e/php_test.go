package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
)

// script is an application as it is written for plain PHP: it links nothing.
const script = `<?php
$data = json_decode($_SERVER['HTTP_X_SESSION_DATA'] ?? '{}', true);
function set($patch) { header('X-Session-Set: ' . json_encode($patch)); }
switch ($_SERVER['DOCUMENT_URI']) {
case '/in.php':
	set(['user' => $_POST['name'], 'note' => "caf\u{e9} \u{1f600}"]);
	header('Location: /', true, 303);
	break;
case '/count.php':
	set(['count' => ($data['count'] ?? 0) + 1]);
	break;
case '/set.php':
	set([$_GET['key'] => $_GET['value']]);
	break;
case '/form.php': // without a JSON encoder
	header('X-Session-Set: ' . http_build_query(['lang' => $_GET['lang']]));
	break;
case '/long.php': // 60 KiB of data
	set(['x' => str_repeat('x', 60 * 1024 - strlen('{"x":""}'))]);
	break;
case '/out.php':
	header('X-Session-Control: destroy');
	break;
case '/bad.php':
	header('X-Session-Set: nonsense');
	break;
}
foreach (['HTTP_X_SESSION_USER', 'REMOTE_USER', 'HTTP_X_SESSION_ID', 'HTTP_X_SESSION_VERSION', 'HTTP_COOKIE'] as $name) {
	echo $name, '=', $_SERVER[$name] ?? 'unset', "\n";
}
foreach ($_SERVER as $name => $value) {
	if (str_contains($name, 'SESSION') && str_contains($value, 'mallory')) echo "spoofed $name\n";
}
ksort($data);
echo json_encode($data, JSON_UNESCAPED_UNICODE), "\n";
`

// php starts a FastCGI server with a few processes and returns its address and
// the directory of its scripts, all of which are the one above.
func php(t *testing.T) (addr, root string) {
	t.Helper()
	path := need.Program(t, "php-cgi", "php-cgi8.4", "php-cgi8.2")
	root = t.TempDir()
	for _, name := range []string{"index", "in", "count", "set", "form", "long", "out", "bad"} {
		if err := os.WriteFile(filepath.Join(root, name+".php"), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return startPHP(t, path, "-n", "-d", "cgi.fix_pathinfo=0", "-d", "display_errors=1"), root
}

// startPHP starts a FastCGI server with a few processes and returns its address.
func startPHP(t *testing.T, path string, arguments ...string) (addr string) {
	t.Helper()
	addr = freeAddr(t)
	var output bytes.Buffer
	cmd := exec.Command(path, append(arguments, "-b", addr)...)
	cmd.Env = append(os.Environ(), "PHP_FCGI_CHILDREN=4", "PHP_FCGI_MAX_REQUESTS=0")
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end its children with it
	cmd.WaitDelay = timeout
	if err := lifeline.Start(cmd, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		if t.Failed() {
			t.Logf("php-cgi: %s", output.Bytes())
		}
	})
	eventually(t, "php-cgi listens", func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}

func TestPHP(t *testing.T) {
	addr, root := php(t)
	s := serve(t, storeOption("memory"), fmt.Sprintf("session\nroot %s\nphp_fastcgi %s", root, addr))
	expect := func(r *response, status int, lines ...string) {
		t.Helper()
		if r.StatusCode != status {
			t.Errorf("%s, want %d: %q", r.Status, status, r.raw)
		}
		for _, line := range lines {
			if !strings.Contains(r.body, line+"\n") {
				t.Errorf("want %q in %s", line, r.body)
			}
		}
		noSessionHeaders(t, r.raw)
	}

	expect(s.get("/", ""), http.StatusOK, "HTTP_X_SESSION_USER=unset", "REMOTE_USER=", "HTTP_X_SESSION_ID=unset", "[]")

	const form = "name=al%20ice%C3%A9"
	r := s.parse(s.raw(fmt.Sprintf("POST /in.php HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", s.addr, len(form), form)))
	expect(r, http.StatusSeeOther)
	cookie := r.cookie()
	if cookie == "" || r.Header.Get("Location") != "/" {
		t.Fatalf("signing in: %q", r.raw)
	}
	expect(s.get("/", cookie+"; theme=dark"), http.StatusOK, "HTTP_X_SESSION_USER=al ice%C3%A9", "REMOTE_USER=al ice%C3%A9",
		"HTTP_X_SESSION_ID="+sessionID(cookie), "HTTP_X_SESSION_VERSION=1", "HTTP_COOKIE=theme=dark",
		`{"note":"café 😀","user":"al iceé"}`)

	for range 3 {
		expect(s.get("/count.php", cookie), http.StatusOK)
	}
	expect(s.get("/form.php?lang=de%2CCH", cookie), http.StatusOK)
	expect(s.get("/", cookie), http.StatusOK, `{"count":3,"lang":"de,CH","note":"café 😀","user":"al iceé"}`)

	expect(s.get("/bad.php", cookie), http.StatusBadGateway)

	expect(s.get("/out.php", cookie), http.StatusOK)
	expect(s.get("/", cookie), http.StatusOK, "HTTP_X_SESSION_USER=unset", "REMOTE_USER=", "[]")
}

// As much as can be exposed arrives whole.
func TestPHPGetsLongHeaders(t *testing.T) {
	addr, root := php(t)
	s := serve(t, storeOption("memory"), fmt.Sprintf("session {\n\texposed 60KiB\n}\nroot %s\nphp_fastcgi %s", root, addr))
	r := s.get("/long.php", "")
	if want := `{"x":"` + strings.Repeat("x", 60<<10-len(`{"x":""}`)) + "\"}\n"; !strings.HasSuffix(s.get("/", r.cookie()).body, want) {
		t.Errorf("%.300q", s.get("/", r.cookie()).raw)
	}
}

func TestPHPSeesNothingFromClients(t *testing.T) {
	addr, root := php(t)
	s := serve(t, storeOption("memory"), fmt.Sprintf("session\nroot %s\nphp_fastcgi %s", root, addr))
	cookie := s.parse(s.raw("POST /in.php HTTP/1.1\r\nHost: " + s.addr + "\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
		"Content-Length: 10\r\nConnection: close\r\n\r\nname=alice")).cookie()
	for _, line := range []string{
		"X-Session-User: mallory",
		"X_Session_User: mallory",
		"x.session.user: mallory",
		"X~Session~User: mallory",
		"X-Session_User: mallory",
		`X-Session-Data: {"user":"mallory"}`,
		"X-Session-Foo: mallory",
		"Remote-User: mallory\r\nRemote_User: mallory\r\nX-Session-User: mallory",
		"Connection: X-Session-User",
		"Connection: x-session-user, X-Session-Data\r\nX-Session-User: mallory",
	} {
		if r := s.get("/", "", line); strings.Contains(r.body, "spoofed") || !strings.Contains(r.body, "HTTP_X_SESSION_USER=unset\nREMOTE_USER=\n") {
			t.Errorf("%q without a session: %s", line, r.body)
		}
		if r := s.get("/", cookie, line); strings.Contains(r.body, "spoofed") || !strings.Contains(r.body, "HTTP_X_SESSION_USER=alice\nREMOTE_USER=alice\n") {
			t.Errorf("%q with a session: %s", line, r.body)
		}
	}
}

func TestPHPInParallel(t *testing.T) {
	addr, root := php(t)
	s := serve(t, storeOption("memory"), fmt.Sprintf("session\nroot %s\nphp_fastcgi %s", root, addr))
	cookie := s.get("/count.php", "").cookie()
	const n = 20
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { s.get(fmt.Sprintf("/set.php?key=k%d&value=v%d", i, i), cookie) })
	}
	wg.Wait()
	r := s.get("/", cookie)
	for i := range n {
		if want := fmt.Sprintf(`"k%d":"v%d"`, i, i); !strings.Contains(r.body, want) {
			t.Errorf("%s was lost: %s", want, r.body)
		}
	}
}
