package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// soak runs mixed traffic for long, and watches what Caddy needs for it.
type soak struct {
	*lab
	duration time.Duration
	visitors int
	baths    []*bath

	// stall is the longest that this program was kept waiting when it wanted
	// to run, and so perhaps Caddy and Redis: more than Redis's timeout is a
	// reason for a 503 that is not Caddy's.
	stall time.Duration
}

// bath is a Caddy with one store, and its traffic.
type bath struct {
	*server
	crowd
	store     string
	redisPort int // 0: none
	database  int // of Redis

	before, after observation // without traffic
	during        []observation
}

const (
	// observeEvery is how often each Caddy is looked at.
	observeEvery = 5 * time.Second

	// soakSession makes sessions that are not signed out end soon, so that
	// there are not more and more.
	soakSession = "\tsession {\n\t\tidle 10s\n\t\tlifetime 30s\n\t}\n"

	// calmDown is how long what the traffic has left behind may take to go:
	// sessions and their index until their lifetime ends and they are swept,
	// connections until they have been idle.
	calmDown = 60 * time.Second
)

func parseSoak(arguments []string) (func(context.Context) error, error) {
	var s soak
	var o options
	var only string
	fs := o.flags("soak", "soak.md, soak.svg and soak.csv")
	fs.DurationVar(&s.duration, "duration", 10*time.Minute, "how long the traffic goes on; afterwards it takes up to a minute until all has calmed down")
	fs.IntVar(&s.visitors, "visitors", 16, "how many visitors each store has at a time")
	fs.StringVar(&only, "only", "", "comma-separated stores: "+strings.Join(storeNames, ", "))
	if err := fs.Parse(arguments); err != nil {
		return nil, err
	}
	problem := o.choose(only, "store", storeNames)
	switch {
	case fs.NArg() > 0:
		problem = "no arguments but flags: " + strings.Join(fs.Args(), " ")
	case s.duration < 6*observeEvery || s.visitors < 1:
		problem = fmt.Sprintf("-duration is at least %v, and there is a visitor", 6*observeEvery)
	}
	if problem != "" {
		return nil, usage(problem)
	}
	return func(ctx context.Context) (err error) {
		if s.lab, err = openLab(o); err != nil {
			return err
		}
		defer s.close()
		return s.run(ctx)
	}, nil
}

func (s *soak) run(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	s.stop()
	if err := s.report(); err != nil {
		return err
	}
	var failures []error
	for _, b := range s.baths {
		if n := b.wrong.Load(); n > 0 {
			kept := filepath.Join(s.out, "soak-"+b.store+".log")
			log, err := os.ReadFile(b.log)
			if err == nil {
				err = os.WriteFile(kept, log, 0o644)
			}
			failures = append(failures, fmt.Errorf("%d unexpected answers with the store %s; what Caddy has logged is in %s", n, b.store, kept), err)
		}
	}
	return errors.Join(failures...)
}

// start starts all servers.
func (s *soak) start(ctx context.Context) error {
	if err := s.startUpstream(ctx); err != nil {
		return err
	}
	var redis *process
	var port int
	for i, store := range s.only {
		b := &bath{store: store}
		setting := embeddedStore(s.dir + "/soak.db")
		if store != "embedded" {
			if redis == nil {
				if _, err := exec.LookPath("redis-server"); err != nil {
					return err
				}
				var err error
				if redis, port, err = s.startRedis(ctx, "redis"); err != nil {
					return err
				}
			}
			b.redisPort, b.database = port, i
			setting = redisStore(store, port, fmt.Sprintf("db %d", i), "key_prefix "+store+":")
		}
		// Idle connections to the application are gone soon after the traffic.
		var err error
		b.server, err = s.startServer(ctx, store, setting, true, []string{soakSession + s.proxy("keepalive 2s")})
		if err != nil {
			return err
		}
		b.crowd = crowd{address: b.sites[0], store: store}
		s.baths = append(s.baths, b)
	}
	return nil
}

// observe runs the traffic and watches. What starts with the first request of
// a kind, and stays, is there before the traffic is.
func (s *soak) observe(ctx context.Context) error {
	for _, b := range s.baths {
		b.rehearse(ctx)
		b.requests.Store(0)
	}
	s.say("waiting until nothing moves")
	for _, b := range s.baths {
		var err error
		if b.before, err = b.settle(ctx, observation{}); err != nil {
			return err
		}
	}
	s.say("traffic for %v", s.duration)
	began := time.Now()
	running, stop := context.WithDeadline(ctx, began.Add(s.duration))
	defer stop()
	var wg sync.WaitGroup
	for _, b := range s.baths {
		for i := range s.visitors {
			wg.Go(func() { b.visits(running, i) })
		}
	}
	wg.Go(func() { s.stall = longestStall(running) })
	err := s.watch(running, began)
	stop()
	wg.Wait()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	s.say("the traffic has ended; waiting until nothing moves")
	for _, b := range s.baths {
		if b.after, err = b.settle(ctx, b.before); err != nil {
			return err
		}
	}
	return nil
}

// watch observes until the context ends, which is no error.
func (s *soak) watch(ctx context.Context, began time.Time) error {
	for next := began.Add(observeEvery); sleepUntil(ctx, next); next = next.Add(observeEvery) {
		for _, b := range s.baths {
			o, err := b.look(ctx)
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("%s: %w", b.store, err)
			}
			o.at = next.Sub(began)
			b.during = append(b.during, o)
			if len(b.during)%6 == 0 {
				s.say("%-8s %8d requests, %d wrong, heap %.1f MB, RSS %.1f MB, %d goroutines, %d files, %d sessions", b.store,
					o.requests, o.wrong, float64(o.heap)/1e6, float64(o.rss)/1e6, o.goroutines, o.files, o.sessions)
			}
		}
	}
	return nil
}

// longestStall returns the longest delay of a timer until the context ends.
func longestStall(ctx context.Context) (longest time.Duration) {
	for due := time.Now().Add(10 * time.Millisecond); sleepUntil(ctx, due); due = time.Now().Add(10 * time.Millisecond) {
		longest = max(longest, time.Since(due))
	}
	return longest
}

// settle looks until what there was before is all there is, or until that has
// had its time.
func (b *bath) settle(ctx context.Context, before observation) (observation, error) {
	for end := time.Now().Add(calmDown); ; {
		o, err := b.look(ctx)
		if err != nil {
			return o, fmt.Errorf("%s: %w", b.store, err)
		}
		// A run of traffic has to have left no session; that is the last to go.
		calm := o.sessions == 0 && o.connections == 0
		if before != (observation{}) {
			calm = calm && o.goroutines <= before.goroutines && o.files <= before.files
		}
		if calm || time.Now().After(end) {
			return o, nil
		}
		if !sleepUntil(ctx, time.Now().Add(time.Second)) {
			return o, ctx.Err()
		}
	}
}
