package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func TestParallelResponsesLoseNoKey(t *testing.T) {
	const n = 20
	eachStore(t, func(t *testing.T, option string) {
		g := newGate(t)
		s := serve(t, option, "session\nreverse_proxy "+g.host())
		cookie := s.signIn("alice")
		var answers []<-chan *response
		for i := range n {
			answers = append(answers, s.getLater(g, fmt.Sprintf(`/?set={"key%d":%d}`, i, i), cookie))
		}
		close(g.open)
		for i, answer := range answers {
			if r := s.await(answer); r.StatusCode != http.StatusOK {
				t.Errorf("response %d: %q", i, r.raw)
			}
		}
		r := s.get("/", cookie)
		for i := range n {
			if want := fmt.Sprintf(`"key%d":%d`, i, i); !strings.Contains(r.body, want) {
				t.Errorf("%s was lost: %s", want, r.body)
			}
		}
		if !strings.Contains(r.body, fmt.Sprintf("version=%d ", n+1)) {
			t.Errorf("after 1+%d commits: %s", n, r.body)
		}
	})
}

// A response that is late says something about the past: it must bring back to
// life neither a session nor the data of another visitor.
func TestLateResponses(t *testing.T) {
	for _, test := range []struct {
		name      string
		meanwhile string // what another request with the same cookie asks for
		late      string // what the late response asks for
		gone      bool   // the session has ended then
	}{
		{"set after sign-out", "control=destroy", "set=note%3Dlate", true},
		{"renew after sign-out", "control=destroy", "control=renew", true},
		{"sign-in after sign-out", "control=destroy", "set=user%3Dmallory", true},
		{"max-age after clear", "control=clear", "control=max-age%3D3600", true},
		{"set after sign-in", "set=user%3Dalice", "set=note%3Dlate", false},
		{"sign-in after sign-in", "set=user%3Dalice", "set=user%3Dmallory", false},
		{"clear after renew", "control=renew", "control=clear", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, option string) {
				g := newGate(t)
				s := serve(t, option, "session\nreverse_proxy "+g.host())
				before := s.get("/?set=cart%3D1", "").cookie()

				late := s.getLater(g, "/?"+test.late, before)
				r := s.get("/?"+test.meanwhile, before)
				after := r.cookie()
				close(g.open)

				l := s.await(late)
				if l.StatusCode != http.StatusOK || l.Header.Get("Set-Cookie") != "" {
					t.Errorf("the late response: %q", l.raw)
				}
				if r := s.get("/", before); !strings.Contains(r.body, "version= id=\n") {
					t.Errorf("the old cookie is good for %s", r.body)
				}
				if after == "" {
					if !test.gone {
						t.Errorf("no new cookie: %q", r.raw)
					}
					return
				}
				r = s.get("/", after)
				if strings.Contains(r.body, "late") || strings.Contains(r.body, "mallory") {
					t.Errorf("the late response wrote into the next session: %s", r.body)
				}
				if !test.gone && !strings.Contains(r.body, `"cart":"1"`) {
					t.Errorf("the session has lost its data: %s", r.body)
				}
			})
		})
	}
}

func TestSessionsSurviveRestart(t *testing.T) {
	eachStore(t, func(t *testing.T, option string) {
		a := app(t, scripted)
		site := "session\nreverse_proxy " + a.host()
		s := serve(t, option, site)
		cookie := s.signIn("alice")
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		s.load(option, site)
		kept := !strings.Contains(option, "memory")
		if r := s.get("/", cookie); strings.Contains(r.body, "user=alice ") != kept {
			t.Errorf("kept = %v, but the application sees %s", kept, r.body)
		}
	})
}

