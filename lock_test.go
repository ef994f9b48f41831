package caddysession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/api"
)

// lockedSite returns a site without the session API.
func lockedSite(t *testing.T) *site { return newSiteOf(t, `{"store":{"module":"test"}}`) }

// adds is an application that adds one to n as the request's headers show it.
func adds(t *testing.T) application {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("X-Session-Api") != "" {
			t.Error("a site without api has a capability")
		}
		var data struct{ N int }
		if err := json.Unmarshal([]byte(r.Header.Get("X-Session-Data")), &data); err != nil {
			t.Error(err)
		}
		return says(fmt.Sprintf(`X-Session-Set: {"n":%d}`, data.N+1))(w, r)
	}
}

// Requests that are locked get the session as the one before has left it, at two
// handlers that know of each other by the store only.
func TestLock(t *testing.T) {
	s := lockedSite(t)
	handlers := []*Handler{s.handler("lock 20s"), s.handler("lock 20s")}
	own := begin(t, handlers[0], `{"n":0}`)
	const requests = 30
	var inside atomic.Int32
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			_, err := answer(handlers[i%2], request("/", own), func(w http.ResponseWriter, r *http.Request) error {
				if inside.Add(1) > 1 {
					t.Error("two at a time")
				}
				defer inside.Add(-1)
				return adds(t)(w, r)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := seen(t, handlers[0], own); got != fmt.Sprintf(`{"n":%d}`, requests) {
		t.Errorf("the session has %s", got)
	}
}

// Without the lock, requests that have all read before one of them writes lose all
// changes but one.
func TestWithoutLock(t *testing.T) {
	h := lockedSite(t).handler("")
	own := begin(t, h, `{"n":0}`)
	const requests = 30
	var read, all sync.WaitGroup
	read.Add(requests)
	for range requests {
		all.Go(func() {
			_, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
				read.Done()
				read.Wait()
				return adds(t)(w, r)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := seen(t, h, own); got != `{"n":1}` {
		t.Errorf("the session has %s", got)
	}
}

// holding has a request hold the lock of a session while f runs.
func holding(t *testing.T, h *Handler, own string, f func()) {
	t.Helper()
	if _, err := answer(h, request("/", own), func(http.ResponseWriter, *http.Request) error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// waits returns a function that waits until one request more waits for a lock.
func waits(t *testing.T) func() {
	before := api.Waiting()
	return func() {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); api.Waiting() <= before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nobody waits")
			}
		}
	}
}

// Who waits, for how long, and what of.
func TestLockWaits(t *testing.T) {
	s := lockedSite(t)
	h, err := s.provision(&Handler{Lock: &Lock{
		MatcherSetsRaw: caddyhttp.RawMatcherSets{{"not": json.RawMessage(`[{"path":["/free"]}]`)}},
		Wait:           caddy.Duration(10 * time.Millisecond),
	}})
	if err != nil {
		t.Fatal(err)
	}
	patient := s.handler("lock 1m")
	own, other := begin(t, h, `{"n":0}`), begin(t, h, `{"n":0}`)
	never := func(http.ResponseWriter, *http.Request) error {
		t.Error("the application is asked")
		return nil
	}
	holding(t, h, own, func() {
		for what, r := range map[string]*http.Request{
			"another session": request("/", other), "no session": request("/", ""), "no match": request("/free", own),
		} {
			if _, err := answer(h, r, says()); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		w, err := answer(h, request("/", own), never)
		if status(err) != http.StatusLocked || w.Header().Get("Retry-After") != "1" {
			t.Errorf("after the wait: %v, %v", err, w.Header())
		}
		ctx, leave := context.WithCancel(t.Context())
		waiting := waits(t)
		go func() { waiting(); leave() }()
		if _, err := answer(patient, request("/", own).WithContext(ctx), never); status(err) != clientClosedRequest {
			t.Errorf("a client that leaves: %v", err)
		}
	})
}

// The lock is given back however a request ends.
func TestLockIsGivenBack(t *testing.T) {
	s := lockedSite(t)
	h := s.handler("lock 1m")
	own := begin(t, h, `{"n":0}`)
	for _, ends := range []application{
		says(), says("X-Session-Set: {"),
		func(http.ResponseWriter, *http.Request) error { return errors.New("no") },
		func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) },
	} {
		func() {
			defer func() { recover() }()
			answer(h, request("/", own), ends)
		}()
	}
	narrow := s.handler("lock 1m\nexposed 3") // the session can't be shown
	if _, err := answer(narrow, request("/", own), says()); status(err) != http.StatusInternalServerError {
		t.Error(err)
	}
	if _, err := answer(h, request("/", own), adds(t)); err != nil {
		t.Error(err)
	}
}

// What the one before does to the session is seen by the one that waits: the new data,
// or none, if it was ended or has another secret, which the browser has by then.
func TestLockAfterOthers(t *testing.T) {
	for does, want := range map[string]string{
		`X-Session-Set: {"n":5}`: `{"n":5}`, "X-Session-Control: renew": "", "X-Session-Control: clear": "", "X-Session-Control: destroy": "",
	} {
		h := lockedSite(t).handler("lock 1m")
		own := begin(t, h, `{"n":0}`)
		waiting := waits(t)
		var second sync.WaitGroup
		_, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
			second.Go(func() {
				w, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
					if got := r.Header.Get("X-Session-Data"); got != want {
						t.Errorf("%s: the next one gets %q", does, got)
					}
					return says(`X-Session-Set: {"m":1}`)(w, r)
				})
				if err != nil || len(w.Header()["Set-Cookie"]) > 0 {
					t.Errorf("%s: %v, %v", does, err, w.Header())
				}
			})
			waiting()
			return says(does)(w, r)
		})
		second.Wait()
		if err != nil {
			t.Error(err)
		}
	}
}

