package caddysession

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-session/caddy-session/session"
)

// addPlaceholders makes the session's placeholders known for the rest of the
// request. The replacer is no place for it twice.
func (s *requestState) addPlaceholders(r *http.Request) {
	if s.placeholders {
		return
	}
	s.placeholders = true
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(s.placeholder)
	}
}

// placeholder is the value of {session.KEY}, alias {http.session.KEY}. All of
// them are known, so that one without a value is empty rather than literal.
//
// {http.auth.user.id} is the session's user, and unknown without one.
func (s *requestState) placeholder(key string) (any, bool) {
	if key == userPlaceholder {
		return s.user, s.user != ""
	}
	name, ok := strings.CutPrefix(strings.TrimPrefix(key, "http."), "session.")
	if !ok {
		return nil, false
	}
	if s.session == nil {
		if name == "state" {
			return "none", true
		}
		return "", true
	}
	switch name {
	case "state":
		return "live", true
	case "id":
		return s.session.ID(), true
	case "user":
		return shown(s.session.Subject()), true
	case "version":
		return strconv.FormatUint(s.session.Version(), 10), true
	case "created":
		return s.session.Created().UTC().Format(time.RFC3339), true
	case "expires":
		return s.session.Expires().UTC().Format(time.RFC3339), true
	}
	if path, ok := strings.CutPrefix(name, "data."); ok {
		text, _ := s.session.Text(path)
		return shown(text), true
	}
	return "", true
}

const userPlaceholder = "http.auth.user.id"

// showUser makes {http.auth.user.id} the user of a session, nil for none. The
// user of an authentication outside of the session handler gives way; one inside
// of it sets the placeholder once more.
func (s *requestState) showUser(r *http.Request, of *session.Session) {
	s.user = ""
	if of != nil {
		s.user = session.EncodeValue(of.Subject())
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	switch {
	case !ok:
	case s.user != "":
		if other, _ := repl.GetString(userPlaceholder); other != s.user {
			repl.Set(userPlaceholder, s.user)
			s.userSet = true
		}
	case s.userSet: // before the error that brought the request here
		repl.Delete(userPlaceholder)
		s.userSet = false
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
