//go:build unix

package session_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-session/caddy-session/session"
)

// One random sequence of commands goes to the manager and to a model that a
// child could check. Dead stays dead, and no patch is lost.
func TestModel(t *testing.T) {
	stores(t, func(t *testing.T, store session.Store, passes bool) {
		kinds := []bool{false}
		if passes {
			kinds = []bool{false, true} // to a real store they are all bytes
		}
		for _, plain := range kinds {
			rapid.Check(t, func(rt *rapid.T) {
				run := func(t *testing.T) {
					policy := session.DefaultPolicy()
					policy.Plain = plain
					m := &model{env: newEnv(t, policy, store), passes: passes, sessions: map[string]*modelSession{}}
					m.run(rt)
				}
				if passes {
					inBubble(t, run)
				} else {
					run(t)
				}
			})
		}
	})
}

// inBubble runs f in a bubble of its own and passes on its panic, by which
// rapid learns of failures.
func inBubble(t *testing.T, f func(*testing.T)) {
	var failure any
	synctest.Test(t, func(t *testing.T) {
		defer func() { failure = recover() }()
		f(t)
	})
	if failure != nil {
		panic(failure)
	}
}

type model struct {
	*env
	passes   bool                     // time may
	sessions map[string]*modelSession // by id, the dead ones too
	tokens   []session.Token          // all that were ever issued
	held     []*session.Session       // loaded at some time, by requests that may be slow
}

func (m *model) run(rt *rapid.T) {
	actions := map[string]func(*rapid.T){
		"create":  m.create,
		"open":    m.open,
		"commit":  m.commit,
		"commits": m.commits,
		"destroy": m.destroy,
		"touch":   m.touch,
		"":        m.check,
	}
	if m.passes {
		actions["wait"] = m.wait
	}
	rt.Repeat(actions)
	for _, token := range m.tokens {
		m.expect(rt, token)
	}
}

type modelSession struct {
	token      session.Token
	data       map[string]any
	version    uint64
	deadline   time.Time
	remembered bool
	expires    time.Time
	ended      bool
}

func (s *modelSession) alive() bool {
	now := time.Now()
	return !s.ended && now.Before(s.expires) && now.Before(s.deadline)
}

func (s *modelSession) subject() string {
	switch user := s.data["user"].(type) {
	case string:
		return user
	case float64:
		return fmt.Sprint(user)
	}
	return ""
}

func (m *model) ttl(s *modelSession, now time.Time) time.Duration {
	left := s.deadline.Sub(now)
	if s.remembered {
		return left
	}
	return min(left, m.policy.Idle)
}

// expect compares what a browser with this token sees with the model.
func (m *model) expect(rt *rapid.T, token session.Token) *session.Session {
	got, err := m.tryLoad(token)
	if err != nil {
		rt.Fatal(err)
	}
	want := m.sessions[token.ID]
	if !want.alive() || want.token != token {
		if got != nil {
			rt.Fatalf("%v is alive again", got)
		}
		return nil
	}
	if got == nil {
		rt.Fatalf("session %s is lost", token.ID)
	}
	var data map[string]any
	if err := json.Unmarshal(got.Data(), &data); err != nil {
		rt.Fatal(err)
	}
	if late := want.deadline.Sub(got.Deadline()).Abs(); !reflect.DeepEqual(data, want.data) || got.Version() != want.version ||
		got.Subject() != want.subject() || got.Remembered() != want.remembered || late > time.Minute || m.passes && late != 0 {
		rt.Fatalf("session %s is\n%s, version %d, subject %q, remembered %t, until %v; want\n%v, version %d, subject %q, remembered %t, until %v",
			token.ID, got.Data(), got.Version(), got.Subject(), got.Remembered(), got.Deadline(),
			want.data, want.version, want.subject(), want.remembered, want.deadline)
	}
	return got
}

func (m *model) check(rt *rapid.T) {
	if len(m.tokens) > 0 {
		m.expect(rt, rapid.SampledFrom(m.tokens).Draw(rt, "token"))
	}
}