func TestReloadUnderLoad(t *testing.T) {
	const workers, reloads = 4, 4
	eachStore(t, func(t *testing.T, option string) {
		var seen sync.Map // queries that have reached the application
		a := app(t, func(w http.ResponseWriter, r *http.Request) {
			seen.Store(r.URL.RawQuery, true)
			scripted(w, r)
		})
		site := "session\nreverse_proxy " + a.host()
		s := serve(t, option, site)
		cookie := s.signIn("alice")

		stop := make(chan struct{})
		done := make([]atomic.Int64, workers) // requests of each worker
		var wg sync.WaitGroup
		for i := range workers {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%2 == 0}, Timeout: timeout}
			defer client.CloseIdleConnections()
			wg.Go(func() {
				for n := int64(1); ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					r, err := http.NewRequest("GET", fmt.Sprintf(`http://%s/?set=%%7B"w%d":%d%%7D`, s.addr, i, n), nil)
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("Cookie", cookie)
					res, err := client.Do(r)
					if _, arrived := seen.Load(r.URL.RawQuery); err != nil && !arrived {
						// Caddy, with and without us, breaks connections that come
						// in while it goes from one listener to the next.
						n--
						continue
					}
					if err != nil {
						t.Errorf("request %d: %v", n, err)
						return
					}
					res.Body.Close()
					if res.StatusCode != http.StatusOK {
						t.Errorf("request %d: %s", n, res.Status)
						return
					}
					done[i].Store(n)
				}
			})
		}
		for i := range reloads {
			for w := range done {
				before := done[w].Load()
				eventually(t, "each worker goes on", func() bool { return t.Failed() || done[w].Load() > before })
			}
			s.load(option, fmt.Sprintf("header Generation %d\n%s", i, site))
		}
		close(stop)
		wg.Wait()

		r := s.get("/", cookie)
		if got := r.Header.Get("Generation"); got != fmt.Sprint(reloads-1) {
			t.Errorf("generation %q of the configuration answers", got)
		}
		for i := range done {
			if want := fmt.Sprintf(`"w%d":%d`, i, done[i].Load()); !strings.Contains(r.body, want) {
				t.Errorf("want %s in %s", want, r.body)
			}
		}
	})
}

// Where the clock stands still two sign-ins can't be told apart.
func nextMillisecond(t *testing.T) {
	now := time.Now().UnixMilli()
	eventually(t, "the clock goes on", func() bool { return time.Now().UnixMilli() > now })
}

func TestSubjectsAcrossHosts(t *testing.T) {
	const first, second = "a.test", "b.test"
	for _, test := range []struct {
		name    string
		setting string // of both hosts
		shared  bool   // they know the same users
	}{
		{"a realm", "realm staff", true},
		{"no realm", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, option string) {
				a := app(t, scripted)
				s := serve(t, option, "respond OK")
				port := s.addr[strings.LastIndex(s.addr, ":"):]
				err := s.try(option, fmt.Sprintf("http://%s%s, http://%s%s {\nsession {\n%s\nsubject user max 2\n}\nreverse_proxy %s\n}",
					first, port, second, port, test.setting, a.host()))
				if err != nil {
					t.Fatal(err)
				}
				signIn := func(host, user string) string {
					t.Helper()
					nextMillisecond(t)
					cookie := s.at(host, "/?set=user%3D"+user, "").cookie()
					if cookie == "" {
						t.Fatalf("no cookie from %s", host)
					}
					return cookie
				}
				signedIn := func(host, cookie string) bool {
					t.Helper()
					return !strings.Contains(s.at(host, "/", cookie).body, "user= ")
				}

				bob := signIn(first, "bob")
				oldest := signIn(first, "alice")
				middle := signIn(second, "alice")
				newest := signIn(first, "alice")
				if signedIn(first, oldest) == test.shared {
					t.Errorf("the oldest of three sessions on two hosts lives: %v", !test.shared)
				}
				if !signedIn(second, middle) || !signedIn(first, newest) {
					t.Error("a session within the limit has ended")
				}
				if signedIn(second, newest) {
					t.Error("the cookie of one host is good on another")
				}

				if r := s.at(first, "/?control=revoke-others", newest); r.StatusCode != http.StatusOK {
					t.Fatalf("revoke-others: %q", r.raw)
				}
				if signedIn(second, middle) == test.shared {
					t.Errorf("after revoke-others the session on the other host lives: %v", !test.shared)
				}
				if signedIn(first, oldest) {
					t.Error("revoke-others has left a session on the same host")
				}
				if !signedIn(first, newest) || !signedIn(first, bob) {
					t.Error("revoke-others has ended more than the user's other sessions")
				}
			})
		})
	}
}
