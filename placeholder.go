package caddysession

import (
	"net/http"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-session/caddy-session/session"
)

// placeholder is the value of {session.KEY}, alias {http.session.KEY}. All of
// them are known, so that one without a value is empty rather than literal.
//
// {http.auth.user.id} is the session's user, and unknown without one.
func (v *visit) placeholder(key string) (any, bool) {
	if key == userPlaceholder {
		return v.user, v.user != ""
	}
	name, ok := strings.CutPrefix(strings.TrimPrefix(key, "http."), "session.")
	if !ok {
		return nil, false
	}
	if v.session == nil {
		if name == "state" {
			return "none", true
		}
		return "", true
	}
	switch name {
	case "state":
		return "live", true
	case "id":
		return v.session.ID(), true
	case "user":
		return shown(v.session.Subject()), true
	case "version":
		return strconv.FormatUint(v.session.Version(), 10), true
	case "created":
		return v.session.Created().UTC().Format(time.RFC3339), true
	case "expires":
		return v.session.Expires().UTC().Format(time.RFC3339), true
	}
	if path, ok := strings.CutPrefix(name, "data."); ok {
		s, err := v.whole()
		if err != nil {
			v.unreadable(err)
			return "", true
		}
		text, _ := s.Text(path)
		return shown(text), true
	}
	return "", true
}

// unreadable is for a placeholder whose value can't be read from the store now. An
// application that took it for a key that is not there could be wrong about the
// visitor, so it does not go on. Where none will run any more, as in access logs and
// when the response is decided upon, it is empty.
func (v *visit) unreadable(err error) {
	x := v.exchange
	if x == nil || x.writer.Begun() {
		return
	}
	x.writer.Fail(err)
	if insideRun() {
		panic(http.ErrAbortHandler)
	}
}

var runName = runtime.FuncForPC(reflect.ValueOf((*exchange).run).Pointer()).Name()

// insideRun reports whether run has called, which recovers. It has not where matchers
// decide about the lock, nor for 1xx responses: these come on a goroutine of the
// transport, where a panic would end the whole process.
func insideRun() bool {
	callers := make([]uintptr, 64)
	for skip := 1; ; skip += len(callers) {
		n := runtime.Callers(skip, callers)
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(callers[:n])
		for more := true; more; {
			var frame runtime.Frame
			if frame, more = frames.Next(); frame.Function == runName {
				return true
			}
		}
	}
}

const userPlaceholder = "http.auth.user.id"

// showUser makes {http.auth.user.id} the user of a session, nil for none. The
// user of an authentication outside of the session handler gives way; one inside
// of it sets the placeholder once more.
func (v *visit) showUser(r *http.Request, of *session.Session) {
	v.user = ""
	if of != nil {
		v.user = session.EncodeValue(of.Subject())
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	switch {
	case !ok:
	case v.user != "":
		if other, _ := repl.GetString(userPlaceholder); other != v.user {
			repl.Set(userPlaceholder, v.user)
			v.userSet = true
		}
	case v.userSet: // before the error that brought the request here
		repl.Delete(userPlaceholder)
		v.userSet = false
	}
}

// shown encodes a value as in a header (see session.EncodeValue), and braces
// too: whatever expands a text once more finds no placeholder in it.
func shown(value string) string {
	encoded := session.EncodeValue(value)
	if !strings.ContainsAny(encoded, "{}") {
		return encoded
	}
	return strings.NewReplacer("{", "%7B", "}", "%7D").Replace(encoded)
}
