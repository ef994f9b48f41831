package session_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
)

func TestOperate(t *testing.T) {
	store := memstore.New()
	var notices []session.Notice
	m := newManager(t, store, session.DefaultPolicy(), session.Observer{})
	o := session.NewOperator(store, session.Observer{Notify: func(n session.Notice) { notices = append(notices, n) }})
	site := session.Site{Scope: session.Scope{Name: "csid", Host: "example.com", Path: "/"}, Realm: "example.com",
		Client: session.Client{IP: "192.0.2.1", UserAgent: "first"}}
	now := time.Now()
	commit := func(s *session.Session, p *session.Patch) *session.Session {
		t.Helper()
		r, err := m.Commit(t.Context(), site, s, p, now)
		if err != nil {
			t.Fatal(err)
		}
		return r.Session
	}
	set := func(user string) *session.Patch {
		return &session.Patch{Set: []map[string]any{{"user": user, "card": "4111"}}}
	}
	anonymous := commit(nil, &session.Patch{Set: []map[string]any{{"lang": "fr"}}})
	site.Client.UserAgent = "second"
	alice := commit(commit(nil, &session.Patch{Set: []map[string]any{{"a": "b"}}}), set("alice"))
	site.Client.UserAgent = "third"
	alice = commit(alice, &session.Patch{Set: []map[string]any{{"c": "d"}}})
	phone := commit(nil, set("alice"))
	commit(nil, set("bob"))
	other := site
	other.Realm = "example.net"
	r, err := m.Commit(t.Context(), other, nil, set("alice"), now)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := r.Session

	info, err := o.Show(t.Context(), alice.ID())
	want := session.Info{
		ID: alice.ID(), Version: 3, Subject: "alice", Realm: "example.com", Scope: site.Scope, Created: info.Created, SignedIn: info.SignedIn,
		Expires: info.Expires, Deadline: info.Deadline, Encrypted: true, Bytes: info.Bytes,
		Client: session.Client{IP: "192.0.2.1", UserAgent: "second"}, SignInClient: session.Client{IP: "192.0.2.1", UserAgent: "second"},
	}
	if err != nil || info != want || now.Sub(info.Created).Abs() > time.Second || info.Expires.After(now.Add(31*time.Minute)) {
		t.Errorf("got %+v, %v", info, err)
	}
	if text := fmt.Sprintf("%+v", info); strings.Contains(text, "4111") || strings.Contains(text, strings.SplitN(alice.Token().Bearer(), ".", 2)[1]) {
		t.Errorf("secrets in %s", text)
	}
	if _, err := o.Show(t.Context(), session.NewToken().ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}

	ids := func(list func(cursor string) ([]session.Info, string, error)) (ids []string) {
		t.Helper()
		for cursor := ""; ; {
			page, next, err := list(cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range page {
				ids = append(ids, i.ID)
			}
			if cursor = next; next == "" {
				slices.Sort(ids)
				return slices.Compact(ids)
			}
		}
	}
	ofAlice := func(cursor string) ([]session.Info, string, error) {
		return o.ListSubject(t.Context(), "example.com", "alice", cursor, 1)
	}
	all := func(cursor string) ([]session.Info, string, error) { return o.List(t.Context(), cursor, 2) }
	if got := ids(all); len(got) != 5 {
		t.Errorf("all sessions: %q", got)
	}
	both := []string{alice.ID(), phone.ID()}
	slices.Sort(both)
	if got := ids(ofAlice); !slices.Equal(got, both) {
		t.Errorf("of alice: %q, want %q", got, both)
	}

	for i, id := range []string{alice.ID(), alice.ID(), anonymous.ID()} {
		there, err := o.End(t.Context(), id)
		if there != (i != 1) || err != nil {
			t.Errorf("ending %d: %v, %v", i, there, err)
		}
	}
	if len(notices) != 2 || notices[0] != (session.Notice{Event: session.EventEnded, ID: alice.ID()}) || !notices[0].Ends() {
		t.Errorf("told %v", notices)
	}
	if got := ids(ofAlice); !slices.Equal(got, []string{phone.ID()}) {
		t.Errorf("of alice afterwards: %q", got)
	}
	if indexed, _, err := store.Indexed(t.Context(), session.IndexKey("example.com", "alice"), "", 10); err != nil || len(indexed) != 1 {
		t.Errorf("the index: %q, %v", indexed, err)
	}
	if s, _, err := m.Load(t.Context(), site, []session.Token{alice.Token()}, now); s != nil || err != nil {
		t.Errorf("the ended session: %v, %v", s, err)
	}
	if _, err := o.Show(t.Context(), elsewhere.ID()); err != nil {
		t.Errorf("the session of the other realm: %v", err)
	}

	// What can't be read can be removed, unless a newer release can read it.
	id := session.NewToken().ID
	if err := store.Put(t.Context(), id, 0, session.Entry{Version: 1, Value: append(session.AppendHead(nil, 1), 'x'), TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Show(t.Context(), id); !errors.Is(err, session.ErrUnreadable) {
		t.Errorf("of nonsense: %v", err)
	}
	if got := ids(all); len(got) != 3 {
		t.Errorf("all sessions: %q", got)
	}
	if there, err := o.End(t.Context(), id); !there || err != nil {
		t.Errorf("ending nonsense: %v, %v", there, err)
	}
}
