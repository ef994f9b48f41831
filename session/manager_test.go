package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

func TestUnknownIDsAreNeverAdopted(t *testing.T) {
	bubble(t, nil, func(e *env) {
		chosen := session.NewToken()
		s, err := e.tryLoad(chosen)
		if s != nil || err != nil {
			e.Fatalf("got %v, error %v", s, err)
		}
		e.counted(session.EventExpired, 1)
		made := e.commit(s, set(`{"user":"alice"}`)).Session
		if made.ID() == chosen.ID {
			e.Error("the id that the client chose was taken")
		}
	})
}

func TestTokenIsWorthNothingElsewhere(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"user":"alice"}`)
		for _, scope := range []session.Scope{
			{Name: "csid", Host: "example.com", Path: "/"},
			{Name: "__Host-csid", Host: "www.example.com", Path: "/"},
			{Name: "__Host-csid", Host: "example.com", Path: "/a"},
		} {
			got, _, err := e.Load(context.Background(), session.Site{Scope: scope, Realm: e.site.Realm}, []session.Token{s.Token()}, time.Now())
			if got != nil || err != nil {
				e.Errorf("%+v opens it: error %v", scope, err)
			}
		}
		e.counted(session.EventForged, 3)
		e.live(s)
	})
}

// A session of another realm is none here, is not forged, and stays.
func TestRealmsPartSessions(t *testing.T) {
	bubble(t, nil, func(e *env) {
		staff := e.site
		staff.Realm = "staff"
		for _, start := range []string{`{"user":"alice"}`, `{}`} {
			s := e.create(start)
			for range 2 {
				for _, load := range []func(context.Context, session.Site, []session.Token, time.Time) (*session.Session, bool, error){e.Load, e.LoadCached} {
					if got, stale, err := load(e.Context(), staff, []session.Token{s.Token()}, time.Now()); got != nil || stale || err != nil {
						e.Errorf("%s in another realm: %v, error %v", start, got, err)
					}
				}
				e.live(s)
			}
		}
		e.counted(session.EventElsewhere, 8)
		e.counted(session.EventForged, 0)
		warnings := e.logs.FilterMessageSnippet("another realm").All()
		if len(warnings) != 1 || warnings[0].ContextMap()["realm"] != "staff" || warnings[0].ContextMap()["session_realm"] != e.site.Realm {
			e.Errorf("warnings: %+v", warnings)
		}
	})
}

func TestStaleIsToldFromForged(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		now := e.commit(s, control("renew")).Session
		time.Sleep(time.Minute - time.Second)
		e.dead(s)
		e.counted(session.EventStale, 1)
		e.counted(session.EventForged, 0)
		time.Sleep(time.Second)
		e.dead(s)
		e.counted(session.EventForged, 1)

		// Only the last secret is stale, and a wrong one never is.
		e.commit(e.live(now), control("renew"))
		e.dead(s)
		e.dead(now)
		wrong := s.Token().Renew()
		if got, err := e.tryLoad(wrong); got != nil || err != nil {
			e.Errorf("a wrong secret opens %v, error %v", got, err)
		}
		e.counted(session.EventStale, 2)
		e.counted(session.EventForged, 3)
		if n := e.logs.FilterMessageSnippet("wrong secret").Len(); n != 1 {
			e.Errorf("%d warnings within a second", n)
		}
	})
}

func TestSeveralLiveSessionsAreAllEnded(t *testing.T) {
	bubble(t, nil, func(e *env) {
		a, b, c := e.create(`{"user":"alice"}`), e.create(`{"user":"mallory"}`), e.create(`{}`)
		gone := e.create(`{}`)
		e.commit(gone, control("destroy"))

		// One live session among dead and forged ones is that one.
		got, err := e.tryLoad(gone.Token(), session.NewToken(), c.Token().Renew(), a.Token())
		if err != nil || got == nil || got.ID() != a.ID() {
			e.Fatalf("got %v, error %v; want %v", got, err, a)
		}
		got, err = e.tryLoad(a.Token(), gone.Token(), b.Token(), c.Token())
		if err != nil || got != nil {
			e.Fatalf("got %v, error %v; want nobody", got, err)
		}
		if len(e.dump()) != 0 {
			e.Error("some of them are left")
		}
		e.counted(session.EventAmbiguous, 1)
		lines := e.logs.FilterMessageSnippet("several live sessions").All()
		if len(lines) != 1 {
			e.Fatalf("%d warnings", len(lines))
		}
		for _, s := range []*session.Session{a, b, c} {
			if !strings.Contains(fmt.Sprint(lines[0].ContextMap()["sessions"]), s.ID()) {
				e.Errorf("the warning does not name %s", s.ID())
			}
		}
		e.live(e.commit(got, set(`{"user":"alice"}`)).Session)
	})
}

func TestSeveralLiveSessionsThatCanNotBeEndedAreAnError(t *testing.T) {
	bubble(t, nil, func(e *env) {
		a, b := e.create(`{}`), e.create(`{}`)
		e.faults(failing("Delete"), nil, nil)
		if got, err := e.tryLoad(a.Token(), b.Token()); !errors.Is(err, errBroken) || got != nil {
			e.Errorf("got %v, error %v", got, err)
		}
	})
}

func TestCanNotTellIsAnError(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s, other := e.create(`{}`), e.create(`{}`)
		e.faults(failing("Get"), nil, nil)
		if got, err := e.tryLoad(s.Token()); !errors.Is(err, errBroken) || got != nil {
			e.Errorf("got %v, error %v", got, err)
		}
		// Also when another candidate is live.
		e.faults(func(op, id string) error {
			if id == other.ID() {
				return errBroken
			}
			return nil
		}, nil, nil)
		for _, tokens := range [][]session.Token{{s.Token(), other.Token()}, {other.Token(), s.Token()}} {
			if got, err := e.tryLoad(tokens...); !errors.Is(err, errBroken) || got != nil {
				e.Errorf("got %v, error %v", got, err)
			}
		}
		e.counted(session.EventStoreError, 3)
	})
}

func TestUnreadableRecords(t *testing.T) {
	tests := []struct {
		name string
		edit func(value string) string
		err  bool // can't tell
	}{
		{"empty", func(string) string { return "" }, false},
		{"foreign", func(string) string { return "O:8:\"stdClass\":0:{}" }, false},
		{"cut off", func(v string) string { return v[:len(v)/2] }, false},
		{"flipped bit in the body", func(v string) string { return v[:len(v)-1] + string(v[len(v)-1]^1) }, false},
		{"older format", func(v string) string { return "cs0" + v[3:] }, false},
		{"newer format", func(v string) string { return "cs2" + v[3:] }, true},
		{"much newer format", func(v string) string { return "cs10" + v[3:] }, true},
		{"subject", func(v string) string { return strings.Replace(v, " alice ", " admin ", 1) }, false},
		{"remembered", func(v string) string { return strings.Replace(v, " idle ", " remembered ", 1) }, false},
		{"realm", func(v string) string { return strings.Replace(v, " example.com ", " example.org ", 1) }, false},
		{"too long", func(v string) string { return strings.Replace(v, " alice ", " "+strings.Repeat("a", 20<<10)+" ", 1) }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				s := e.create(`{"user":"alice"}`)
				e.rewrite(s.ID(), test.edit)
				got, err := e.tryLoad(s.Token())
				if got != nil || (err != nil) != test.err {
					e.Fatalf("got %v, error %v", got, err)
				}
				if test.err {
					e.counted(session.EventStoreError, 1)
					return
				}
				e.counted(session.EventCorrupt, 1)
				if e.logs.FilterMessageSnippet("no session of ours").Len() != 1 {
					e.Error("nothing in the log")
				}
				// The next sign-in works.
				e.live(e.commit(got, set(`{"user":"alice"}`)).Session)
			})
		})
	}
}

// Whoever writes to the store can't have a sealed record taken for a plain one:
// the form can't be changed without the secret.
func TestSealedStaysSealed(t *testing.T) {
	bubble(t, nil, func(e *env) {
		for i, data := range []string{`{"user":"alice"}`, `{"user":"alice","admin":true}`} {
			s := e.create(`{"user":"alice"}`)
			e.rewrite(s.ID(), func(v string) string {
				header, _, _ := strings.Cut(v, "\n")
				return strings.Replace(header, " sealed", " plain", 1) + "\n" + data
			})
			e.dead(s)
			e.counted(session.EventForged, i+1)
		}
	})
}

// A session that was plain is sealed by the next commit after the setting has
// changed, and the other way round.
func TestFormFollowsTheSetting(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"a":1}`)
		for _, plain := range []bool{true, false} {
			policy := e.policy
			policy.Plain = plain
			other := newEnv(e.T, policy, e.store.Store)
			other.data(s, `{"a":1}`)
			old := s
			s = other.commit(other.live(s), control("renew")).Session
			if got := strings.Contains(e.dump()[s.ID()], " plain\n"); got != plain {
				e.Errorf("plain: %t, want %t", got, plain)
			}
			e.data(s, `{"a":1}`)
			other.dead(old)
			other.counted(session.EventStale, 1)
		}
	})
}

