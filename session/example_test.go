package session_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
)

// A session from its first response to its end.
func Example() {
	ctx := context.Background()
	policy := session.DefaultPolicy()
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		fmt.Println(err)
		return
	}
	manager, err := session.NewManager(memstore.New(), policy, protocol, session.Observer{
		Notify: func(n session.Notice) { fmt.Println("notice:", n.Event) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	site := session.Site{Scope: session.Scope{Name: "csid", Host: "example.com", Path: "/"}, Realm: "example.com"}

	// answer commits what the headers of a response ask for.
	answer := func(s *session.Session, header http.Header) session.Result {
		patch, err := protocol.Take(header, policy.MaxData)
		if err != nil {
			fmt.Println(err) // a *session.MalformedError
			return session.Result{}
		}
		result, err := manager.Commit(ctx, site, s, patch, time.Now())
		if err != nil {
			fmt.Println(err)
		}
		return result
	}

	// A visitor without a session signs in. The browser gets a cookie.
	signedIn := answer(nil, http.Header{"X-Session-Set": {`{"user":"alice","lang":"fr"}`}})
	fmt.Println("set the cookie:", signedIn.Cookie == session.CookieSet)
	cookie := signedIn.Session.Token().Bearer()

	// The next request brings it along.
	token, _ := session.ParseToken(cookie)
	s, _, err := manager.Load(ctx, site, []session.Token{token}, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	request := http.Header{}
	if err := manager.Inject(request, site, s, time.Now()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(request.Get("X-Session-User"), request.Get("X-Session-Data"))

	// The user signs out, and the cookie is worth nothing any more.
	answer(s, http.Header{"X-Session-Control": {"destroy"}})
	s, _, err = manager.Load(ctx, site, []session.Token{token}, time.Now())
	fmt.Println("signed out:", s == nil, err)

	// Output:
	// notice: created
	// set the cookie: true
	// alice {"lang":"fr","user":"alice"}
	// notice: destroyed
	// signed out: true <nil>
}

// The operator sees who is signed in, and ends their sessions.
func ExampleOperator() {
	ctx := context.Background()
	store := memstore.New()
	policy := session.DefaultPolicy()
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		fmt.Println(err)
		return
	}
	manager, err := session.NewManager(store, policy, protocol, session.Observer{})
	if err != nil {
		fmt.Println(err)
		return
	}
	site := session.Site{Scope: session.Scope{Name: "csid", Host: "example.com", Path: "/"}, Realm: "example.com"}
	for _, lang := range []string{"en", "fr"} {
		patch := &session.Patch{Set: []map[string]any{{"user": "alice", "lang": lang}}}
		if _, err := manager.Commit(ctx, site, nil, patch, time.Now()); err != nil {
			fmt.Println(err)
			return
		}
	}

	operator := session.NewOperator(store, session.Observer{})
	for cursor := ""; ; {
		page, next, err := operator.ListSubject(ctx, "example.com", "alice", cursor, 100)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, info := range page {
			ended, err := operator.End(ctx, info.ID)
			fmt.Println(info.Subject, info.Scope.Host, ended, err)
		}
		if cursor = next; cursor == "" {
			break
		}
	}

	// Output:
	// alice example.com true <nil>
	// alice example.com true <nil>
}

// counting is a store that knows how many sessions it has.
type counting struct{ session.Store }

func (counting) Len() int { return 3 }

// timed is a store around another one.
type timed struct{ session.Store }

// Unwrap is for session.As.
func (t timed) Unwrap() session.Store { return t.Store }

// What a store can do besides is found behind wrappers, too.
func ExampleAs() {
	var store session.Store = timed{counting{memstore.New()}}
	if counter, ok := session.As[session.Counter](store); ok {
		fmt.Println("sessions:", counter.Len())
	}
	_, ok := session.As[session.Notifier](store)
	fmt.Println("tells other processes:", ok)
	// Output:
	// sessions: 3
	// tells other processes: false
}

// What clients must not send goes, in every spelling that a server could take
// for it.
func ExampleStrip() {
	protocol, err := session.NewProtocol("", []session.Forward{{Key: "lang", Header: "X-Lang"}}, session.DefaultPolicy())
	if err != nil {
		fmt.Println(err)
		return
	}
	header := http.Header{"X-Session-User": {"forged"}, "x_session_id": {"forged"}, "X-Lang": {"fr"}, "Accept": {"*/*"}}
	session.Strip(header, protocol.ManagesRequest)
	fmt.Println(header)
	// Output:
	// map[Accept:[*/*]]
}
