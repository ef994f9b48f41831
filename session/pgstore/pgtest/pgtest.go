//go:build unix

// Package pgtest starts a real PostgreSQL server for tests.
package pgtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// startTimeout is how long the server may take until it answers.
const startTimeout = 30 * time.Second

// Password is that of the superuser postgres.
const Password = "right"

// Server is a PostgreSQL server with a directory of its own. It is for one goroutine
// at a time.
type Server struct {
	// Addr is where it listens, host:port.
	Addr string

	dir  string
	bin  string
	user *syscall.SysProcAttr // whom it runs as
	log  *os.File
	cmd  *exec.Cmd     // nil while stopped
	done chan struct{} // closed when the process has ended
}

var (
	mu     sync.Mutex
	shared *Server
)

// Main runs the tests of a package that use Shared, and ends the server. It returns
// what os.Exit takes.
func Main(m *testing.M) int {
	defer Close()
	return m.Run()
}

// Close ends the server of Shared, if there is one.
func Close() {
	mu.Lock()
	defer mu.Unlock()
	if shared != nil {
		shared.stop()
		shared.log.Close()
		os.RemoveAll(shared.dir)
		shared = nil
	}
}

// Shared returns the server of the package's tests, which is started for the first of
// them and runs. Whoever stops or freezes it must not run in parallel to others.
//
// Without PostgreSQL the test is skipped, but in CI, where the variable CI is set, it
// fails. With -short it is skipped in any case.
func Shared(t testing.TB) *Server {
	t.Helper()
	need.Long(t, "PostgreSQL")
	mu.Lock()
	defer mu.Unlock()
	if shared == nil {
		s, err := initialize(t)
		if s == nil {
			need.Missing(t, err.Error())
		}
		if err != nil {
			t.Fatal(err)
		}
		shared = s
	}
	s := shared
	if s.cmd == nil {
		s.Restart(t)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("postgres on %s:\n%s", s.Addr, s.logged())
		}
	})
	return s
}

// initialize makes the directory of a server. The server is nil if PostgreSQL is not
// installed.
func initialize(t testing.TB) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postgres")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, user: new(syscall.SysProcAttr)}
	s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(redistest.FreePort(t)))
	if os.Getuid() == 0 { // as whom it refuses to run
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return s, err
		}
		s.user.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return s, err
	}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(Password), 0o644); err != nil {
		return s, err
	}
	cmd := s.command("initdb", "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "scram-sha-256",
		"--pwfile", password, "-N", "-E", "UTF8", "--locale", "C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		return s, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, nil
}

// binaries returns the directory of the server's programs, which Debian keeps out of
// PATH.
func binaries() (string, error) {
	path, err := exec.LookPath("postgres")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "", err
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// logged is what the server has written to its log.
func (s *Server) logged() []byte {
	text, _ := os.ReadFile(s.log.Name())
	return text
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, s.user
	return cmd
}

// URL is that of the database postgres for a user.
func (s *Server) URL(user, password string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/postgres?sslmode=disable", user, password, s.Addr)
}

// Do runs statements as the superuser.
func (s *Server) Do(t testing.TB, sql string) {
	t.Helper()
	conn := s.Connect(t)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Psql runs statements as the superuser, by psql up to the first error. It returns
// what that prints.
func (s *Server) Psql(sql string) (string, error) {
	cmd := s.command("psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", s.URL("postgres", Password))
	cmd.Stdin = strings.NewReader(sql)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Connect returns a connection of the superuser that ends with the test.
func (s *Server) Connect(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), s.URL("postgres", Password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// Restart starts the server again where it was and waits until it answers. If it runs
// it is stopped first.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.stop()
	host, port, _ := net.SplitHostPort(s.Addr)
	cmd := s.command("postgres", "-D", filepath.Join(s.dir, "data"), "-h", host, "-p", port, "-k", "",
		"-F", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB")
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := lifeline.Start(cmd, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	s.cmd, s.done = cmd, done
	go func() {
		cmd.Wait()
		close(done)
	}()
	for deadline := time.Now().Add(startTimeout); ; {
		conn, err := pgx.Connect(context.Background(), s.URL("postgres", Password))
		if err == nil {
			conn.Close(context.Background())
			return
		}
		select {
		case <-done:
			s.cmd = nil
			t.Fatalf("postgres ended:\n%s", s.logged())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("postgres does not come up: %v", err)
		}
	}
}

// Stop ends the server without a checkpoint, as a crash would, until Restart or the
// end of the test.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.stop()
	t.Cleanup(func() {
		if s.cmd == nil {
			s.Restart(t)
		}
	})
}

func (s *Server) stop() {
	if s.cmd == nil {
		return
	}
	s.signal(syscall.SIGCONT)
	s.cmd.Process.Signal(syscall.SIGQUIT)
	<-s.done
	s.cmd = nil
}

// Pause freezes the server, until Resume or the end of the test: connections can be
// made, but nobody answers.
func (s *Server) Pause(t testing.TB) {
	s.signal(syscall.SIGSTOP)
	t.Cleanup(s.Resume)
}

// Resume ends Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// signal sends a signal to all processes of the server: first the one that makes them.
func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	pid := s.cmd.Process.Pid
	syscall.Kill(pid, sig)
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for child := range strings.FieldsSeq(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			syscall.Kill(n, sig)
		}
	}
}