func TestRecordOfAnotherSessionIsRefused(t *testing.T) {
	for _, plain := range []bool{false, true} {
		bubble(t, func(p *session.Policy) { p.Plain = plain }, func(e *env) {
			victim, attacker := e.create(`{"user":"admin"}`), e.create(`{"user":"mallory"}`)
			stolen, err := e.store.Store.Get(context.Background(), victim.ID())
			if err != nil {
				e.Fatal(err)
			}
			e.rewrite(attacker.ID(), func(string) string { return string(stolen.Value) })
			e.dead(attacker)
			e.live(victim)
		})
	}
}

// A worker may edit a plain record. What it gets wrong must not stop the site.
func TestEditedPlainRecords(t *testing.T) {
	tests := []struct {
		name, data string
		want       string // "" if nobody is signed in then
	}{
		{"changed", `{"a":2}`, `{"a":2}`},
		{"with spaces", "{ \"a\" : 2 , \"b\" : [ 1 ] }", `{"a":2,"b":[1]}`},
		{"with tabs", "{\t\"a\":2}", ""},
		{"no JSON", `{a}`, ""},
		{"half a string", `{"user}`, ""},
		{"half a pair", `{"a":}`, ""},
		{"two objects", `{"a":1}{}`, ""},
		{"an array", `[]`, ""},
		{"nothing", ``, ""},
		{"duplicate key", `{"a":1,"a":2}`, `{"a":1,"a":2}`},
		{"not ASCII", `{"a":"é"}`, ""},
		{"bad private", "{}\n{\"a\"}", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(p *session.Policy) { p.Plain = true }, func(e *env) {
				protocol, err := session.NewProtocol("", []session.Forward{{Key: "user"}, {Key: "a", Header: "X-A"}}, e.policy)
				if err != nil {
					e.Fatal(err)
				}
				s := e.create(`{"a":1}`)
				e.rewrite(s.ID(), func(v string) string { return v[:strings.IndexByte(v, '\n')+1] + test.data })
				got, err := e.tryLoad(s.Token())
				if err != nil {
					e.Fatal(err)
				}
				if got == nil {
					if test.want != "" {
						e.Errorf("%s is refused", test.data)
					}
					return
				}
				if string(got.Data()) != test.want {
					e.Fatalf("got %s, want %s", got.Data(), test.want)
				}
				h := map[string][]string{}
				if err := protocol.Inject(h, got); err != nil || h["X-A"] == nil {
					e.Errorf("forwards %v, error %v", h, err)
				}
				e.data(e.commit(got, set(`{"a":3,"b":null}`)).Session, `{"a":3}`)
			})
		})
	}
}