func (m *model) open(rt *rapid.T) {
	if len(m.tokens) == 0 {
		rt.Skip()
	}
	if s := m.expect(rt, rapid.SampledFrom(m.tokens).Draw(rt, "token")); s != nil {
		m.held = append(m.held, s)
	}
}

func (m *model) hold(rt *rapid.T) *session.Session {
	if len(m.held) == 0 {
		rt.Skip()
	}
	return rapid.SampledFrom(m.held).Draw(rt, "session")
}

func (m *model) wait(rt *rapid.T) {
	synctest.Wait()
	// Never just to an expiry: retries take up to a millisecond each.
	time.Sleep(time.Duration(rapid.IntRange(1, 40*60).Draw(rt, "seconds"))*time.Second + 7*time.Millisecond)
}

func (m *model) touch(rt *rapid.T) {
	held := m.hold(rt)
	s := m.sessions[held.ID()]
	got := m.expect(rt, held.Token())
	if got == nil {
		return
	}
	if ttl := m.ttl(s, time.Now()); time.Until(s.expires) < ttl-m.policy.Touch {
		s.expires = time.Now().Add(ttl)
	}
	m.Touch(got, time.Now())
	if m.passes {
		synctest.Wait()
	}
}

func (m *model) destroy(rt *rapid.T) {
	held := m.hold(rt)
	s := m.sessions[held.ID()]
	r, err := m.try(held, control("destroy"))
	if err != nil {
		rt.Fatal(err)
	}
	want := session.Result{}
	if s.alive() {
		want.Committed, want.Outcome = true, session.EventDestroyed
		if s.token == held.Token() {
			want.Cookie = session.CookieExpire
		}
	}
	if r != want {
		rt.Fatalf("got %+v, want %+v", r, want)
	}
	s.ended = true
}

var modelValue = rapid.OneOf(
	rapid.Just(`null`), rapid.Just(`"x"`), rapid.Just(`""`), rapid.Just(`1`), rapid.Just(`[{"d":1}]`),
	rapid.Just(`{"d":2}`), rapid.Just(`{"d":null,"e":{"f":1}}`), rapid.Just(`{"e":{"f":null,"g":"\u00e9"}}`),
)

var modelUser = rapid.SampledFrom([]string{`null`, `""`, `"alice"`, `"bob"`, `7`, `"7"`})

func modelLines(rt *rapid.T, label string, most int) (lines []string) {
	for range rapid.IntRange(0, most).Draw(rt, label) {
		object := map[string]json.RawMessage{}
		for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 2, rapid.ID).Draw(rt, "keys") {
			object[key] = json.RawMessage(modelValue.Draw(rt, key))
		}
		if rapid.IntRange(0, 4).Draw(rt, "with user") == 0 {
			object["user"] = json.RawMessage(modelUser.Draw(rt, "user"))
		}
		line, _ := json.Marshal(object)
		lines = append(lines, string(line))
	}
	return lines
}

func modelPatch(rt *rapid.T) (lines []string, p modelDirectives) {
	lines, p.puts = modelLines(rt, "lines", 3), modelLines(rt, "puts", 1)
	rare := func(label string) bool { return rapid.IntRange(0, 5).Draw(rt, label) == 0 }
	p.unset, p.renew, p.clear, p.noTouch, p.maxAge = rare("unset"), rare("renew"), rare("clear"), rare("no-touch"), -1
	if rare("remember") {
		p.maxAge = rapid.SampledFrom([]int{0, 3600, 40 * 24 * 3600}).Draw(rt, "max-age")
	}
	return lines, p
}

type modelDirectives struct {
	puts                         []string
	unset, renew, clear, noTouch bool
	maxAge                       int // -1: none
}

