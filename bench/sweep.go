package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The traffic during a sweep, in requests a second. It leaves the machine some
// room, as real traffic should.
const (
	sweepReads   = 1000
	sweepCommits = 100

	// sweepConnections is how many requests of a kind may be under way: more
	// than ever are, unless they take longer than a second.
	sweepConnections = 100

	// calm is how long the traffic goes on before the sessions expire, and
	// after they have been swept.
	calm = 15 * time.Second

	// live is how many sessions do not expire.
	live = 1000
)

// sweep is what traffic of one kind has seen while sessions expired.
type sweep struct {
	kind  string
	began time.Time
	all   []timing

	// When the number of stored sessions began to fall and when it was down.
	from, to time.Time
}

// during returns the requests that were due in a span of time.
func (s sweep) during(from, to time.Time) []timing {
	var some []timing
	for _, t := range s.all {
		if !t.due.Before(from) && t.due.Before(to) {
			some = append(some, t)
		}
	}
	return some
}

// phases returns the requests before, during and after the sweep. The first
// seconds don't count.
func (s sweep) phases() (before, during, after []timing) {
	return s.during(s.began.Add(3*time.Second), s.from), s.during(s.from, s.to), s.during(s.to, s.to.Add(calm))
}

// seconds returns the 99th percentiles of each second.
func (s sweep) seconds() []time.Duration {
	var list []time.Duration
	for at := s.began; at.Before(s.to.Add(calm)); at = at.Add(time.Second) {
		list = append(list, percentile(s.during(at, at.Add(time.Second)), 0.99))
	}
	return list
}

// measureSweep has many sessions expire within about a second, while others are
// read and written.
func (g *growth) measureSweep(ctx context.Context) error {
	n := slices.Max(g.sessions)
	file := g.file("sweep")
	visitors, err := g.fill(ctx, "--file", file, "--sessions", strconv.Itoa(live), "--print", strconv.Itoa(live), "--name", "live")
	if err != nil {
		return err
	}
	wait := time.Duration(1.3*float64(n)/g.fillRate*float64(time.Second)) + 10*time.Second + calm
	expiry := time.Now().Add(wait)
	if _, err := g.fill(ctx, "--file", file, "--sessions", strconv.Itoa(n), "--expire", wait.String()); err != nil {
		return err
	}
	s, err := g.startServer(ctx, "sweep", embeddedStore(file), true, plainSession)
	if err != nil {
		return err
	}
	stored, _, err := s.metric(ctx, "caddy_session_live_sessions")
	if err != nil {
		return err
	}
	if int(stored) != n+live || time.Until(expiry) < calm/2 {
		return fmt.Errorf("the sessions were not made in time: %.0f are there, and they expire in %v", stored, time.Until(expiry))
	}
	g.say("%d sessions expire in %v", n, time.Until(expiry).Round(time.Second))
	if !sleepUntil(ctx, expiry.Add(-calm)) {
		return ctx.Err()
	}

	running, stop := context.WithCancel(ctx)
	defer stop()
	half := len(visitors) / 2
	all := []sweep{{kind: "reads", began: time.Now()}, {kind: "commits", began: time.Now()}}
	traffics := []traffic{reads(s.sites[0], sweepConnections, visitors[:half]), sweepWrites(s.sites[0], sweepConnections, visitors[half:])}
	traffics[0].rate, traffics[1].rate = sweepReads, sweepCommits
	failures := make([]error, len(all))
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			all[i].all, failures[i] = traffics[i].run(running)
			stop()
		})
	}
	from, to, watchErr := watchSweep(running, s, n)
	if watchErr == nil {
		sleepUntil(running, to.Add(calm))
	}
	stop()
	wg.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	if watchErr != nil {
		return watchErr
	}
	for _, s := range all {
		s.from, s.to = from, to
		g.sweeps = append(g.sweeps, s)
	}
	g.say("swept in %v", to.Sub(from).Round(100*time.Millisecond))
	return ctx.Err()
}

// sweepWrites is traffic that commits, on one session after the other.
func sweepWrites(address string, connections int, visitors []visitor) traffic {
	return traffic{address: address, connections: connections, request: func(w *wire, connection, n int) error {
		v := visitors[(n*connections+connection)%len(visitors)]
		answer, _, err := w.get("/set?n="+strconv.Itoa(n), v.cookie)
		if err != nil {
			return err
		}
		return v.sees(answer)
	}}
}

// watchSweep waits until n sessions have been swept, and returns when it began
// and ended, to half a second.
func watchSweep(ctx context.Context, s *server, n int) (from, to time.Time, err error) {
	most := time.Now().Add(calm + 30*time.Second + time.Duration(n)*time.Millisecond)
	for time.Now().Before(most) {
		now := time.Now()
		stored, found, err := s.metric(ctx, "caddy_session_live_sessions")
		switch {
		case err != nil:
			return from, to, err
		case !found:
			return from, to, errors.New("caddy does not tell how many sessions there are")
		case int(stored) <= live:
			return from, now, nil
		case int(stored) == n+live:
			from = now // it begins after that
		}
		if !sleepUntil(ctx, now.Add(500*time.Millisecond)) {
			return from, to, ctx.Err()
		}
	}
	return from, to, errors.New("the expired sessions are not swept")
}