func TestSealedRecordsHideTheirData(t *testing.T) {
	for _, plain := range []bool{false, true} {
		bubble(t, func(p *session.Policy) { p.Plain = plain }, func(e *env) {
			s := e.commit(nil, func(e *env) *session.Patch {
				p := e.patch(`{"card":"4111"}`, "", "")
				p.Edit = func([]byte) (map[string]any, any) { return map[string]any{"jar": "secret"}, nil }
				return p
			}).Session
			value := e.dump()[s.ID()]
			for _, text := range []string{"card", "4111", "jar", "secret"} {
				if strings.Contains(value, text) != plain {
					e.Errorf("plain=%t, and the record is %q", plain, value)
				}
			}
			if _, secret, _ := strings.Cut(s.Token().Bearer(), "."); strings.Contains(value, secret) {
				e.Error("the secret is stored")
			}
		})
	}
}

func TestSealingCanBeTurnedOnAndOff(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"a":1}`)
		for _, plain := range []bool{true, false} {
			policy := e.policy
			policy.Plain = plain
			other := newEnv(e.T, policy, e.store.Store)
			other.live(s)
			other.commit(other.live(s), set(`{"b":1}`))
			other.data(s, `{"a":1,"b":1}`)
			if strings.Contains(e.dump()[s.ID()], `"b"`) != plain {
				e.Errorf("plain=%t is not obeyed", plain)
			}
		}
	})
}

func TestTouch(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		time.Sleep(59 * time.Second)
		if calls := e.calls(func() { e.Touch(e.live(s), time.Now()) }); !maps.Equal(calls, map[string]int{"Get": 1}) {
			e.Errorf("not due yet, and there are calls %v", calls)
		}
		time.Sleep(2 * time.Second)
		if calls := e.calls(func() { e.Touch(e.live(s), time.Now()) }); !maps.Equal(calls, map[string]int{"Get": 1, "Touch": 1}) {
			e.Errorf("due, and there are calls %v", calls)
		}
		e.counted(session.EventTouched, 1)
		time.Sleep(30*time.Minute - time.Second)
		e.live(s)
		time.Sleep(time.Second)
		e.dead(s)
		e.Touch(nil, time.Now())
	})
}

func TestLateTouchDoesNotCutANewerTTL(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		time.Sleep(20 * time.Minute)
		late := e.live(s)
		e.commit(s, control("max-age=864000"))
		e.Touch(late, time.Now())
		synctest.Wait()
		e.counted(session.EventTouched, 0)
		e.counted(session.EventTouchError, 0)
		time.Sleep(24 * time.Hour)
		e.live(s)
	})
}

func TestTouchRevivesNothing(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		time.Sleep(20 * time.Minute)
		late := e.live(s)
		e.commit(s, control("destroy"))
		e.Touch(late, time.Now())
		synctest.Wait()
		e.dead(s)
		e.counted(session.EventTouchError, 0)
	})
}

func TestTouchDoesNotMakeAnybodyWait(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		time.Sleep(20 * time.Minute)
		s = e.live(s)
		e.faults(nil, nil, func(op, _ string) bool { return op == "Touch" })
		start := time.Now()
		for range 300 {
			e.Touch(s, time.Now())
		}
		if time.Since(start) != 0 {
			e.Error("the caller waited")
		}
		synctest.Wait()
		e.counted(session.EventTouchError, 300-256) // as many as may run at once
		time.Sleep(3 * time.Second)
		e.counted(session.EventTouchError, 300)
		e.faults(nil, nil, nil)
		e.Touch(s, time.Now())
		e.counted(session.EventTouched, 1) // and there is room again
	})
}

// The longest a session lives without signing in again, however busy.
func TestTouchEndsAtTheDeadline(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		start := time.Now()
		for time.Since(start) < 24*time.Hour-time.Minute {
			e.Touch(e.live(s), time.Now())
			synctest.Wait()
			time.Sleep(time.Minute)
		}
		e.live(s)
		time.Sleep(time.Minute)
		e.dead(s)
		e.store.mu.Lock()
		defer e.store.mu.Unlock()
		for _, ttl := range e.store.ttls {
			if ttl <= 0 || ttl > e.policy.Idle {
				e.Errorf("a TTL of %v was written", ttl)
			}
		}
	})
}

// The store's clock may be late.
func TestDeadlineHoldsWithoutTheStore(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		late := s.Deadline()
		if got, _, err := e.Load(context.Background(), e.site, []session.Token{s.Token()}, late); got != nil || err != nil {
			e.Errorf("got %v, error %v at the deadline", got, err)
		}
		r, err := e.Commit(context.Background(), e.site, s, e.patch(`{"a":1}`, "", ""), late)
		if err != nil {
			e.Fatal(err)
		}
		e.nothing(r)
	})
}

func TestSessionDoesNotChange(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"a":{"b":1}}`)
		data, token, version := bytes.Clone(s.Data()), s.Token(), s.Version()
		e.commit(s, setControl(`{"a":{"b":2},"user":"x"}`, "renew, max-age=60"))
		if !bytes.Equal(s.Data(), data) || s.Token() != token || s.Version() != version || s.Remembered() || s.Subject() != "" {
			e.Errorf("%v has changed: %s", s, s.Data())
		}
	})
}

