// Bench compares Caddy with sessions to bare Caddy, and to its peers, on one
// machine. It is started by the script beside it, which builds and installs
// what it needs.
//
// Throughput is compared in pairs: in every round each contender runs shortly
// after bare Caddy, and only the ratios of one round are compared, since a
// machine that others use too is never the same for long.
//
// Two more commands look at sessions alone: growth at what becomes of the costs
// as sessions grow, in number and in size, and soak at what becomes of Caddy
// when it runs for long.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
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
	profile     string // the directory for CPU profiles; empty: none are kept
	caddy       string
	out         string
	cache       string
}

// commands by name. Each reads its arguments and returns what to run.
var commands = map[string]func(arguments []string) (func(context.Context) error, error){
	"growth": parseGrowth,
	"soak":   parseSoak,
	"speed":  parseSpeed,
}

func main() {
	name, arguments := "speed", os.Args[1:]
	if len(arguments) > 0 && commands[arguments[0]] != nil {
		name, arguments = arguments[0], arguments[1:]
	}
	run, err := commands[name](arguments)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// flags returns a command's set of flags, with those that all have.
func (o *options) flags(command, files string) *flag.FlagSet {
	o.cache = os.Getenv("BENCH_CACHE")
	fs := flag.NewFlagSet(strings.TrimSpace("./bench/run "+command), flag.ContinueOnError)
	fs.StringVar(&o.caddy, "caddy", "", "a Caddy with the plugin; none is built if this is given")
	fs.StringVar(&o.out, "out", "", "the directory for "+files)
	return fs
}

// choose sets o.only to the names in a comma-separated list, or to all of them if
// it is empty, and returns what is wrong with the list, or "". kind is what the
// names are of.
func (o *options) choose(list, kind string, all []string) (problem string) {
	o.only = all
	if list != "" {
		o.only = strings.Split(list, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(all, name) {
			problem = fmt.Sprintf("-only: there is no %s %q", kind, name)
		}
	}
	return problem
}

// usage is what a command returns if its arguments make no sense, and says why.
func usage(problem string) error {
	fmt.Fprintln(os.Stderr, "bench:", problem)
	return errors.New(problem)
}

func parseSpeed(arguments []string) (func(context.Context) error, error) {
	var o options
	var only string
	fs := o.flags("", "speed.md, speed.svg and speed.csv")
	fs.IntVar(&o.rounds, "rounds", 7, "how many times each contender runs")
	fs.IntVar(&o.seconds, "seconds", 4, "how long each run takes")
	fs.IntVar(&o.warmup, "warmup", 5, "how long each contender runs once before it counts")
	fs.IntVar(&o.connections, "connections", 32, "wrk's connections; with more than 32, Caddy without tuning reconnects to the upstream all the time")
	fs.IntVar(&o.threads, "threads", 1, "wrk's threads")
	fs.StringVar(&only, "only", "", "comma-separated contenders: "+strings.Join(names(), ", "))
	fs.BoolVar(&o.tuning, "tuning", false, "also tune Caddy, without sessions: "+strings.Join(tuningNames(), ", "))
	fs.StringVar(&o.headers, "headers", "browser", "the request headers: browser (what Firefox sends) or none")
	fs.StringVar(&o.profile, "profile", "", "a directory for a CPU profile of each Caddy under load, made after the rounds; go tool pprof reads them")
	if err := fs.Parse(arguments); err != nil {
		return nil, err
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
		return nil, usage(problem)
	}
	return func(ctx context.Context) error { return speed(ctx, o) }, nil
}

// speed starts everything, measures, stops everything, and reports.
func speed(ctx context.Context, o options) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is not installed: apt-get install wrk")
	}
	l, err := openLab(o)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.start(ctx); err != nil {
		return err
	}
	// However slow something is, it ends.
	seconds := len(l.contenders) * ((o.rounds+1)*(o.seconds+2) + o.warmup + 2)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+5*time.Minute)
	defer cancel()
	samples, err := l.measure(ctx)
	if err != nil {
		return err
	}
	if err := l.keepProfiles(ctx); err != nil {
		return err
	}
	l.stop()
	return l.report(samples)
}
