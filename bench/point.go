package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// point is one thing that is measured in rounds.
type point struct {
	part, store string
	of          int    // sessions, bytes, or parallel requests
	kind        string // reads or commits
	server      *server
	traffic     traffic
	check       func() error // after each run; may be nil
	samples     []grown
}

// grown is a sample with more about memory.
type grown struct {
	sample
	anonymous   int64 // what is not a file's, of the memory
	storeMemory int64 // 0 without a server of the store
}

// measure measures points in rounds, every other one backwards. One that fails
// is taken out.
func (g *growth) measure(ctx context.Context, points []*point) error {
	for _, p := range points {
		if _, err := p.once(ctx, time.Second); err != nil {
			points = g.without(points, p, err)
		}
	}
	for round := range g.rounds {
		order := slices.Clone(points)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, p := range order {
			s, err := p.once(ctx, time.Duration(g.seconds)*time.Second)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				points = g.without(points, p, err)
				continue
			}
			p.samples = append(p.samples, s)
			g.say("round %d/%d %s %s %d %s: %.0f requests/s, p99 %v, CPU %v", round+1, g.rounds, p.part, p.store, p.of, p.kind,
				s.rate, s.p99.Round(10*time.Microsecond), s.cpu.Round(100*time.Nanosecond))
		}
	}
	g.points = append(g.points, points...)
	return nil
}

func (g *growth) without(points []*point, p *point, why error) []*point {
	g.fail("%s, %s, %d, %s: %v", p.part, p.store, p.of, p.kind, why)
	return slices.DeleteFunc(slices.Clone(points), func(other *point) bool { return other == p })
}

func (g *growth) fail(format string, values ...any) {
	reason := fmt.Sprintf(format, values...)
	g.say("not measured: %s", reason)
	g.failed = append(g.failed, reason)
}

func (p *point) once(ctx context.Context, d time.Duration) (grown, error) {
	var s grown
	before, storeBefore, err := p.server.cpuTimes()
	if err != nil {
		return s, err
	}
	if s.load, err = p.traffic.runFor(ctx, d); err != nil {
		return s, err
	}
	after, storeAfter, err := p.server.cpuTimes()
	if err != nil {
		return s, err
	}
	s.cpu = (after - before) / time.Duration(s.requests)
	s.storeCPU = (storeAfter - storeBefore) / time.Duration(s.requests)
	pid := p.server.cmd.Process.Pid
	if s.memory, err = memory(pid); err != nil {
		return s, err
	}
	if s.anonymous, err = smaps(pid, "Pss_Anon"); err != nil {
		return s, err
	}
	if p.server.store != nil {
		if s.storeMemory, err = memory(p.server.store.cmd.Process.Pid); err != nil {
			return s, err
		}
	}
	if p.check != nil {
		err = p.check()
	}
	return s, err
}

func (s *server) cpuTimes() (caddy, store time.Duration, err error) {
	if caddy, err = cpuTime(s.cmd.Process.Pid); err != nil || s.store == nil {
		return caddy, 0, err
	}
	store, err = cpuTime(s.store.cmd.Process.Pid)
	return caddy, store, err
}

// measureSessions measures reads by the number of stored sessions. All stores
// of all sizes are there at a time, so that they can be compared in rounds.
func (g *growth) measureSessions(ctx context.Context) error {
	// That many different ones are read at most.
	const most = 5000
	var points []*point
	for _, n := range g.sessions {
		count := strconv.Itoa(n)
		add := func(store string, s *server, visitors []visitor) {
			points = append(points, &point{part: "sessions", store: store, of: n, kind: "reads", server: s,
				traffic: reads(s.sites[0], g.connections, visitors)})
		}
		began := time.Now()
		visitors, err := g.fill(ctx, "--file", g.file("sessions"+count), "--sessions", count, "--print", strconv.Itoa(most))
		if err != nil {
			return err
		}
		g.fillRate = float64(n) / time.Since(began).Seconds()
		g.say("%d sessions in the embedded store: %.0f/s", n, g.fillRate)
		s, err := g.startServer(ctx, "embedded"+count, embeddedStore(g.file("sessions"+count)), true, plainSession)
		if err != nil {
			return err
		}
		add("embedded", s, visitors)

		redis, port, err := g.startRedis(ctx, "redis"+count)
		if err != nil {
			return err
		}
		began = time.Now()
		visitors, err = g.fill(ctx, "--redis", address(port), "--sessions", count, "--print", strconv.Itoa(most))
		if err != nil {
			return err
		}
		g.say("%d sessions in Redis: %.0f/s", n, float64(n)/time.Since(began).Seconds())
		for _, store := range []string{"redis", "near"} {
			s, err := g.startServer(ctx, store+count, redisStore(store, port), true, plainSession)
			if err != nil {
				return err
			}
			s.store = redis
			add(store, s, visitors)
		}
	}
	// Sizes are compared, so they come one after the other.
	slices.SortStableFunc(points, func(a, b *point) int { return cmp.Compare(a.store, b.store) })
	return g.measure(ctx, points)
}

