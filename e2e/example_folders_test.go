package e2e

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// The folders of examples/, each run as its README says.

// example is a folder of examples/.
type example struct {
	t      *testing.T
	folder string
	ports  []string // pairs: the one that is written, and one that is free here
}

// openExample takes pairs of addresses: one in the Caddyfile, and the one in its
// place.
func openExample(t *testing.T, folder string, addrs ...string) *example {
	t.Helper()
	e := &example{t: t, folder: folder}
	for _, addr := range addrs {
		e.ports = append(e.ports, addr[strings.LastIndex(addr, ":"):])
	}
	return e
}

func (e *example) file(name string) string {
	e.t.Helper()
	return repoFile(e.t, "examples/"+e.folder+"/"+name)
}

// serve runs a Caddyfile of the folder, whose site is on localhost:8080.
func (e *example) serve(name string) *server {
	e.t.Helper()
	return e.run(name, e.file(name))
}

// run runs a Caddyfile that is called like a file of the folder.
func (e *example) run(name, text string) *server {
	e.t.Helper()
	if got := string(caddyfile.Format([]byte(text))); got != text {
		e.t.Errorf("run caddy fmt --overwrite examples/%s/%s", e.folder, name)
	}
	// READMEs have Caddy run in the root of the repository.
	root, err := filepath.Abs("..")
	if err != nil {
		e.t.Fatal(err)
	}
	text = strings.ReplaceAll(text, "\troot ", "\troot "+root+"/")
	s := serveFile(e.t, strings.NewReplacer(e.ports...).Replace(text), "localhost:8080")
	e.ports = append(e.ports, ":8080", s.addr[strings.LastIndex(s.addr, ":"):])
	return s
}

// read types what the README has after each $, and compares what is printed.
// Between two blocks it does what the README says there.
func (e *example) read(between ...func()) {
	e.t.Helper()
	need.Program(e.t, "curl")
	blocks := regexp.MustCompile("(?sm)^```console\n(.*?)^```$").FindAllStringSubmatch(e.file("README.md"), -1)
	if blocks == nil || len(blocks) <= len(between) {
		e.t.Fatalf("the README has %d blocks to type", len(blocks))
	}
	dir := e.t.TempDir()
	var back []string
	for i := 0; i < len(e.ports); i += 2 {
		back = append(back, e.ports[i+1], e.ports[i])
	}
	for i, block := range blocks {
		if i > 0 && i <= len(between) {
			between[i-1]()
		}
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			line, want, _ := strings.Cut(part, "\n")
			cmd := exec.Command(need.Program(e.t, "bash"), "-c", strings.NewReplacer(e.ports...).Replace(line))
			cmd.Dir = dir
			out, err := cmd.Output()
			got := strings.NewReplacer(back...).Replace(string(out))
			if strings.TrimSpace(got) != strings.TrimSpace(want) {
				e.t.Errorf("$ %s\n%s(%v), want\n%s", line, got, err, want)
			}
		}
	}
}

func TestExamplePHP(t *testing.T) {
	addr := startPHP(t, need.Program(t, "php-cgi"), "-n", "-d", "auto_prepend_file="+sessionPHP(t))
	e := openExample(t, "php", "127.0.0.1:9000", addr)
	e.serve("Caddyfile")
	e.read()
}

func TestExampleExpress(t *testing.T) {
	node := need.Program(t, "node")
	modules, err := filepath.Abs("testdata/express/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(modules); err != nil {
		need.Missing(t, "node_modules: npm ci --prefix e2e/testdata/express")
	}
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(node, "../examples/express/app.js")
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "PORT="+port)
	cmd.Stderr = t.Output()
	if err := lifeline.Start(cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	listens(t, addr)
	e := openExample(t, "express", "127.0.0.1:3000", addr)
	e.serve("Caddyfile")
	e.read()

	// What a reader installs is what was tested.
	versions := regexp.MustCompile(`"express": "[^"]*"`)
	here, there := versions.FindString(e.file("package.json")), versions.FindString(repoFile(t, "e2e/testdata/express/package.json"))
	if here != there || here == "" {
		t.Errorf("package.json has %s, and the tests %s", here, there)
	}
}

func TestExampleStaticLanguage(t *testing.T) {
	e := openExample(t, "static-language")
	s := e.serve("Caddyfile")
	e.read()
	if r := s.get("/", ""); r.cookie() != "" || r.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("without a session: %q", r.raw)
	}
}