// A store that can't be asked for the lock is one that can't be asked.
func TestLockWithoutStore(t *testing.T) {
	for setting, want := range map[string]int{"fail": http.StatusServiceUnavailable, "pass": 0} {
		s := lockedSite(t)
		h := s.handler("lock 1m\non_store_error " + setting)
		own := begin(t, h, `{"n":0}`)
		// Loaded by now, and down when it is asked for the lock.
		r := request("/", own)
		s.store.failPut.Store(true)
		_, err := answer(h, r, func(_ http.ResponseWriter, r *http.Request) error {
			if r.Header.Get("X-Session-Id") != "" {
				t.Error("the application has a session without the lock")
			}
			return nil
		})
		if status(err) != want {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// It is the lock of the session API.
func TestLockAndAPI(t *testing.T) {
	h, s := handler(t, "api\nlock 10ms")
	free := s.handler("api")
	own := begin(t, h, `{"n":0}`)
	_, err := answer(h, request("/", own), func(_ http.ResponseWriter, first *http.Request) error {
		s.steps(first, []step{{"POST /lock", 200, ""}, {`PATCH {"n":1}`, 200, ""}})
		_, err := answer(free, request("/", own), func(_ http.ResponseWriter, second *http.Request) error {
			s.steps(second, []step{{"POST /lock?wait=10ms", 423, ""}})
			s.steps(first, []step{{"DELETE /lock", 204, ""}})
			s.steps(second, []step{{"POST /lock", 200, ""}})
			if _, err := answer(h, request("/", own), says()); status(err) != http.StatusLocked {
				t.Error(err)
			}
			return nil
		})
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLockSettings(t *testing.T) {
	for block, want := range map[string]string{
		"lock":             "write: lock WAIT",
		"lock @a 5s 6s":    "write: lock WAIT",
		"lock 0s":          "above zero",
		"lock @a soon":     "write a duration",
		"lock cart 5s":     "a matcher begins with @ or /",
		"lock 5s\nlock 6s": "twice",
	} {
		if _, err := parse(block); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", block, err)
		}
	}
	if _, err := lockedSite(t).provision(&Handler{Lock: new(Lock)}); err == nil || !strings.Contains(err.Error(), "lock: say how long") {
		t.Error(err)
	}
}