// measureData measures reads by the size of the session's data where nobody asks for
// it: the application gets the user's name only.
func (g *growth) measureData(ctx context.Context) error {
	depots, err := g.depots(ctx, "data")
	if err != nil {
		return err
	}
	var points []*point
	for _, d := range depots {
		visitors := map[int][]visitor{}
		for _, size := range dataSizes {
			// 50 MiB of them at most.
			visitors[size], err = g.fill(ctx, append(d.where, "--sessions", strconv.Itoa(min(500, 50<<20/size)), "--bytes", strconv.Itoa(size), "--name", fmt.Sprintf("user%d-", size))...)
			if err != nil {
				return err
			}
		}
		s, err := g.startDepot(ctx, d, largeSession)
		if err != nil {
			return err
		}
		for _, size := range dataSizes {
			points = append(points, &point{part: "data", store: d.store, of: size, kind: "reads", server: s,
				traffic: reads(s.sites[0], g.connections, visitors[size])})
		}
	}
	return g.measure(ctx, points)
}

// measureParallel measures parallel reads and commits of one session.
func (g *growth) measureParallel(ctx context.Context) error {
	depots, err := g.depots(ctx, "parallel")
	if err != nil {
		return err
	}
	var points []*point
	for _, d := range depots {
		s, err := g.startDepot(ctx, d, plainSession)
		if err != nil {
			return err
		}
		for _, n := range parallel {
			v, err := signIn(s.sites[0], "alice")
			if err != nil {
				return err
			}
			points = append(points, &point{part: "parallel", store: d.store, of: n, kind: "reads", server: s,
				traffic: reads(s.sites[0], n, []visitor{v})}, commits(d.store, s, n, v))
		}
	}
	return g.measure(ctx, points)
}

// signIn signs a new visitor in.
func signIn(address, user string) (visitor, error) {
	w := wire{address: address}
	defer w.close()
	answer, _, err := w.get("/set?user="+url.QueryEscape(user), "")
	if err != nil {
		return visitor{}, err
	}
	if err := (visitor{}).sees(answer); err != nil {
		return visitor{}, err
	}
	for _, cookie := range answer.Cookies() {
		if cookie.Name == "csid" {
			return visitor{user, cookie.Value}, nil
		}
	}
	return visitor{}, errors.New("no cookie was set at sign-in")
}

// commits is the point of parallel commits on one session. Each connection sets
// a key of its own. After each run, each key has to have its last value, and
// the version has to have grown by the number of commits.
func commits(store string, s *server, connections int, v visitor) *point {
	last := make([]int, connections)
	var count atomic.Int64
	p := &point{part: "parallel", store: store, of: connections, kind: "commits", server: s}
	p.traffic = traffic{address: s.sites[0], connections: connections, request: func(w *wire, connection, _ int) error {
		answer, _, err := w.get(fmt.Sprintf("/set?k%d=%d", connection, last[connection]+1), v.cookie)
		if err == nil {
			err = v.sees(answer)
		}
		if err == nil {
			last[connection]++
			count.Add(1)
		}
		return err
	}}
	p.check = func() error {
		w := wire{address: s.sites[0]}
		defer w.close()
		answer, body, err := w.get("/data", v.cookie)
		if err != nil {
			return err
		}
		if err := v.sees(answer); err != nil {
			return err
		}
		// Signing in has made version 1.
		if got, want := answer.Header.Get("Seen-Version"), strconv.FormatInt(count.Load()+1, 10); got != want {
			return fmt.Errorf("the session has version %s after %s commits", got, want)
		}
		return hasKeys(body, last)
	}
	return p
}

// hasKeys makes sure that the data has the last value of each key.
func hasKeys(data []byte, last []int) error {
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		return fmt.Errorf("reading the session's data: %w", err)
	}
	for i, n := range last {
		if key := fmt.Sprint("k", i); n > 0 && got[key] != strconv.Itoa(n) {
			return fmt.Errorf("an update is lost: %s is %v and not %d", key, got[key], n)
		}
	}
	return nil
}
