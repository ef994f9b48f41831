package operator

import (
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
)

// adminQuery is the body of all requests.
type adminQuery struct {
	ID      string `json:"id,omitempty"`
	Subject string `json:"subject,omitempty"`
	Realm   string `json:"realm,omitempty"`
	Host    string `json:"host,omitempty"`
	Label   string `json:"label,omitempty"` // or a part of it, in any case
	Except  string `json:"except,omitempty"`
	All     bool   `json:"all,omitempty"`
	Cursor  string `json:"cursor,omitempty"`
	Limit   int    `json:"limit,omitempty"`
}

// adminSession is session.Info as JSON.
type adminSession struct {
	ID           string       `json:"id"`
	Subject      string       `json:"subject,omitempty"`
	Realm        string       `json:"realm,omitempty"`
	Label        string       `json:"label,omitempty"`
	Version      uint64       `json:"version"`
	Created      time.Time    `json:"created"`
	SignedIn     time.Time    `json:"signed_in,omitzero"`
	LastSeen     time.Time    `json:"last_seen,omitzero"` // to within touch; where it can be told
	Expires      time.Time    `json:"expires"`            // if it is not used any more
	Deadline     time.Time    `json:"deadline"`
	Remembered   bool         `json:"remembered,omitempty"`
	Encrypted    bool         `json:"encrypted"`
	Bytes        int          `json:"bytes"`
	Scope        adminScope   `json:"scope"`
	Client       *adminClient `json:"client,omitempty"`         // at the creation
	SignInClient *adminClient `json:"sign_in_client,omitempty"` // when the subject appeared
}

type adminScope struct {
	Cookie string `json:"cookie"`
	Host   string `json:"host"`
	Path   string `json:"path"`
}

type adminClient struct {
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
}

type adminPage struct {
	Sessions []adminSession `json:"sessions"`
	Next     string         `json:"next,omitempty"`
}

type adminEnded struct {
	Ended int    `json:"ended"`
	Next  string `json:"next,omitempty"`
}

// sessionOf is what the operator sees of a session.
func sessionOf(app *sessionapp.App, i session.Info) adminSession {
	seen := i.Used // of a remembered one
	// The store's TTL was set to idle when another one was last used, unless
	// something else cuts it off.
	if idle := app.Idle(); idle > 0 && !i.Remembered && i.Expires.Before(i.Deadline) {
		switch seen = i.Expires.Add(-idle); {
		case seen.Before(i.Created):
			seen = i.Created
		case seen.After(time.Now()): // it is kept for longer than idle, for its kept cookies
			seen = time.Time{}
		}
	}
	return adminSession{
		ID: i.ID, Subject: i.Subject, Realm: i.Realm, Label: i.Label, Version: i.Version,
		Created: seconds(i.Created), SignedIn: seconds(i.SignedIn), LastSeen: seconds(seen), Expires: seconds(i.Expires), Deadline: seconds(i.Deadline),
		Remembered: i.Remembered, Encrypted: i.Encrypted, Bytes: i.Bytes,
		Scope:  adminScope{Cookie: i.Scope.Name, Host: i.Scope.Host, Path: i.Scope.Path},
		Client: adminClientOf(i.Client), SignInClient: adminClientOf(i.SignInClient),
	}
}

// seconds is for people.
func seconds(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}

func adminClientOf(c session.Client) *adminClient {
	if c == (session.Client{}) {
		return nil
	}
	return &adminClient{IP: c.IP, UserAgent: c.UserAgent}
}
