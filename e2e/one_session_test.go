package e2e

import (
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
)

// The applications of examples/one-session, in the order of their ports.
var shops = []string{"php", "node", "python", "ruby", "java"}

// TestExampleOneSession has five applications in five languages share one session,
// each written for the sessions of its own language.
func TestExampleOneSession(t *testing.T) {
	b := &barrier{t: t}
	var ports []string
	for i, addr := range startShops(t) {
		ports = append(ports, fmt.Sprint(":", 8091+i), b.before(addr))
	}
	e := openExample(t, "one-session", ports...)
	// On a disk, twenty commits on one session come one after the other, and on a
	// busy machine the last one may come too late.
	const admin = "\tadmin localhost:8082\n"
	s := e.run("Caddyfile", strings.Replace(e.file("Caddyfile"), admin, admin+"\tsession {\n\t\tstore memory\n\t}\n", 1))
	e.read()
	// What a reader installs is what is tested.
	express := regexp.MustCompile(`"express": "[^"]*"`)
	if here, there := express.FindString(e.file("node/package.json")), express.FindString(repoFile(t, "e2e/testdata/express/package.json")); here != there || here == "" {
		t.Errorf("package.json has %s, and the tests %s", here, there)
	}
	t.Run("parallel", func(t *testing.T) { shopParallel(t, s, b) })
	t.Run("sign-in", func(t *testing.T) { shopSignIn(t, s) })
	t.Run("page", func(t *testing.T) { shopPage(t, s) })
}

