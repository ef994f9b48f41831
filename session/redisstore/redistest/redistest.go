//go:build unix

// Package redistest starts real Redis servers for tests.
package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long a server may take until it answers.
const startTimeout = 10 * time.Second

// Server is a redis-server process of its own, with a directory of its own.
// Its methods fail the test rather than return an error.
type Server struct {
	// Addr is where it listens, host:port.
	Addr string

	// Socket is the path of the unix socket where it listens too.
	Socket string

	t    testing.TB
	args []string
	log  bytes.Buffer
	cmd  *exec.Cmd     // nil while stopped
	done chan struct{} // closed when the process has ended
}

// Start starts a server that ends with the test. args are added to its command
// line, where the last setting wins. It keeps an append-only file, so it has
// its data back after Restart.
//
// Without redis-server the test is skipped, but in CI, where the variable CI is
// set, it fails.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// Not t.TempDir: the path of a unix socket must be short.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	port := FreePort(t)
	s := &Server{
		Addr:   net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Socket: filepath.Join(dir, "sock"),
		t:      t,
		args: append([]string{
			"--bind", "127.0.0.1",
			"--port", strconv.Itoa(port),
			"--unixsocket", filepath.Join(dir, "sock"),
			"--dir", dir,
			"--save", "",
			"--appendonly", "yes",
			"--appendfsync", "no",
		}, args...),
	}
	t.Cleanup(func() {
		s.Stop()
		os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("redis-server on %s:\n%s", s.Addr, s.log.Bytes())
		}
	})
	s.Restart()
	return s
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// Restart starts the server again where it was and waits until it answers. If
// it runs it is stopped first.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	os.Remove(s.Socket)
	cmd := exec.Command("redis-server", s.args...)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	s.cmd, s.done = cmd, done
	go func() {
		cmd.Wait()
		close(done)
	}()

	for deadline := time.Now().Add(startTimeout); ; {
		err := s.ping()
		if err == nil {
			return
		}
		select {
		case <-done:
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

// ping reports whether the server is ready. One that wants a password is.
func (s *Server) ping() error {
	conn, err := net.DialTimeout("unix", s.Socket, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "+PONG") && !strings.HasPrefix(line, "-NOAUTH") && !strings.HasPrefix(line, "-NOPERM") {
		return fmt.Errorf("redis-server says %q", line)
	}
	return nil
}
