package e2e

import (
	"bufio"
	"context"
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

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
	"github.com/caddy-session/caddy-session/internal/selfsigned"
)

// withAPISite returns a site that has the session API, of one that has not, and room for
// sessions that headers can't hold.
func withAPISite(site string) string {
	return strings.Replace(site, "session {\n", "session {\n\tapi\n\tmax_data 2MiB\n", 1)
}

// apiSocket is the global option for a store in memory and an API on a Unix socket.
func apiSocket(t *testing.T) string {
	return withAPI("unix/" + filepath.Join(t.TempDir(), "api.sock"))
}

// apiByTLS is apiSocket for an API that applications on other machines could reach.
func apiByTLS(t *testing.T, cert, key string) string {
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	return withAPI(fmt.Sprintf("%s {\n\tadvertise localhost:%s\n\ttls %s %s\n}", addr, port, cert, key))
}

// mebibyte is the length of data that no header holds.
const mebibyte = "1048576"

// What the adapter for Express does with the API.
func TestAPIExpress(t *testing.T) {
	cert, key, _ := selfsigned.Localhost(t)
	t.Setenv("NODE_EXTRA_CA_CERTS", cert)
	site, log := expressApp(t)
	s := serve(t, apiSocket(t), withAPISite(site))
	for _, express := range []string{"/5", "/4"} {
		t.Run("express"+express[1:], func(t *testing.T) {
			v := enter(t, s)
			v.says(express+"/large?size="+mebibyte, "undefined")
			v.says(express+"/length", mebibyte)
			v.says(express+"/late", "x")
			v.says(express+"/large?size=1", "undefined")
			if kept := v.who(express + "/who").Kept; kept["late"] != true || kept["large"] != "x" {
				t.Errorf("kept: %v", kept)
			}
			v.post(express+"/login", "username", "alice", "password", "secret")
			if who := v.who(express + "/who"); who.User != "alice" {
				t.Errorf("signed in: %+v", who)
			}
			count := 0
			for _, transports := range []string{"websocket", "polling", "polling,websocket"} {
				count += 2
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				cmd := exec.CommandContext(ctx, need.Program(t, "node"), "testdata/express/socket.js", v.origin, express+"/socket.io", v.cookies(), transports, "count")
				output, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := lifeline.Start(cmd, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewScanner(output)
				var got []string
				for len(got) < 2 && lines.Scan() {
					got = append(got, lines.Text())
				}
				cancel()
				cmd.Wait()
				if len(got) != 2 {
					t.Fatalf("%s: only %q", transports, got)
				}
				if kept := v.who(express + "/who").Kept["count"]; kept != float64(count) || !strings.HasSuffix(got[0], `"undefined"]`) {
					t.Errorf("%s: %v, kept %v, want %d", transports, got, kept, count)
				}
			}
		})
	}
	v := enter(t, serve(t, apiByTLS(t, cert, key), withAPISite(site)))
	v.says("/5/large?size="+mebibyte, "undefined")
	v.says("/5/length", mebibyte)
	if strings.Contains(log.String(), "caddy-session-express:") {
		t.Errorf("the application's log: %s", log)
	}
}

// legacy writes its session in ways that headers can't follow.
const legacy = `<?php
session_start();
switch ($_GET['do'] ?? '') {
case 'large':
	$_SESSION['large'] = str_repeat('x', $_GET['size']);
	break;
case 'late':
	$_SESSION['n'] = 1;
	echo str_repeat(' ', 100000);
	$_SESSION['n'] = 2;
	$_SESSION['x'] = ['y' => null];
	unset($_SESSION['large']);
	break;
case 'close':
	$_SESSION['n']++;
	session_write_close();
	session_start();
	$_SESSION['n']++;
	break;
case 'begin':
	$_SESSION['begun'] = 1;
	session_write_close();
	$_SESSION['after'] = 1; // is not saved, as ever
	break;
case 'count':
	$n = $_SESSION['n'];
	usleep(2000);
	$_SESSION['n'] = $n + 1;
	break;
case 'in':
	session_regenerate_id(true);
	$_SESSION['user'] = 'alice';
	session_write_close();
	break;
case 'end':
	echo str_repeat(' ', 100000);
	session_destroy();
	break;
}
echo json_encode(['large' => strlen($_SESSION['large'] ?? '')] + $_SESSION);
`

// What the adapter for PHP does with the API, with and without the lock.
func TestAPIPHP(t *testing.T) {
	path := need.Program(t, "php-cgi", "php-cgi8.4", "php-cgi8.2")
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "index.php"), legacy, 0o644)
	log := filepath.Join(root, "php.log")
	cert, key, _ := selfsigned.Localhost(t)
	addr := startPHP(t, path, "-n", "-d", "openssl.cafile="+cert, "-d", "auto_prepend_file="+sessionPHP(t), "-d", "error_log="+log, "-d", "log_errors=1", "-d", "display_errors=0")
	site := withAPISite(fmt.Sprintf(`session {
			request_headers id version data new_id
		}
		root %s
		handle /locked* {
			rewrite /index.php
			php_fastcgi %[2]s {
				env CADDY_SESSION_LOCK on
			}
		}
		php_fastcgi %[2]s`, root, addr))
	s := serve(t, apiSocket(t), site)
	do := func(target, cookie string) (r *response, session string) {
		t.Helper()
		r = s.get(target, cookie)
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %q", target, r.raw)
		}
		return r, strings.TrimSpace(r.body)
	}
	says := func(target, cookie, want string) *response {
		t.Helper()
		r, got := do(target, cookie)
		if got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
		return r
	}
	cookie := says("/?do=begin", "", `{"large":0,"begun":1,"after":1}`).cookie()
	says("/", cookie, `{"large":0,"begun":1}`)
	// What is over exposed can't be told in a header, whichever way it is saved.
	says("/?do=large&size="+mebibyte, cookie, `{"large":`+mebibyte+`,"begun":1}`)
	says("/", cookie, `{"large":`+mebibyte+`,"begun":1}`)
	do("/?do=late", cookie)
	says("/", cookie, `{"large":0,"begun":1,"n":2,"x":{"y":null}}`)
	says("/?do=close", cookie, `{"large":0,"begun":1,"n":4,"x":{"y":null}}`)
	says("/", cookie, `{"large":0,"begun":1,"n":4,"x":{"y":null}}`)

	const n = 20
	var all sync.WaitGroup
	for range n {
		all.Go(func() { do("/locked?do=count", cookie) })
	}
	all.Wait()
	says("/", cookie, fmt.Sprintf(`{"large":0,"begun":1,"n":%d,"x":{"y":null}}`, 4+n))
	says("/locked?do=close", cookie, fmt.Sprintf(`{"large":0,"begun":1,"n":%d,"x":{"y":null}}`, 6+n))
	do("/locked?do=late", cookie)
	says("/locked", cookie, `{"large":0,"begun":1,"n":2,"x":{"y":null}}`)

	in, _ := do("/?do=in", cookie)
	if in.cookie() == "" || in.cookie() == cookie {
		t.Errorf("signed in: %q", in.raw)
	}
	cookie = in.cookie()
	says("/", cookie, `{"large":0,"begun":1,"n":2,"user":"alice","x":{"y":null}}`)
	do("/?do=end", cookie)
	says("/", cookie, `{"large":0}`)

	s = serve(t, apiByTLS(t, cert, key), site)
	cookie = says("/?do=large&size="+mebibyte, "", `{"large":`+mebibyte+`}`).cookie()
	says("/", cookie, `{"large":`+mebibyte+`}`)
	if text, _ := os.ReadFile(log); len(text) > 0 {
		t.Errorf("PHP's log: %s", text)
	}
}