// startShops runs the applications as the README says, and returns their addresses.
func startShops(t *testing.T) (addrs []string) {
	t.Helper()
	for _, name := range []string{"php-cgi", "puma", "javac"} {
		need.Program(t, name)
	}
	for library, command := range map[string][]string{
		"python3-flask": {need.Program(t, "/usr/bin/python3"), "-c", "import flask"},
		"ruby-sinatra":  {need.Program(t, "ruby"), "-e", "require 'sinatra/base'"},
		"node_modules: npm ci --prefix e2e/testdata/express": {need.Program(t, "node"), "-e", "require('./testdata/express/node_modules/express')"},
		"libtomcat10-java": {"ls", "/usr/share/java/tomcat10-coyote.jar"},
	} {
		if exec.Command(command[0], command[1:]...).Run() != nil {
			need.Missing(t, library)
		}
	}
	// go test runs again what has opened a file that has changed.
	for _, name := range []string{
		"adapters/php/session.php", "adapters/express/index.js", "adapters/python/caddy_session.py",
		"adapters/ruby/lib/rack/session/caddy.rb", "adapters/java/CaddySessionFilter.java",
		"examples/one-session/php/index.php", "examples/one-session/node/app.js", "examples/one-session/python/app.py",
		"examples/one-session/ruby/app.rb", "examples/one-session/java/Shop.java", "examples/one-session/java/Main.java",
		"examples/one-session/public/index.html", "examples/one-session/public/style.css",
	} {
		repoFile(t, name)
	}
	modules, err := filepath.Abs("testdata/express/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	var ports []string
	for range shops {
		addr := freeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		addrs, ports = append(addrs, addr), append(ports, port)
	}
	log := newLogFile(t)
	file, err := os.Create(log.path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command("../examples/one-session/run.sh", ports...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	cmd.Stdout, cmd.Stderr = file, file
	if err := lifeline.Start(cmd, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("the applications: %s", log)
		}
	})
	for i, addr := range addrs {
		eventually(t, shops[i]+" listens", func() bool {
			select {
			case <-ended:
				t.Fatal("one of the applications does not start")
			default:
			}
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	return addrs
}

// barrier is between Caddy and applications. It can hold requests, with the
// session's data that they have, until all that it waits for are there.
type barrier struct {
	t       *testing.T
	mu      sync.Mutex
	missing int
	all     chan struct{} // closed when none is missing
}

// await has the next n requests wait for each other.
func (b *barrier) await(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missing, b.all = n, make(chan struct{})
}

// arrive waits if there is something to wait for.
func (b *barrier) arrive() {
	b.mu.Lock()
	all := b.all
	if b.missing > 0 {
		if b.missing--; b.missing == 0 {
			close(all)
		}
	}
	b.mu.Unlock()
	if all == nil {
		return
	}
	select {
	case <-all:
	case <-b.t.Context().Done():
	}
}

// before returns an address that leads to an application's.
func (b *barrier) before(addr string) string {
	b.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go b.pass(in, addr)
		}
	}()
	return l.Addr().String()
}

// pass forwards one connection. Caddy has one request at a time on each.
func (b *barrier) pass(in net.Conn, addr string) {
	defer in.Close()
	out, err := net.Dial("tcp", addr)
	if err != nil {
		b.t.Errorf("an application has ended: %v", err)
		return
	}
	defer out.Close()
	go func() {
		io.Copy(in, out)
		in.Close()
	}()
	for chunk := make([]byte, 64<<10); ; {
		n, err := in.Read(chunk)
		if n > 0 {
			b.arrive()
			if _, err := out.Write(chunk[:n]); err != nil {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			out.(*net.TCPConn).CloseWrite()
		}
		if err != nil {
			return
		}
	}
}

// Four requests to each application have all read the session before the first of
// them writes, and nothing is lost.
func shopParallel(t *testing.T, s *server, b *barrier) {
	const each = 4
	cookie := s.post("/java/add", "", url.Values{"item": {"first"}}).cookie()
	want := []string{"first"}
	var all sync.WaitGroup
	b.await(each * len(shops))
	for _, shop := range shops {
		for i := range each {
			item := fmt.Sprintf("%s-%d", shop, i)
			want = append(want, item)
			all.Go(func() {
				if r := s.post("/"+shop+"/add", cookie, url.Values{"item": {item}}); r.cookie() != "" || r.StatusCode/100 != 3 {
					t.Errorf("%s: %q", shop, r.raw)
				}
			})
		}
	}
	all.Wait()
	for _, shop := range shops {
		page := s.get("/"+shop+"/", cookie).body
		for _, item := range want {
			if !strings.Contains(page, "<li>"+item+" × 1</li>") {
				t.Errorf("%s does not show %s: %s", shop, item, page)
			}
		}
		if n := strings.Count(page, "<li>"); n != len(want) {
			t.Errorf("%s shows %d things, want %d: %s", shop, n, len(want), page)
		}
	}
}

// Who signs in to one is signed in to all, and who signs out of one is signed out
// of all, whoever it is that has the cookie.
func shopSignIn(t *testing.T, s *server) {
	origin, err := url.Parse("http://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	const name = "Zoë <b>"
	for i, shop := range shops {
		visitor := enter(t, s)
		cookie := func() string {
			t.Helper()
			cookies := visitor.client.Jar.Cookies(origin)
			if len(cookies) != 1 {
				t.Fatalf("%s: the visitor has %v", shop, cookies)
			}
			return cookies[0].String()
		}
		shows := func(what, cookie, user, thing string) {
			t.Helper()
			for _, shop := range shops {
				r := s.get("/"+shop+"/", cookie)
				if text := html.UnescapeString(r.body); r.StatusCode != http.StatusOK || !strings.Contains(text, user) ||
					strings.Contains(text, "<li>") != (thing != "") || !strings.Contains(text, thing) {
					t.Errorf("%s, %s: want %q and %q in %q", what, shop, user, thing, r.raw)
				}
			}
		}
		other := shops[(i+1)%len(shops)]
		shows("before "+shop, "", "Nobody is signed in.", "")
		press := func(shop, button string, form ...string) {
			t.Helper()
			if r, body := visitor.post("/"+shop+"/"+button, form...); r.StatusCode != http.StatusOK || r.Request.URL.Path != "/"+shop+"/" {
				t.Errorf("%s of %s leads to %s: %s %s", button, shop, r.Request.URL, r.Status, body)
			}
		}
		press(other, "add", "item", "käse")
		before := cookie()
		press(shop, "in", "user", name)
		if cookie() == before {
			t.Errorf("to sign in to %s has not changed the cookie", shop)
		}
		shows("signed in to "+shop, cookie(), "Hello, "+name+"!", "<li>käse × 1</li>")

		signedIn := cookie()
		press(other, "out")
		for _, jar := range []string{before, signedIn} {
			shows("signed out of "+other, jar, "Nobody is signed in.", "")
		}
	}
}

// The page with all five, on a screen and on a phone.
func shopPage(t *testing.T, s *server) {
	b := browse(t)
	const frames = "[...document.querySelectorAll('iframe')]"
	const shown = frames + ".map(frame => frame.contentDocument?.body?.innerText ?? '')"
	all := func(text string) {
		t.Helper()
		eventually(t, fmt.Sprintf("all five show %q", text), func() bool {
			return b.script(fmt.Sprintf(shown+".filter(text => text.includes(%q)).length", text)) == fmt.Sprint(len(shops))
		})
	}
	press := func(shop int, form string) {
		t.Helper()
		b.script(fmt.Sprintf("%s[%d].contentDocument.querySelector('form[action=%s] button').click()", frames, shop, form))
	}
	for _, width := range []int{1280, 360} {
		b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
		b.open("http://" + s.addr + "/?" + fmt.Sprint(width))
		all("Nobody is signed in.")
		for i, item := range []string{"tea", "cup", "spoon", "sugar", "milk"} {
			press(i, "add")
			all(item + " × 1")
		}
		press(2, "in")
		all("Hello, Carol!")
		if cookies := b.cookies(); len(cookies) != 1 {
			t.Errorf("the browser has %+v", cookies)
		}
		const wide = "[document, ..." + frames + ".map(frame => frame.contentDocument)].filter(d => d.documentElement.scrollWidth > d.documentElement.clientWidth).map(d => d.title).join()"
		if titles := b.script(wide); titles != "" {
			t.Errorf("at %d pixels, these are wider: %s", width, titles)
		}
		b.screenshot(t, fmt.Sprint(width))
		press(4, "out")
		all("Nobody is signed in.")
	}
}
