// Bench compares Caddy with sessions to bare Caddy, and to its peers, on one
// machine. It is started by the script beside it, which builds and installs
// what it needs.
//
// Throughput is compared in pairs: in every round each contender runs shortly
// after bare Caddy, and only the ratios of one round are compared, since a
// machine that others use too is never the same for long.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command line's.
type options struct {
	rounds      int
	seconds     int
	warmup      int
	connections int
	threads     int
	only        []string // names of contenders; none: all
	tuning      bool
	headers     string
	caddy       string
	out         string
	cache       string
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func parse(arguments []string) (options, error) {
	var o options
	var only string
	fs := flag.NewFlagSet("./bench/run", flag.ContinueOnError)
	fs.IntVar(&o.rounds, "rounds", 7, "how many times each contender runs")
	fs.IntVar(&o.seconds, "seconds", 4, "how long each run takes")
	fs.IntVar(&o.warmup, "warmup", 5, "how long each contender runs once before it counts")
	fs.IntVar(&o.connections, "connections", 32, "wrk's connections; with more than 32, Caddy without tuning reconnects to the upstream all the time")
	fs.IntVar(&o.threads, "threads", 1, "wrk's threads")
	fs.StringVar(&only, "only", "", "comma-separated contenders: "+strings.Join(names(), ", "))
	fs.BoolVar(&o.tuning, "tuning", false, "also tune Caddy, without sessions: "+strings.Join(tuningNames(), ", "))
	fs.StringVar(&o.headers, "headers", "browser", "the request headers: browser (what Firefox sends) or none")
	fs.StringVar(&o.caddy, "caddy", "", "a Caddy with the plugin; none is built if this is given")
	fs.StringVar(&o.out, "out", "", "the directory for speed.md, speed.svg and speed.csv")
	if err := fs.Parse(arguments); err != nil {
		return o, err
	}
	if only != "" {
		o.only = strings.Split(only, ",")
		named := func(name string) bool { return slices.Contains(tuningNames(), name) }
		switch tunes := slices.ContainsFunc(o.only, named); {
		case tunes:
			o.tuning = true
		case o.tuning:
			o.only = append(o.only, tuningNames()...)
		}
	}
	problem := ""
	switch {
	case fs.NArg() > 0:
		problem = "no arguments but flags: " + strings.Join(fs.Args(), " ")
	case min(o.rounds, o.seconds, o.warmup, o.connections, o.threads) < 1 || o.threads > o.connections:
		problem = "numbers are at least 1, and there are no more threads than connections"
	case o.headers != "browser" && o.headers != "none":
		problem = "-headers is browser or none"
	}
	for _, name := range o.only {
		if !slices.Contains(append(names(), tuningNames()...), name) {
			problem = fmt.Sprintf("-only: there is no contender %q", name)
		}
	}
	if problem != "" {
		fmt.Fprintln(os.Stderr, "bench:", problem)
		return o, errors.New(problem)
	}
	o.cache = os.Getenv("BENCH_CACHE")
	return o, nil
}

// run starts everything, measures, stops everything, and reports.
func run(ctx context.Context, o options) (err error) {
	if o.cache == "" {
		return errors.New("start it with ./bench/run")
	}
	if o.caddy, err = filepath.Abs(o.caddy); err != nil {
		return err
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is not installed: apt-get install wrk")
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "caddy-session-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	l := &lab{options: o, dir: dir, began: time.Now()}
	defer l.stop()
	if err := l.start(ctx); err != nil {
		return err
	}
	// However slow something is, it ends.
	seconds := len(l.contenders) * (o.rounds*(o.seconds+2) + o.warmup + 2)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+5*time.Minute)
	defer cancel()
	samples, err := l.measure(ctx)
	if err != nil {
		return err
	}
	l.stop()
	return l.report(samples)
}
