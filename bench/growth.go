package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// growth measures what becomes of the costs as sessions grow in number, in size
// and in use.
type growth struct {
	*lab
	sessions     []int
	userSessions int // of the one who signs out
	sockets      int

	points  []*point // what is measured in rounds
	sweeps  []sweep
	starts  []start
	figures []figure
	failed  []string // what was not measured, and why

	fillRate float64 // sessions a second, into an embedded store
}

var (
	growthParts = []string{"sessions", "start", "sweep", "data", "parallel", "signout", "list", "sockets"}

	// dataSizes are in bytes, parallel are requests.
	dataSizes = []int{100, 1 << 10, 8 << 10, 64 << 10, 1 << 20}
	parallel  = []int{1, 10, 100}

	storeNames   = []string{"embedded", "redis", "near"}
	growthStores = append(slices.Clone(storeNames), "postgres")
)

func parseGrowth(arguments []string) (func(context.Context) error, error) {
	o := options{headers: "browser"}
	var only, sessions string
	var userSessions, sockets int
	fs := o.flags("growth", "growth.md and growth.csv")
	fs.StringVar(&sessions, "sessions", "1000,100000,1000000", "comma-separated numbers of stored sessions; the sweep, the list and cold starts have the last one")
	fs.IntVar(&o.rounds, "rounds", 3, "how many times each point is measured; cold starts, too")
	fs.IntVar(&o.seconds, "seconds", 2, "how long each measurement takes")
	fs.IntVar(&o.connections, "connections", 32, "connections, where that is not what is measured")
	fs.IntVar(&userSessions, "user-sessions", 10_000, "how many sessions the user has who signs out of all")
	fs.IntVar(&sockets, "sockets", 10_000, "how many WebSockets are open; each user has 100")
	fs.StringVar(&only, "only", "", "comma-separated parts: "+strings.Join(growthParts, ", "))
	if err := fs.Parse(arguments); err != nil {
		return nil, err
	}
	problem := o.choose(only, "part", growthParts)
	switch {
	case fs.NArg() > 0:
		problem = "no arguments but flags: " + strings.Join(fs.Args(), " ")
	case userSessions < 1 || sockets < 2*perUser || sockets%perUser != 0:
		problem = "-user-sessions is at least 1, and -sockets a multiple of 100, at least 200"
	case min(o.rounds, o.seconds, o.connections) < 1:
		problem = "numbers are at least 1"
	}
	var numbers []int
	for _, text := range strings.Split(sessions, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || len(numbers) > 0 && n <= numbers[len(numbers)-1] {
			problem = "-sessions are numbers above zero, in ascending order"
		}
		numbers = append(numbers, n)
	}
	if problem != "" {
		return nil, usage(problem)
	}
	return func(ctx context.Context) error {
		l, err := openLab(o)
		if err != nil {
			return err
		}
		defer l.close()
		g := &growth{lab: l, sessions: numbers, userSessions: userSessions, sockets: sockets, fillRate: 5000}
		return g.run(ctx)
	}, nil
}

func (g *growth) run(ctx context.Context) error {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return err
	}
	if err := g.startUpstream(ctx); err != nil {
		return err
	}
	parts := map[string]func(context.Context) error{
		"sessions": g.measureSessions, "start": g.measureStart, "sweep": g.measureSweep, "data": g.measureData, "parallel": g.measureParallel,
		"signout": g.measureSignOut, "list": g.measureList, "sockets": g.measureSockets,
	}
	for _, part := range growthParts {
		if !slices.Contains(g.only, part) {
			continue
		}
		g.say("%s", part)
		running := len(g.processes)
		if err := parts[part](ctx); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		// What this part has started would be in the way of the next.
		for _, p := range slices.Backward(g.processes[running:]) {
			p.stop()
		}
		g.processes = g.processes[:running]
	}
	return g.report()
}

// startServer starts a Caddy with a site for each setting of session.
func (g *growth) startServer(ctx context.Context, name, store string, ready bool, sessions ...string) (*server, error) {
	var sites []string
	for _, session := range sessions {
		sites = append(sites, session+g.proxy(""))
	}
	return g.lab.startServer(ctx, name, store, ready, sites)
}

// The setting session of the sites.
const (
	plainSession = "\tsession\n"
	largeSession = "\tsession {\n\t\tmax_data 2MiB\n\t\trequest_headers id user version\n\t}\n"
)

func embeddedStore(file string) string {
	return "embedded " + file + " {\n\t\t\tmax_sessions 100000000\n\t\t\tmax_size 1TiB\n\t\t}"
}

// redisStore returns the setting for the store called redis or near, with
// further lines of its block.
func redisStore(store string, port int, lines ...string) string {
	if store == "near" {
		lines = append(lines, "near_cache")
	}
	return "redis " + address(port) + " {\n\t\t\t" + strings.Join(lines, "\n\t\t\t") + "\n\t\t}"
}

func (g *growth) file(name string) string { return filepath.Join(g.dir, name+".db") }

// fill makes sessions in a store (see the program fill), and returns some.
func (g *growth) fill(ctx context.Context, arguments ...string) ([]visitor, error) {
	fill := exec.CommandContext(ctx, filepath.Join(g.cache, "bin", "fill"), arguments...)
	var stderr bytes.Buffer
	fill.Stderr = &stderr
	out, err := fill.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	var visitors []visitor
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		user, cookie, _ := strings.Cut(s.Text(), " ")
		visitors = append(visitors, visitor{user, cookie})
	}
	return visitors, nil
}

// reads is traffic that reads one session after the other.
func reads(address string, connections int, visitors []visitor) traffic {
	return traffic{address: address, connections: connections, request: func(w *wire, connection, n int) error {
		// Each connection begins elsewhere.
		v := visitors[(connection*len(visitors)/connections+n)%len(visitors)]
		answer, _, err := w.get("/page", v.cookie)
		if err != nil {
			return err
		}
		return v.sees(answer)
	}}
}
