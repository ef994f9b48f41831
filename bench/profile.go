package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profiled gives the contenders of one Caddy an API if profiles are kept, and
// returns its setting admin.
func (l *lab) profiled(members []*contender) (admin string, err error) {
	if l.profile == "" {
		return "off", nil
	}
	ports, err := freePorts(1)
	if err != nil {
		return "", err
	}
	for _, c := range members {
		c.admin = address(ports[0])
	}
	return address(ports[0]), nil
}

// keepProfiles loads each Caddy once more, and keeps a profile of its CPU time as
// ID.pprof. Profiling takes time itself, so no round has it. One that fails is
// said to be missing: the rounds are worth a report without it.
func (l *lab) keepProfiles(ctx context.Context) error {
	if l.profile == "" {
		return nil
	}
	if err := os.MkdirAll(l.profile, 0o755); err != nil {
		return err
	}
	for _, c := range l.contenders {
		if c.admin == "" {
			continue
		}
		kept := make(chan error, 1)
		go func() { kept <- c.keepProfile(ctx, filepath.Join(l.profile, c.id+".pprof"), l.seconds) }()
		_, err := wrk(ctx, l.options, c, l.seconds+1) // all through the profile
		if failure := <-kept; err == nil {
			err = failure
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: no profile of %s: %v\n", c.name, err)
		}
	}
	fmt.Fprintf(os.Stderr, "bench: profiles are in %s\n", l.profile)
	return ctx.Err()
}

func (c *contender) keepProfile(ctx context.Context, file string, seconds int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds+30)*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", c.admin, seconds), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	profile, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, profile)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, profile, 0o644)
}
