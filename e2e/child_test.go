package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// childVariable makes this test program a Caddy.
const childVariable = "CADDY_SESSION_TEST_CHILD"

// childMain is the main function of a child.
func childMain() {
	// Whatever becomes of the test, the child ends with it.
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	caddycmd.Main()
	os.Exit(0)
}

// child is a Caddy in a process of its own: this test program, so it has the
// race detector if the test has. Only the methods that say so may be called in
// parallel.
type child struct {
	addr string // host:port, plain HTTP

	t       testing.TB
	globals string
	site    string
	admin   string
	file    string // its configuration
	dir     string
	output  *os.File
	cmd     *exec.Cmd
	stdin   io.Closer
	reloads int

	up       atomic.Bool
	troubles atomic.Int64 // odd while requests may be lost
}

// startChild starts a Caddy with the global options and the inside of a site
// block, which ends with the test. Whatever the race detector finds or makes
// it panic fails the test.
func startChild(t testing.TB, globals, site string) *child {
	t.Helper()
	local := func() string { return "127.0.0.1:" + strconv.Itoa(redistest.FreePort(t)) }
	dir := t.TempDir()
	c := &child{addr: local(), admin: local(), t: t, globals: globals, site: site, dir: dir, file: filepath.Join(dir, "Caddyfile")}
	c.troubles.Store(1)
	var err error
	if c.output, err = os.Create(filepath.Join(dir, "output")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.kill()
		c.output.Close()
		output := c.log()
		if strings.Contains(output, "WARNING: DATA RACE") || strings.Contains(output, "\npanic: ") || strings.Contains(output, `"panic`) {
			t.Error("the Caddy on " + c.addr + " has crashed or raced")
		}
		if t.Failed() {
			t.Logf("Caddy on %s: the end of what it says:\n%s", c.addr, output[max(0, len(output)-5000):])
		}
	})
	c.start()
	return c
}

// config returns the configuration, which differs with every reload: Caddy
// ignores one that is the same.
func (c *child) config() []byte {
	return fmt.Appendf(nil, `{
	admin %s
	default_bind 127.0.0.1
	auto_https off
	persist_config off
	grace_period 5s
	log {
		format console
		exclude http.log.error http.handlers.reverse_proxy
	}
	%s
}
http://%s {
	header X-Reloads %d
	%s
}
`, c.admin, c.globals, c.addr, c.reloads, c.site)
}

// start starts the process and waits until it serves.
func (c *child) start() {
	c.t.Helper()
	if err := os.WriteFile(c.file, c.config(), 0o600); err != nil {
		c.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = exec.Command(self, "run", "--config", c.file, "--adapter", "caddyfile")
	c.cmd.Env = append(os.Environ(), childVariable+"=1", "HOME="+c.dir, "XDG_DATA_HOME="+c.dir, "XDG_CONFIG_HOME="+c.dir)
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	for deadline := time.Now().Add(timeout); ; time.Sleep(5 * time.Millisecond) {
		r, err := http.Get("http://" + c.admin + "/config/")
		if err == nil {
			r.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("Caddy does not start: %v\n%s", err, c.log())
		}
	}
	c.up.Store(true)
	c.troubles.Add(1)
}

// kill ends the process as a crash would.
func (c *child) kill() {
	if c.cmd == nil {
		return
	}
	c.up.Store(false)
	c.troubles.Add(1)
	c.cmd.Process.Kill()
	c.stdin.Close()
	c.cmd.Wait()
	c.cmd = nil
}

// reload loads another configuration, as an administrator does. A reload loses
// connections that have just been made, whatever the site is: Caddy closes the
// old listener with what waits in it.
func (c *child) reload() {
	c.t.Helper()
	c.troubles.Add(1)
	defer c.troubles.Add(1)
	c.reloads++
	r, err := http.Post("http://"+c.admin+"/load", "text/caddyfile", bytes.NewReader(c.config()))
	if err != nil {
		c.t.Fatalf("reloading: %v", err)
	}
	defer r.Body.Close()
	if message, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusOK {
		c.t.Fatalf("reloading: %s", message)
	}
	time.Sleep(100 * time.Millisecond) // the old servers shut down in the background
}

// log returns what the process has said. It may be called in parallel.
func (c *child) log() string {
	b, _ := os.ReadFile(c.output.Name())
	return string(b)
}
