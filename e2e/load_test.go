package e2e

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// rate is how many requests a second a load makes.
const rate = 100

// task is what one request of a load is about.
type task string

const (
	stranger task = "without a cookie"
	loads    task = "read"
	commits  task = "commit"
	signsIn  task = "sign-in"
)

// sample is one request of a load.
type sample struct {
	task       task
	session    string // its id; of a sign-in that worked, the new one
	start, end time.Time
	status     int // 0: no answer
	stalled    time.Duration
}

func (s sample) took() time.Duration { return s.end.Sub(s.start) }

// load is what visitors do all the time, at the same rate however long the
// answers take.
type load struct {
	s       *server
	client  *http.Client
	pool    []string // the cookies that are used again and again
	stop    chan struct{}
	running sync.WaitGroup

	mu       sync.Mutex
	cookies  map[string]string // by id, of all sessions that were confirmed
	versions map[string]uint64 // the highest that was confirmed
	samples  []sample
	stalls   []sample // when the machine itself stood still
}

// startLoad signs in as many users and begins with the requests.
func startLoad(t *testing.T, s *server, users int) *load {
	t.Helper()
	l := &load{
		s:       s,
		client:  &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: timeout},
		stop:    make(chan struct{}),
		cookies: map[string]string{}, versions: map[string]uint64{},
	}
	for i := range users {
		cookie := signInEventually(t, s, fmt.Sprint("user", i))
		l.pool = append(l.pool, cookie)
		l.cookies[sessionID(cookie)], l.versions[sessionID(cookie)] = cookie, 1
	}
	l.running.Go(func() {
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
			case <-l.stop:
				return
			}
			cookie := l.pool[n*7%len(l.pool)]
			l.running.Go(func() {
				switch n % 10 {
				case 0:
					l.request(stranger, "/", "")
				case 1:
					l.request(signsIn, fmt.Sprintf("/?set=user%%3Dnew%d", n), "")
				case 2, 3, 4:
					l.request(commits, fmt.Sprintf("/?set=n%%3D%d", n), cookie)
				default:
					l.request(loads, "/", cookie)
				}
			})
		}
	})
	l.running.Go(l.watch)
	return l
}

// end stops the load and waits for its last answers.
func (l *load) end() {
	close(l.stop)
	l.running.Wait()
}

// watch notes when a short sleep takes long: the machine had other things to do.
func (l *load) watch() {
	const nap = 5 * time.Millisecond
	for {
		start := time.Now()
		select {
		case <-time.After(nap):
		case <-l.stop:
			return
		}
		if now := time.Now(); now.Sub(start) > 2*nap {
			l.mu.Lock()
			l.stalls = append(l.stalls, sample{start: start, end: now})
			l.mu.Unlock()
		}
	}
}

// request makes one request and notes what came of it.
func (l *load) request(what task, target, cookie string) {
	r, _ := http.NewRequest(http.MethodPost, "http://"+l.s.addr+target, nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	result := sample{task: what, session: sessionID(cookie), start: time.Now()}
	answer, err := l.client.Do(r)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(answer.Body)
		answer.Body.Close()
	}
	result.end = time.Now()
	var set string
	if err == nil {
		result.status = answer.StatusCode
		set = answer.Header.Get("Set-Cookie")
	}
	switch {
	case set != "" && (what != signsIn || result.status != http.StatusOK || strings.Contains(set, "Max-Age")):
		l.s.t.Errorf("%s: status %d changes the cookie: %s", what, result.status, set)
	case result.status == http.StatusOK && cookie != "" && !strings.Contains(string(body), "id="+result.session):
		l.s.t.Errorf("%s: the session is not there: %s", what, body)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if what == signsIn && result.status == http.StatusOK {
		cookie, _, _ = strings.Cut(set, ";")
		result.session = sessionID(cookie)
		l.cookies[result.session] = cookie
	}
	if result.status == http.StatusOK && cookie != "" {
		seen := versionIn(string(body))
		if what != loads { // what the application saw is from before
			seen++
		}
		l.versions[result.session] = max(l.versions[result.session], seen)
	}
	l.samples = append(l.samples, result)
}

// versionIn returns the version in what the scripted application says, 0 for
// none.
func versionIn(body string) (version uint64) {
	_, rest, _ := strings.Cut(body, "version=")
	fmt.Sscan(rest, &version)
	return version
}

// results returns the requests in the order of their answers. stalled is for
// how long at most the machine stood still during each.
func (l *load) results() []sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.samples)
	for i := range all {
		for _, stall := range l.stalls {
			if stall.end.After(all[i].start) && stall.start.Before(all[i].end) {
				all[i].stalled = max(all[i].stalled, stall.took())
			}
		}
	}
	slices.SortFunc(all, func(a, b sample) int { return a.end.Compare(b.end) })
	return all
}

// gap returns the longest time without an answer among the samples for which
// counts is true, once there was one.
func gap(samples []sample, counts func(sample) bool) (longest time.Duration) {
	var last time.Time
	for _, s := range samples {
		if s.status != http.StatusOK || !counts(s) {
			continue
		}
		if !last.IsZero() {
			longest = max(longest, s.end.Sub(last))
		}
		last = s.end
	}
	return longest
}

// percentile returns the latency that a share of the samples does not exceed.
func percentile(samples []sample, share float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(samples), func(a, b sample) int { return cmp.Compare(a.took(), b.took()) })
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)].took()
}