// A client that hangs up is no fault of the store.
func TestCancelledLoad(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"user":"alice"}`)
		e.faults(nil, nil, func(op, _ string) bool { return op == "Get" })
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		got, _, err := e.Load(ctx, e.site, []session.Token{s.Token()}, time.Now())
		if got != nil || !errors.Is(err, context.Canceled) {
			e.Errorf("got %v, error %v", got, err)
		}
		e.counted(session.EventStoreError, 0)

		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if got, _, err := e.Load(ctx, e.site, []session.Token{s.Token()}, time.Now()); got != nil || err == nil {
			e.Errorf("too slow: got %v, error %v", got, err)
		}
		e.counted(session.EventStoreError, 1)
	})
}

// Who has opened something with the secret from before a renewal can tell.
func TestEpochs(t *testing.T) {
	bubble(t, nil, func(e *env) {
		var notices []session.Notice
		e.Manager = newManager(e, e.store, e.policy, session.Observer{Notify: func(n session.Notice) { notices = append(notices, n) }})
		s := e.create(`{}`)
		for want, p := range []func(*env) *session.Patch{set(`{"a":1}`), control("renew"), set(`{"user":"alice"}`)} {
			s = e.commit(s, p).Session
			if s.Epoch() != uint64(want) {
				e.Errorf("after commit %d: epoch %d", want, s.Epoch())
			}
		}
		want := []session.Notice{
			{Event: session.EventCreated, ID: s.ID()},
			{Event: session.EventRenewed, ID: s.ID(), Epoch: 1},
			{Event: session.EventRenewed, ID: s.ID(), Epoch: 2},
		}
		if !slices.Equal(notices, want) {
			e.Errorf("notices %+v", notices)
		}
		entry, err := e.store.Get(context.Background(), s.ID())
		if epoch, unreadable := session.EpochOf(entry); epoch != 2 || unreadable != nil || err != nil {
			e.Errorf("the record has epoch %d, %v, %v", epoch, unreadable, err)
		}
	})
}
