package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// observation is what a Caddy needs at a time.
type observation struct {
	at          time.Duration // since the traffic began
	requests    int64         // so far
	wrong       int64         // unexpected answers so far
	heap        int64         // bytes in use after a garbage collection
	rss, pss    int64         // bytes
	goroutines  int64
	files       int64 // open file descriptors
	sessions    int64 // stored; in Redis, all keys, which are more
	connections int64 // WebSockets and event streams that end with their session
}

var (
	heapInUse  = regexp.MustCompile(`(?m)^# HeapAlloc = ([0-9]+)$`)
	goroutines = regexp.MustCompile(`^goroutine profile: total ([0-9]+)\n`)
	redisKeys  = regexp.MustCompile(`(?m)^db([0-9]+):keys=([0-9]+),`)
)

func (b *bath) look(ctx context.Context) (o observation, err error) {
	o.requests, o.wrong = b.requests.Load(), b.wrong.Load()
	for _, number := range []struct {
		to   *int64
		path string
		in   *regexp.Regexp
	}{
		{&o.heap, "/debug/pprof/heap?gc=1&debug=1", heapInUse},
		{&o.goroutines, "/debug/pprof/goroutine?debug=1", goroutines},
	} {
		text, err := b.ask(ctx, number.path)
		if err != nil {
			return o, err
		}
		found := number.in.FindStringSubmatch(text)
		if found == nil {
			return o, fmt.Errorf("%s has no number", number.path)
		}
		if *number.to, err = strconv.ParseInt(found[1], 10, 64); err != nil {
			return o, err
		}
	}
	pid := b.cmd.Process.Pid
	if o.rss, err = smaps(pid, "Rss"); err != nil {
		return o, err
	}
	if o.pss, err = smaps(pid, "Pss"); err != nil {
		return o, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return o, err
	}
	o.files = int64(len(files))
	open, found, err := b.metric(ctx, "caddy_session_open_connections")
	if err == nil && !found {
		err = fmt.Errorf("caddy does not tell how many connections are open")
	}
	if err != nil {
		return o, err
	}
	o.connections = int64(open)
	o.sessions, err = b.stored(ctx)
	return o, err
}

// stored returns how many sessions are stored.
func (b *bath) stored(ctx context.Context) (int64, error) {
	if b.redisPort != 0 {
		return countKeys(b.redisPort, b.database)
	}
	live, found, err := b.metric(ctx, "caddy_session_live_sessions")
	if err == nil && !found {
		err = fmt.Errorf("caddy does not tell how many sessions there are")
	}
	return int64(live), err
}

// countKeys returns the number of keys in a database of Redis.
func countKeys(port, database int) (int64, error) {
	conn, err := net.DialTimeout("tcp", address(port), time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "INFO keyspace\r\n"); err != nil {
		return 0, err
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n') // a bulk string: $ and its length
	if err != nil {
		return 0, err
	}
	size, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "$")))
	if err != nil {
		return 0, fmt.Errorf("redis answers %q", line)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return 0, err
	}
	for _, found := range redisKeys.FindAllStringSubmatch(string(text), -1) {
		if found[1] == strconv.Itoa(database) {
			return strconv.ParseInt(found[2], 10, 64)
		}
	}
	return 0, nil // an empty one is not listed
}
