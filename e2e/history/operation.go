package history

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Kind is what an operation does to one session.
type Kind string

const (
	Create  Kind = "create"   // a session comes into being, with a token and Contents
	Read    Kind = "read"     // saw, with a token
	Set     Kind = "set"      // one key; at a version, if one is asked for
	Renew   Kind = "renew"    // another secret
	SignIn  Kind = "sign in"  // a user, and another secret if there was none
	SignOut Kind = "sign out" // at a version: this session ends, another one begins
	Destroy Kind = "destroy"  // the session ends, whatever its secret is by now
	Revoke  Kind = "revoke"   // at a version: the user's other sessions end

	revoked Kind = "revoked" // one of those others, see Check
)

// Outcome is what a browser knows of an operation.
type Outcome string

const (
	Done    Outcome = "done"
	Refused Outcome = "refused" // because of the version
	Unknown Outcome = "unknown" // it may have an effect now, later or never
)

// never is when an operation with an unknown outcome has had its effect.
const never = time.Duration(math.MaxInt64)

// Contents is what an application is told of a session.
type Contents struct {
	Version uint64
	User    string
	Values  [3]string // of the keys a, b, c
}

// Operation is one line of a history. Times count from the start of the test.
type Operation struct {
	Number       int // to tell it by in messages
	Session      string
	Kind         Kind
	Call, Return time.Duration // of an unknown outcome, when that was known
	Outcome      Outcome

	Token   string    // presented; in Create, issued
	Next    string    // the token that the response brought, if it did
	Saw     *Contents // Read: nil is anonymous; Create: what it begins with
	Safe    bool      // Read: by a method that may be answered from a cache
	Version uint64    // what if-version asked for; 0 is nothing
	Key     int       // Set: which of Contents.Values
	Value   string    // Set
	User    string    // SignIn, and of the one who does Revoke
}

func (o *Operation) String() string {
	text := fmt.Sprintf("%.3f..%.3f #%d %s, %s", o.Call.Seconds(), o.Return.Seconds(), o.Number, o.Kind, o.Outcome)
	if o.Token != "" {
		text += ", token " + short(o.Token)
	}
	if o.Version != 0 {
		text += fmt.Sprintf(", if-version %d", o.Version)
	}
	if o.Kind == Set {
		text += fmt.Sprintf(", %c=%s", 'a'+o.Key, o.Value)
	}
	if o.User != "" {
		text += ", user " + o.User
	}
	switch {
	case o.Saw != nil:
		text += fmt.Sprintf(", saw %+v", *o.Saw)
	case o.Kind == Read:
		text += ", saw nobody"
	}
	if o.Next != "" {
		text += ", got token " + short(o.Next)
	}
	return text
}

// short tells tokens apart: the start of the id and of the secret.
func short(token string) string {
	id, secret, _ := strings.Cut(token, ".")
	return id[:min(4, len(id))] + "." + secret[:min(4, len(secret))]
}
