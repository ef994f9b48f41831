//go:build unix

// Package redistest starts real Redis servers for tests.
package redistest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
)

// startTimeout is how long a server may take until it answers.
const startTimeout = 10 * time.Second

// Server is a redis-server process of its own, with a directory of its own. It
// is for one goroutine at a time, except Do. Its methods fail the test rather
// than return an error.
type Server struct {
	// Addr is where it listens, host:port.
	Addr string

	// Socket is the path of the unix socket where it listens too.
	Socket string

	t        testing.TB
	dir      string
	args     []string // of redis-server
	password string   // for Do; empty means none
	log      bytes.Buffer
	cmd      *exec.Cmd     // nil while stopped
	done     chan struct{} // closed when the process has ended
}

// Start starts a server that ends with the test. args are added to its
// configuration, as on the command line: the last setting wins. It keeps an
// append-only file, so it has its data back after Restart.
//
// Without redis-server the test is skipped, but in CI, where the variable CI is
// set, it fails. With -short it is skipped in any case.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := configure(t, FreePort(t), args...)
	s.Restart()
	return s
}

// configure makes a server that is yet to be started and ends with the test.
func configure(t testing.TB, port int, args ...string) *Server {
	t.Helper()
	s := prepare(t, port)
	s.write("redis.conf", append([]string{
		"--bind", "127.0.0.1",
		"--port", strconv.Itoa(port),
		"--unixsocket", s.Socket,
		"--dir", s.dir,
		"--save", "",
		"--appendonly", "yes",
		"--appendfsync", "no",
	}, args...))
	return s
}

// prepare makes a server without a configuration.
func prepare(t testing.TB, port int) *Server {
	t.Helper()
	need.Program(t, "redis-server")
	// Not t.TempDir: the path of a unix socket must be short.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Addr:   net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Socket: filepath.Join(dir, "sock"),
		t:      t,
		dir:    dir,
	}
	t.Cleanup(func() {
		s.Stop()
		os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("redis-server on %s:\n%s", s.Addr, s.log.Bytes())
		}
	})
	return s
}

// write makes the configuration from settings as on the command line. It is a
// file because the server, and the sentinels through it, keep there whose
// replica it has become.
func (s *Server) write(name string, args []string) {
	s.t.Helper()
	var text strings.Builder
	for i, arg := range args {
		setting, ok := strings.CutPrefix(arg, "--")
		switch {
		case ok && i > 0:
			text.WriteString("\n" + setting)
		case ok:
			text.WriteString(setting)
		default:
			text.WriteString(" " + strconv.Quote(arg))
		}
	}
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text.String()+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.args = []string{path}
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on. It is none
// that the kernel gives to outgoing connections, so a server that is stopped
// finds it free again.
func FreePort(t testing.TB) int {
	t.Helper()
	return freePort(t, 23000, 32767, 0)
}

// given are the ports that this process has handed out, whose servers may not
// have been started yet.
var given sync.Map

// freePort returns a port from low to high that is free and so is the one
// which is further by offset.
func freePort(t testing.TB, low, high, offset int) int {
	t.Helper()
	take := func(port int) bool {
		if _, taken := given.LoadOrStore(port, true); taken {
			return false
		}
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		ln.Close()
		return true
	}
	for range 1000 {
		if port := low + rand.N(high-low+1); take(port) && (offset == 0 || take(port+offset)) {
			return port
		}
	}
	t.Fatalf("no free port from %d to %d", low, high)
	return 0
}

// Restart starts the server again where it was and waits until it answers. If
// it runs it is stopped first.
func (s *Server) Restart() {
	s.t.Helper()
	s.launch()
	s.await()
}

// launch starts the process.
func (s *Server) launch() {
	s.t.Helper()
	s.Stop()
	os.Remove(s.Socket)
	cmd := exec.Command("redis-server", s.args...)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := lifeline.Start(cmd, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	s.cmd, s.done = cmd, done
	go func() {
		cmd.Wait()
		close(done)
	}()
}

// await waits until the server answers.
func (s *Server) await() {
	s.t.Helper()
	for deadline := time.Now().Add(startTimeout); ; {
		err := s.ping()
		if err == nil {
			return
		}
		select {
		case <-s.done:
			s.cmd = nil
			s.t.Fatalf("redis-server ended:\n%s", s.log.Bytes())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("redis-server does not come up: %v", err)
		}
	}
}

// Stop kills the server, as a crash would. It is a no-op on one that is stopped.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
}

// Pause freezes the server: it accepts connections but does not answer.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Resume ends Pause.
func (s *Server) Resume() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		s.t.Fatal("the server is stopped")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// ping reports whether the server is ready. One that wants another password than
// Do has is; with that of Do it says too when it is still loading its data.
func (s *Server) ping() error {
	_, err := s.Try("PING")
	if answer, ok := errors.AsType[ErrorAnswer](err); ok &&
		(strings.HasPrefix(string(answer), "NOAUTH") || strings.HasPrefix(string(answer), "NOPERM")) {
		return nil
	}
	return err
}
