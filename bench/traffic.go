package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
)

// traffic is a load on one server.
type traffic struct {
	address     string
	connections int
	rate        float64 // requests a second; 0 is as many as are answered

	// request makes the nth request of a connection, and checks the answer.
	request func(w *wire, connection, n int) error
}

// timing is one request of a run.
type timing struct {
	due  time.Time // when it was sent, or should have been at the rate
	took time.Duration
}

// run makes requests until the context ends, which is no error. The first
// request that fails ends it. With a rate, the time that a request takes counts
// from when it was due, so that waiting for a slow one before it counts, too.
func (t traffic) run(ctx context.Context) ([]timing, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	parts := make([][]timing, t.connections)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			w := wire{address: t.address}
			defer w.close()
			for n := 0; ctx.Err() == nil; n++ {
				due := time.Now()
				if t.rate > 0 {
					due = began.Add(time.Duration(float64(n*t.connections+i) / t.rate * float64(time.Second)))
					if !sleepUntil(ctx, due) {
						return
					}
				}
				if err := t.request(&w, i, n); err != nil {
					cancel(failure{err})
					return
				}
				parts[i] = append(parts[i], timing{due, time.Since(due)})
			}
		})
	}
	wg.Wait()
	if f, ok := errors.AsType[failure](context.Cause(ctx)); ok {
		return nil, f.error
	}
	return slices.Concat(parts...), nil
}

// failure is a request that failed, as opposed to a run that has ended.
type failure struct{ error }

// runFor is run for some time.
func (t traffic) runFor(ctx context.Context, d time.Duration) (load, error) {
	timed, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	began := time.Now()
	all, err := t.run(timed)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && len(all) == 0 {
		err = errors.New("no request was answered in time")
	}
	if err != nil {
		return load{}, err
	}
	return load{
		requests: int64(len(all)),
		rate:     float64(len(all)) / time.Since(began).Seconds(),
		p50:      percentile(all, 0.5), p99: percentile(all, 0.99),
	}, nil
}

// percentile returns the smallest time within which this part of all requests
// was answered, 0 if there were none.
func percentile(all []timing, part float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	took := make([]time.Duration, len(all))
	for i, t := range all {
		took[i] = t.took
	}
	slices.Sort(took)
	return took[max(int(math.Ceil(part*float64(len(took))))-1, 0)]
}

// sleepUntil reports false if the context ends before.
func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
