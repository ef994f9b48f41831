package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// startPostgres starts a PostgreSQL with its default settings. It has no socket,
// and asks for no password.
func (l *lab) startPostgres(ctx context.Context) (server *process, url string, err error) {
	initdb, err := postgresProgram("initdb")
	if err != nil {
		return nil, "", err
	}
	program, err := postgresProgram("postgres")
	if err != nil {
		return nil, "", err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, "", err
	}
	// Not in the other one, which is for this user only.
	dir, err := os.MkdirTemp("", "caddy-session-bench-")
	if err != nil {
		return nil, "", err
	}
	l.dirs = append(l.dirs, dir)
	as := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // as whom it refuses to run
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, "", err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, "", err
		}
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(dir, "data")
	initialize := exec.CommandContext(ctx, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8")
	initialize.Dir, initialize.SysProcAttr = dir, as
	if said, err := initialize.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("initdb: %w: %s", err, said)
	}
	server, err = l.launchAs(ctx, as, dir, "postgres-server", nil, ports, program,
		"-D", data, "-h", "127.0.0.1", "-p", strconv.Itoa(ports[0]), "-k", "")
	return server, "postgres://postgres@" + address(ports[0]) + "/postgres?sslmode=disable", err
}

// postgresProgram returns a program of the server's package. Debian keeps them out
// of PATH.
func postgresProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed; its package starts a server, so ./bench/run does not install it")
	}
	return found[len(found)-1], nil
}
