package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// sample is one run of one contender.
type sample struct {
	load
	cpu      time.Duration // of the server and its children, per request
	storeCPU time.Duration // of the store's server, per request
	memory   int64         // of the server and its children, bytes
}

// samples has those of each contender, by id, one for each round.
type samples map[string][]sample

// measure runs all rounds. Every other one goes backwards, so that what slowly
// becomes slower or faster meanwhile is no advantage for anybody. A contender
// that fails is taken out; without bare Caddy there is nothing to report.
func (l *lab) measure(ctx context.Context) (samples, error) {
	for _, c := range slices.Clone(l.contenders) {
		if _, err := l.once(ctx, c, l.warmup); err != nil {
			if err := l.failed(ctx, c, err); err != nil {
				return nil, err
			}
		}
	}
	all := samples{}
	for round := range l.rounds {
		order := slices.Clone(l.contenders)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, c := range order {
			s, err := l.once(ctx, c, l.seconds)
			if err != nil {
				if err := l.failed(ctx, c, err); err != nil {
					return nil, err
				}
				continue
			}
			all[c.id] = append(all[c.id], s)
			fmt.Fprintf(os.Stderr, "bench: round %d/%d %-13s %7.0f requests/s, p99 %v, CPU %v\n",
				round+1, l.rounds, c.id, s.rate, s.p99.Round(10*time.Microsecond), s.cpu.Round(100*time.Nanosecond))
		}
	}
	return all, nil
}

// failed takes a contender out, with those whose sessions have no price without it.
func (l *lab) failed(ctx context.Context, c *contender, why error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, other := range l.contenders {
		if other.against == c.id {
			return why
		}
	}
	l.lose(why, func(other *contender) bool { return other == c || other.over == c.id })
	return nil
}

// once loads one contender. Before and after, its session must be there.
func (l *lab) once(ctx context.Context, c *contender, seconds int) (sample, error) {
	var s sample
	if err := c.check(ctx); err != nil {
		return s, err
	}
	before, storeBefore, err := l.cpuTimes(c)
	if err != nil {
		return s, err
	}
	if s.load, err = wrk(ctx, l.options, c, seconds); err != nil {
		return s, err
	}
	after, storeAfter, err := l.cpuTimes(c)
	if err != nil {
		return s, err
	}
	for _, server := range c.servers() {
		bytes, err := memory(server.cmd.Process.Pid)
		if err != nil {
			return s, err
		}
		s.memory += bytes
	}
	s.cpu = (after - before) / time.Duration(s.requests)
	s.storeCPU = (storeAfter - storeBefore) / time.Duration(s.requests)
	return s, c.check(ctx)
}

// servers returns what answers: the server, and the application if it is its own.
func (c *contender) servers() []*process {
	if c.behind == nil {
		return []*process{c.server}
	}
	return []*process{c.server, c.behind}
}

func (l *lab) cpuTimes(c *contender) (server, store time.Duration, err error) {
	for _, process := range c.servers() {
		time, err := cpuTime(process.cmd.Process.Pid)
		if err != nil {
			return 0, 0, err
		}
		server += time
	}
	if c.store == "" {
		return server, 0, nil
	}
	store, err = cpuTime(l.stores[c.store].cmd.Process.Pid)
	return server, store, err
}

// spread is the middle one of some numbers, and the ends.
type spread struct{ median, min, max float64 }

// of returns the spread of a number that each sample has.
func of(list []sample, number func(sample) float64) spread {
	var numbers []float64
	for _, s := range list {
		numbers = append(numbers, number(s))
	}
	return spreadOf(numbers)
}

// ratio returns the spread of the ratios of a number to that of the other
// contender in the same round.
func ratio(list, against []sample, number func(sample) float64) spread {
	var ratios []float64
	for i := range min(len(list), len(against)) {
		ratios = append(ratios, number(list[i])/number(against[i]))
	}
	return spreadOf(ratios)
}

// tax returns the spread of the CPU time, in µs, that requests took more than those
// of the same proxy without sessions in the same round.
func tax(list, over []sample) spread {
	var more []float64
	for i := range min(len(list), len(over)) {
		more = append(more, cpuOf(list[i])-cpuOf(over[i]))
	}
	return spreadOf(more)
}

func spreadOf(numbers []float64) spread {
	slices.Sort(numbers)
	n := len(numbers)
	return spread{(numbers[(n-1)/2] + numbers[n/2]) / 2, numbers[0], numbers[n-1]}
}

func rateOf(s sample) float64     { return s.rate }
func p50Of(s sample) float64      { return s.p50.Seconds() * 1e3 }
func p99Of(s sample) float64      { return s.p99.Seconds() * 1e3 }
func cpuOf(s sample) float64      { return s.cpu.Seconds() * 1e6 }
func memoryOf(s sample) float64   { return float64(s.memory) / 1e6 }
func storeCPUOf(s sample) float64 { return s.storeCPU.Seconds() * 1e6 }