// What the adapter for Flask, Django and WSGI does with the API.
func TestAPIPython(t *testing.T) {
	cert, key, _ := selfsigned.Localhost(t)
	apps := startPython(t, "SSL_CERT_FILE="+cert)
	a := askingApp(t)
	site := withAPISite(fmt.Sprintf(`session {
			request_headers id version data expires new_id
		}
		handle_path /flask/* {
			reverse_proxy %s
		}
		handle /django/* {
			reverse_proxy %s
		}
		handle_path /wsgi/* {
			reverse_proxy %s
		}
		handle {
			reverse_proxy %s
		}`, apps.flask, apps.django, apps.wsgi, a.host()))
	s := serve(t, apiSocket(t), site)
	large := strings.Repeat("0123456789abcdef", 1<<16)
	cookie := a.begin(s, `{"large":"`+large+`"}`)
	s.get("/flask/set?key=a", cookie)
	for _, path := range []string{"/flask/", "/django/", "/wsgi/"} {
		if data := s.data(path, cookie); data["large"] != large || data["flask-a"] != 1.0 {
			t.Errorf("%s: %d keys, flask-a %v", path, len(data), data["flask-a"])
		}
	}
	s.get("/flask/do/grow/1", cookie)
	done := func(target string) {
		t.Helper()
		if r := s.get(target, cookie); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %q", target, r.raw)
		}
	}
	for _, app := range []string{"/flask", "/django", "/wsgi"} {
		t.Run(app[1:], func(t *testing.T) {
			// Another request sees what is saved before the one that saves it is over.
			for _, what := range []string{"/do/save/", "/stream/"} {
				key := strings.ReplaceAll(app+what, "/", "")
				var all sync.WaitGroup
				all.Go(func() { done(app + what + key) })
				eventually(t, what+" has saved", func() bool { return s.data(app+"/", cookie)[key] == 1.0 })
				s.get(app+"/do/release/"+key, "")
				all.Wait()
				want := map[string]float64{"/do/save/": 1, "/stream/": 2}[what]
				if data := s.data(app+"/", cookie); data[key] != want {
					t.Errorf("%s: %v, want %v", what, data[key], want)
				}
			}

			// Twenty requests have read the same object before one of them puts it.
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() { done(fmt.Sprintf("%s/do/put/%s-%d", app, app[1:], i)) })
			}
			all.Wait()
			cart, _ := s.data(app+"/", cookie)["cart"].(map[string]any)
			for i := range 20 {
				if value, ok := cart[fmt.Sprintf("%s-%d", app[1:], i)]; !ok || value != nil {
					t.Errorf("of the objects put, %d is lost: %v", i, cart)
				}
			}

			done(app + "/do/grow/" + mebibyte)
			if large, _ := s.data(app+"/", cookie)["large"].(string); fmt.Sprint(len(large)) != mebibyte {
				t.Errorf("large: %d bytes", len(large))
			}
			done(app + "/do/grow/1")
		})
	}
	if text := apps.String(); strings.Contains(text, "was changed") || strings.Contains(text, "Traceback") {
		t.Errorf("the applications' log: %s", text)
	}

	// What is flushed is gone before the response.
	var all sync.WaitGroup
	all.Go(func() { done("/django/flush/flushed") })
	eventually(t, "the session is flushed", func() bool { return len(s.data("/django/", cookie)) == 0 })
	s.get("/django/do/release/flushed", "")
	all.Wait()

	// For a session that begins after the first byte, there is no cookie.
	for _, app := range []string{"flask", "django"} {
		if r := s.get("/"+app+"/late", ""); r.body != "first last" || r.cookie() != "" {
			t.Errorf("%s: %q", app, r.raw)
		}
	}
	if n := strings.Count(apps.String(), "session['too-late'] was changed after the response had begun: the change is lost: the session API answers PATCH / with 409"); n != 2 {
		t.Errorf("the log has %d lines of what is lost: %s", n, apps)
	}

	remote := serve(t, apiByTLS(t, cert, key), site)
	cookie = remote.get("/flask/do/grow/"+mebibyte, "").cookie()
	if large, _ := remote.data("/django/", cookie)["large"].(string); fmt.Sprint(len(large)) != mebibyte {
		t.Errorf("by TLS, large: %d bytes", len(large))
	}
}
