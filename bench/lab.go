package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lab is everything that runs.
type lab struct {
	options
	dir        string   // temporary
	dirs       []string // more of them, of servers that another user runs
	began      time.Time
	contenders []*contender
	missing    []string // what is not measured, and why
	processes  []*process

	upstream, redis int                 // ports
	postgres        string              // URL
	stores          map[string]*process // the servers, by the names that contenders have
}

// openLab makes a lab in which nothing runs yet. It has to be closed.
func openLab(o options) (*lab, error) {
	if o.cache == "" {
		return nil, errors.New("start it with ./bench/run")
	}
	var err error
	if o.caddy, err = filepath.Abs(o.caddy); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "caddy-session-bench-")
	if err != nil {
		return nil, err
	}
	return &lab{options: o, dir: dir, began: time.Now(), stores: map[string]*process{}}, nil
}

// close stops all servers and removes their data.
func (l *lab) close() {
	l.stop()
	for _, dir := range append(l.dirs, l.dir) {
		os.RemoveAll(dir)
	}
}

func (l *lab) startUpstream(ctx context.Context) error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	l.upstream = ports[0]
	_, err = l.launch(ctx, "upstream", nil, ports, filepath.Join(l.cache, "bin", "upstream"), "-listen", address(l.upstream))
	return err
}

// startRedis starts a Redis that keeps nothing on disk.
func (l *lab) startRedis(ctx context.Context, name string) (server *process, port int, err error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, 0, err
	}
	server, err = l.launch(ctx, name, nil, ports, "redis-server", "--bind", "127.0.0.1",
		"--port", strconv.Itoa(ports[0]), "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction")
	return server, ports[0], err
}

// start starts all servers and signs in everywhere. What can't be started is
// noted as missing, unless it is Caddy or the upstream.
func (l *lab) start(ctx context.Context) error {
	l.contenders = l.chosen()
	if err := l.startUpstream(ctx); err != nil {
		return err
	}
	for store, start := range map[string]func() (*process, error){
		"redis":    func() (server *process, err error) { server, l.redis, err = l.startRedis(ctx, "redis"); return },
		"postgres": func() (server *process, err error) { server, l.postgres, err = l.startPostgres(ctx); return },
	} {
		uses := func(c *contender) bool { return c.store == store }
		if !slices.ContainsFunc(l.contenders, uses) {
			continue
		}
		server, err := start()
		if err != nil {
			l.lose(fmt.Errorf("no server of its store: %w", err), uses)
			continue
		}
		l.stores[store] = server
	}
	for _, group := range []struct {
		ids   []string
		start func(context.Context, []*contender) error
	}{
		{[]string{"bare", "headers", "nocookie", "embedded", "user", "kept", "keepalive", "compression"}, l.startCaddy},
		{[]string{"bare-redis", "redis"}, l.startCaddy},
		{[]string{"bare-near", "near"}, l.startCaddy},
		{[]string{"bare-postgres", "postgres"}, l.startCaddy},
		{[]string{"quiet", "quiet-embedded"}, l.startCaddy},
		{[]string{"gogc200"}, l.startCaddy},
		{[]string{"gogc400"}, l.startCaddy},
		{[]string{"nginx"}, l.startNginx},
		{[]string{"apache-bare"}, l.startApache},
		{[]string{"apache", "apache-crypto"}, l.startApache},
		{[]string{"scs-bare"}, l.startScs},
		{[]string{"scs"}, l.startScs},
		{[]string{"express-bare"}, l.startExpress},
		{[]string{"express"}, l.startExpress},
		{[]string{"express-self-bare"}, l.startExpress},
		{[]string{"express-self"}, l.startExpress},
		{[]string{"express-behind-bare"}, l.startExpress},
		{[]string{"express-behind"}, l.startExpress},
		{[]string{"express-adapter"}, l.startExpress},
	} {
		of := func(c *contender) bool { return slices.Contains(group.ids, c.id) }
		if group.ids[0] == "bare" {
			l.withoutKept()
		}
		var members []*contender
		for _, c := range l.contenders {
			if of(c) {
				members = append(members, c)
			}
		}
		if len(members) == 0 {
			continue
		}
		if err := group.start(ctx, members); err != nil {
			if group.ids[0] == "bare" || ctx.Err() != nil {
				return err
			}
			l.lose(err, of)
			continue
		}
		for _, c := range members {
			if err := c.signIn(ctx); err != nil {
				if c.id == "bare" || ctx.Err() != nil {
					return err
				}
				l.lose(err, func(other *contender) bool { return other == c })
			}
		}
	}
	return nil
}

// lose takes contenders out that can't be measured, and says so.
func (l *lab) lose(why error, which func(*contender) bool) {
	l.contenders = slices.DeleteFunc(l.contenders, func(c *contender) bool {
		if !which(c) {
			return false
		}
		if !c.hidden {
			reason := strings.Join(strings.Fields(why.Error()), " ")
			if most := 300; len(reason) > most {
				reason = "… " + reason[len(reason)-most:] // logs end with what matters
			}
			l.missing = append(l.missing, fmt.Sprintf("%s: %s", c.name, reason))
			fmt.Fprintf(os.Stderr, "bench: not measured: %s: %s\n", c.name, reason)
		}
		return true
	})
}

// find returns the contender with this id, or nil.
func (l *lab) find(id string) *contender {
	for _, c := range l.contenders {
		if c.id == id {
			return c
		}
	}
	return nil
}

// withoutKept leaves the kept cookie out where Caddy does not know the setting.
func (l *lab) withoutKept() {
	probe := filepath.Join(l.dir, "probe.caddyfile")
	site := "http://localhost {\n\tsession {\n\t\tcookies {\n\t\t\tkeep appsid\n\t\t}\n\t}\n}\n"
	err := os.WriteFile(probe, []byte(site), 0o600)
	if err == nil {
		err = exec.Command(l.caddy, "adapt", "--config", probe).Run()
	}
	if err != nil {
		l.lose(fmt.Errorf("this build has no jar (the setting `cookies`)"), func(c *contender) bool { return c.id == "kept" })
	}
}

func (l *lab) launch(ctx context.Context, name string, env []string, ports []int, program string, arguments ...string) (*process, error) {
	return l.launchAs(ctx, &syscall.SysProcAttr{}, l.dir, name, env, ports, program, arguments...)
}

// stop stops all servers, the last one first. It may be called again.
func (l *lab) stop() {
	for _, p := range slices.Backward(l.processes) {
		p.stop()
	}
	l.processes = nil
}