func (d modelDirectives) patch(lines []string) *session.Patch {
	objects := func(lines []string) (all []map[string]any) {
		for _, line := range lines {
			var object map[string]any
			dec := json.NewDecoder(strings.NewReader(line))
			dec.UseNumber()
			dec.Decode(&object)
			all = append(all, object)
		}
		return all
	}
	p := &session.Patch{Put: objects(d.puts), Set: objects(lines), Renew: d.renew, Clear: d.clear, NoTouch: d.noTouch}
	if d.unset {
		p.Unset = []string{"a", "user"}
	}
	if d.maxAge >= 0 {
		age := time.Duration(d.maxAge) * time.Second
		p.MaxAge = &age
	}
	return p
}

func (m *model) create(rt *rapid.T) {
	lines, d := modelPatch(rt)
	now := time.UnixMilli(time.Now().UnixMilli()) // as records keep it
	r, err := m.try(nil, func(*env) *session.Patch { return d.patch(lines) })
	if err != nil {
		rt.Fatal(err)
	}
	if len(lines)+len(d.puts) == 0 {
		if r != (session.Result{}) {
			rt.Fatalf("got %+v for nothing", r)
		}
		return
	}
	s := &modelSession{data: map[string]any{}, deadline: now.Add(m.policy.Lifetime)}
	m.sessions[r.Session.ID()] = s
	m.apply(s, lines, d, now)
	m.issued(rt, s, r)
}

func (m *model) commit(rt *rapid.T) {
	held := m.hold(rt)
	lines, d := modelPatch(rt)
	now := time.UnixMilli(time.Now().UnixMilli()) // as records keep it
	r, err := m.try(held, func(*env) *session.Patch { return d.patch(lines) })
	if err != nil {
		rt.Fatal(err)
	}
	s := m.sessions[held.ID()]
	switch {
	case len(lines)+len(d.puts) == 0 && !d.unset && !d.renew && !d.clear && d.maxAge < 0:
		if r.Committed || r.Cookie != session.CookieKeep {
			rt.Fatalf("got %+v for nothing", r)
		}
		return
	case !s.alive() || s.token != held.Token():
		if r != (session.Result{Outcome: session.EventDropped}) {
			rt.Fatalf("got %+v for a session that has ended or was renewed", r)
		}
		return
	case r.Session == nil:
		rt.Fatalf("what %v set at version %d is lost; it has version %d, expires %v and ends %v, now %v",
			held, held.Version(), s.version, s.expires, s.deadline, time.Now())
	}
	was := s.subject()
	next := *s
	next.data = maps.Clone(s.data)
	m.apply(&next, lines, d, now)
	moved := d.clear || next.subject() != was
	if replaced := d.clear || moved && was != ""; replaced {
		s.ended = true
		if m.sessions[r.Session.ID()] != nil {
			rt.Fatalf("id %s is used again", r.Session.ID())
		}
	} else if r.Session.ID() != held.ID() {
		rt.Fatalf("the id became %s", r.Session.ID())
	}
	if renewed := d.clear || d.renew || moved; renewed == (r.Session.Token() == held.Token()) || (r.Cookie == session.CookieSet) != (renewed || d.maxAge >= 0) {
		rt.Fatalf("renewed should be %t; got %+v", renewed, r)
	}
	m.sessions[r.Session.ID()] = &next
	m.issued(rt, &next, r)
}

