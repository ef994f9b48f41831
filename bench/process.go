package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// process is a server that was started here.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	once sync.Once // of stop
}

// launchAs starts a server that stays in the foreground, in a directory and as the
// user that as has, and waits until it listens on every port. It is told to end
// when this program ends, however that happens.
func (l *lab) launchAs(ctx context.Context, as *syscall.SysProcAttr, dir, name string, env []string, ports []int, program string, arguments ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(l.dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(program, arguments...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	as.Setpgid, as.Pdeathsig = true, syscall.SIGTERM
	p.cmd.SysProcAttr = as
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	for _, port := range ports {
		if err := p.listens(ctx, port); err != nil {
			p.stop()
			return nil, err
		}
	}
	l.processes = append(l.processes, p)
	return p, nil
}

// listens waits until the server accepts connections on a port.
func (p *process) listens(ctx context.Context, port int) error {
	deadline := time.After(20 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", address(port), time.Second)
		if err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return fmt.Errorf("%s ended: %s", p.name, p.tail())
		case <-deadline:
			return fmt.Errorf("%s does not listen on %s: %s", p.name, address(port), p.tail())
		}
	}
}

// tail returns the last bytes that the server has said.
func (p *process) tail() string {
	said, _ := os.ReadFile(p.log)
	return string(said[max(0, len(said)-2000):])
}

// stop ends the server: asked first, and by force after some seconds. It may be
// called again: the id may be another process's then.
func (p *process) stop() { p.once.Do(p.end) }

func (p *process) end() {
	pid := p.cmd.Process.Pid
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
	// What it has left behind of its own.
	syscall.Kill(-pid, syscall.SIGKILL)
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// freePorts returns ports that nobody listened on a moment ago.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		// Held until all are found, so that none comes twice.
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
