package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// start is one start of Caddy on a file with sessions.
type start struct {
	sessions int
	after    string
	took     time.Duration // to the first answer that has the session
}

// startKinds are what may have come before, and what it does.
var startKinds = []struct {
	after string
	cold  bool           // the file is on disk only
	end   syscall.Signal // how Caddy is ended before the next one
}{
	{"a clean stop", false, syscall.SIGKILL},
	{"SIGKILL", false, syscall.SIGTERM},
	{"a clean stop, with the file on disk only", true, syscall.SIGTERM},
}

// measureStart measures the time from the start of Caddy to its first answer to
// a request with a cookie, with the fewest and with the most sessions.
func (g *growth) measureStart(ctx context.Context) error {
	counts := slices.Compact([]int{slices.Min(g.sessions), slices.Max(g.sessions)})
	for _, n := range counts {
		count := strconv.Itoa(n)
		file := g.file("sessions" + count)
		// Where they are there already, these are some more.
		if _, err := os.Stat(file); err != nil {
			if _, err := g.fill(ctx, "--file", file, "--sessions", count); err != nil {
				return err
			}
		}
		visitors, err := g.fill(ctx, "--file", file, "--sessions", "1000", "--name", "starter")
		if err != nil {
			return err
		}
		for round := range g.rounds {
			for i, kind := range startKinds {
				if kind.cold {
					if err := evict(file); err != nil {
						g.fail("start after %s: %v", kind.after, err)
						continue
					}
				}
				v := visitors[(round*len(startKinds)+i)%len(visitors)]
				took, err := g.startOnce(ctx, file, v, kind.end)
				if err != nil {
					return err
				}
				g.starts = append(g.starts, start{n, kind.after, took})
				g.say("%d sessions, after %s: %v", n, kind.after, took.Round(time.Millisecond))
			}
		}
	}
	return nil
}

// startOnce starts Caddy, asks until it answers, and ends it by a signal.
func (g *growth) startOnce(ctx context.Context, file string, v visitor, end syscall.Signal) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	began := time.Now()
	s, err := g.startServer(ctx, "start", embeddedStore(file), false, plainSession)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	w := wire{address: s.sites[0]}
	defer w.close()
	for {
		answer, _, err := w.get("/page", v.cookie)
		if err == nil {
			err = v.sees(answer)
		}
		took := time.Since(began)
		if err == nil {
			s.cmd.Process.Signal(end)
			<-s.done
			return took, nil
		}
		select {
		case <-s.done:
			return 0, fmt.Errorf("caddy ended: %s", s.tail())
		case <-ctx.Done():
			return 0, err
		case <-time.After(time.Millisecond):
		}
	}
}

// evict drops a file from the page cache. No process may have it mapped.
func evict(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil { // what is not on disk stays
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