// commits are several at once, each of which sets a key of its own: so their order makes
// no difference.
func (m *model) commits(rt *rapid.T) {
	held := m.hold(rt)
	s := m.sessions[held.ID()]
	results, errs := make([]session.Result, rapid.IntRange(2, 8).Draw(rt, "commits")), make([]error, 8)
	noTouch := rapid.IntRange(0, len(results)).Draw(rt, "no-touch") // so many of them
	now := time.UnixMilli(time.Now().UnixMilli())                   // as records keep it
	if m.passes {                                                   // or none would wait for another
		m.faults(func(string, string) error { time.Sleep(time.Microsecond); return nil }, nil, nil)
		defer m.faults(nil, nil, nil)
	}
	var wg sync.WaitGroup
	for i := range results {
		d := modelDirectives{maxAge: -1, noTouch: i < noTouch}
		wg.Go(func() {
			results[i], errs[i] = m.try(held, func(*env) *session.Patch { return d.patch([]string{fmt.Sprintf(`{"k%d":%d}`, i, now.Unix())}) })
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		rt.Fatal(err)
	}
	before, versions := s.version, map[uint64]bool{}
	lives := s.alive() && s.token == held.Token()
	for i, r := range results {
		if !lives {
			if r != (session.Result{Outcome: session.EventDropped}) {
				rt.Fatalf("got %+v for a session that has ended or was renewed", r)
			}
			continue
		}
		m.apply(s, []string{fmt.Sprintf(`{"k%d":%d}`, i, now.Unix())}, modelDirectives{maxAge: -1, noTouch: i < noTouch}, now)
		if !r.Committed || r.Cookie != session.CookieKeep || r.Session.Version() <= before || r.Session.Version() > before+uint64(len(results)) {
			rt.Fatalf("got %+v, version %d; there were %d commits on version %d", r, r.Session.Version(), len(results), before)
		}
		versions[r.Session.Version()] = true
		m.held = append(m.held, r.Session)
	}
	if lives && len(versions) != len(results) {
		rt.Fatalf("%d commits have made the versions %v", len(results), versions)
	}
	m.expect(rt, held.Token())
}

func (m *model) issued(rt *rapid.T, s *modelSession, r session.Result) {
	if !r.Committed || r.Session.Version() != s.version {
		rt.Fatalf("got %+v, version %d; want version %d", r, r.Session.Version(), s.version)
	}
	if s.token != r.Session.Token() {
		s.token = r.Session.Token()
		m.tokens = append(m.tokens, s.token)
	}
	m.held = append(m.held, r.Session)
	m.expect(rt, s.token)
}

// apply is the rules of a commit, told once more.
func (m *model) apply(s *modelSession, lines []string, d modelDirectives, now time.Time) {
	was := s.subject()
	if d.clear {
		s.data = map[string]any{}
	}
	for _, line := range d.puts {
		var object map[string]any
		json.Unmarshal([]byte(line), &object)
		maps.Copy(s.data, object)
	}
	for _, line := range lines {
		s.data = modelMerge(s.data, []byte(line))
	}
	if d.unset {
		delete(s.data, "a")
		delete(s.data, "user")
	}
	s.version++
	signedIn := s.subject() != "" && (d.clear || s.subject() != was)
	signedOut := s.subject() == "" && was != ""
	switch {
	case signedIn:
		s.deadline, s.remembered = now.Add(m.policy.Lifetime), false
	case signedOut:
		s.remembered = false
		if most := now.Add(m.policy.Lifetime); most.Before(s.deadline) {
			s.deadline = most
		}
	}
	switch {
	case d.maxAge > 0:
		s.deadline, s.remembered = now.Add(min(m.policy.Remember, time.Duration(d.maxAge)*time.Second)), true
	case d.maxAge == 0:
		s.deadline, s.remembered = now.Add(m.policy.Lifetime), false
	}
	expires := time.Now().Add(m.ttl(s, now))
	if keep := d.noTouch && d.maxAge < 0 && !signedIn && s.version > 1; !keep || expires.Before(s.expires) {
		s.expires = expires
	}
}

// modelMerge merges by way of text, so that nothing is shared.
func modelMerge(target any, patch []byte) map[string]any {
	object := map[string]any{}
	if target, ok := target.(map[string]any); ok {
		object = maps.Clone(target)
	}
	var changes map[string]json.RawMessage
	json.Unmarshal(patch, &changes)
	for key, text := range changes {
		switch {
		case string(text) == "null":
			delete(object, key)
		case text[0] == '{':
			object[key] = modelMerge(object[key], text)
		default:
			var value any
			json.Unmarshal(text, &value)
			object[key] = value
		}
	}
	return object
}