func TestExampleSharedSignIn(t *testing.T) {
	e := openExample(t, "shared-sign-in", ":8081", freeAddr(t), ":8083", freeAddr(t))
	e.serve("Caddyfile")
	e.read()
}

func TestExampleLoadBalancer(t *testing.T) {
	balancer := freeAddr(t)
	e := openExample(t, "load-balancer", ":8081", freeAddr(t), ":8443", balancer)
	s := e.serve("Caddyfile")
	eventually(t, "the balancer has its certificate", func() bool {
		c, err := tls.Dial("tcp", balancer, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true})
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	e.read()
	if s.logged(`"level":"warn"`, "trusted_proxies", `"peer":"127.0.0.1:`) != nil {
		t.Error("a warning, though all is well")
	}

	// As the README says, but for the block.
	text := regexp.MustCompile(`(?s)\n\tservers .*?\n\t}\n`).ReplaceAllString(e.file("Caddyfile"), "\n")
	without := openExample(t, "load-balancer", ":8081", freeAddr(t), ":8443", balancer)
	s = without.run("Caddyfile", text)
	r := s.parse(s.raw("POST /in HTTP/1.1\r\nHost: " + s.addr + "\r\nX-Forwarded-Proto: https\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	if r.cookie() == "" || r.Cookies()[0].Secure || len(s.logged(`"level":"warn"`, "trusted_proxies", `"peer":"127.0.0.1:`)) == 0 {
		t.Errorf("without trusted_proxies: %q, %s", r.raw, s.log)
	}
}

func TestExampleKeptCookies(t *testing.T) {
	e := openExample(t, "kept-cookies", ":8081", freeAddr(t))
	e.serve("Caddyfile")
	e.read()
}

func TestExampleSeveralPaths(t *testing.T) {
	e := openExample(t, "several-paths", ":8081", freeAddr(t), ":8083", freeAddr(t))
	s := e.serve("Caddyfile")
	e.read()
	const warning = "a request reaches an application without session"
	if s.logged(warning) != nil || !strings.Contains(e.file("README.md"), warning) {
		t.Errorf("a warning, though all is well: %s", s.log)
	}

	wrong := openExample(t, "several-paths", ":8081", freeAddr(t), ":8083", freeAddr(t))
	s = wrong.serve("wrong.Caddyfile")
	for _, path := range []string{"/forum/", "/assets/"} {
		if r := s.get(path, "", "X-Session-User: mallory"); r.body != "forum, user: mallory\n" {
			t.Errorf("%s is guarded: %q", path, r.raw)
		}
	}
	if len(s.logged(`"level":"warn"`, warning)) == 0 {
		t.Errorf("no warning: %s", s.log)
	}
}

func TestExampleRedisSentinel(t *testing.T) {
	g := redistest.StartSentinel(t, redistest.SentinelOptions{})
	_, port, _ := net.SplitHostPort(freeAddr(t))
	e := openExample(t, "redis-sentinel", ":8090", ":"+port,
		":26391", g.Sentinels[0].Addr, ":26392", g.Sentinels[1].Addr, ":26393", g.Sentinels[2].Addr)
	// With more time than a busy machine needs.
	text := strings.Replace(e.file("Caddyfile"), "wait 1 100ms\n", "wait 1 4s\n\t\t\ttimeout 5s\n", 1)
	s := e.run("Caddyfile", text)

	// The other Caddy.
	dir := t.TempDir()
	file := filepath.Join(dir, "Caddyfile")
	writeFile(t, file, strings.NewReplacer(e.ports...).Replace(text), 0o600)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "run", "--config", file)
	cmd.Env = append(os.Environ(), childVariable+"=1", "PORT="+port, "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		stdin.Close()
		cmd.Wait()
	})
	listens(t, "localhost:"+port)

	cookie := s.post("/in", "", nil).cookie()
	e.read(func() {
		g.AwaitReplicas()
		g.AwaitFailover(g.KillPrimary())
		g.AwaitReplicas()
		for _, caddy := range []*server{s, {t: t, addr: "localhost:" + port}} {
			eventually(t, caddy.addr+" has found the new primary", func() bool { return caddy.get("/", cookie).StatusCode == http.StatusOK })
		}
	})
}

// listens waits until a server does.
func listens(t *testing.T, addr string) {
	t.Helper()
	eventually(t, addr+" listens", func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}
