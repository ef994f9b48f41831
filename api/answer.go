package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// head is what the API says of a session besides its data. Times are in whole
// seconds since 1970.
type head struct {
	ID       string `json:"id"`
	Version  uint64 `json:"version"`
	User     string `json:"user,omitempty"`
	Created  int64  `json:"created"`
	SignedIn int64  `json:"signed_in,omitempty"`
	Expires  int64  `json:"expires"`
}

func (c *Capability) headOf(s *session.Session) head {
	return head{
		ID: s.ID(), Version: s.Version(), User: s.Subject(), Created: s.Created().Unix(),
		SignedIn: seconds(s.SignedIn()), Expires: c.manager.UsedUntil(s, time.Now()).Unix(),
	}
}

// seconds returns a time in seconds since 1970, 0 for the zero time.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// ownSession is one of a user's sessions.
type ownSession struct {
	ID           string  `json:"id"`
	This         bool    `json:"this,omitempty"` // the one that asks
	Created      int64   `json:"created"`
	SignedIn     int64   `json:"signed_in"`
	Ends         int64   `json:"ends"` // however much it is used
	Client       *client `json:"client,omitempty"`
	SignInClient *client `json:"sign_in_client,omitempty"`
}

type client struct {
	IP        string `json:"ip"`
	UserAgent string `json:"user_agent"`
}

func clientOf(c session.Client) *client {
	if c == (session.Client{}) {
		return nil
	}
	return &client{c.IP, c.UserAgent}
}

func etag(s *session.Session) string {
	return fmt.Sprintf("%q", s.ID()+"."+strconv.FormatUint(s.Version(), 10))
}

// condition says on which session a patch is to be applied.
type condition struct {
	some    bool    // on any
	id      string  // on this, unless it is ""
	version *uint64 // at this version; 0: only if there is none
}

// holds reports whether a session, nil for none, is the one, but for its version.
func (c condition) holds(s *session.Session) bool {
	if s == nil {
		return !c.some && c.id == ""
	}
	return c.id == "" || c.id == s.ID()
}

var errCondition = errors.New(`If-Match takes one entity tag of this API or *, and If-None-Match nothing but * here`)

// conditionOf reads the preconditions of a change (RFC 9110, section 13.1).
func conditionOf(header http.Header) (c condition, err error) {
	match, none := header["If-Match"], header["If-None-Match"]
	switch {
	case len(match)+len(none) == 0:
		return c, nil
	case len(match)+len(none) > 1:
		return c, errCondition
	case len(none) == 1:
		if none[0] != "*" {
			return c, errCondition
		}
		return condition{version: new(uint64)}, nil
	case match[0] == "*":
		return condition{some: true}, nil
	}
	inner, ok := strings.CutPrefix(match[0], `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	id, digits, dot := strings.Cut(inner, ".")
	version, err := strconv.ParseUint(digits, 10, 64)
	if !ok || !closed || !dot || err != nil || !session.ValidID(id) {
		return c, errCondition
	}
	return condition{some: true, id: id, version: &version}, nil
}

// hasTag reports whether an entity tag is among those of If-None-Match, compared
// weakly (RFC 9110, section 13.1.2).
func hasTag(header http.Header, tag string) bool {
	for _, line := range header["If-None-Match"] {
		for one := range strings.SplitSeq(line, ",") {
			if one = strings.TrimPrefix(strings.Trim(one, " \t"), "W/"); one == tag || one == "*" {
				return true
			}
		}
	}
	return false
}

// keysOf returns the keys that a query asks for, and whether it asks for some only.
// Between keys are commas; one in a key is %2C.
func keysOf(query string) (keys []string, some bool, err error) {
	for pair := range strings.SplitSeq(query, "&") {
		list, ok := strings.CutPrefix(pair, "keys=")
		if !ok {
			continue
		}
		some = true
		for escaped := range strings.SplitSeq(list, ",") {
			key, err := url.QueryUnescape(escaped)
			if err != nil {
				return nil, true, errors.New("keys: a key is not percent-encoded correctly")
			}
			keys = append(keys, key)
		}
	}
	return keys, some, nil
}

// dataOf returns the data of a session, or those of its top-level keys that are
// asked for. Its text goes out as it is stored.
func dataOf(s *session.Session, keys []string, some bool) []byte {
	if !some {
		return s.Data()
	}
	part := []byte{'{'}
	seen := map[string]bool{}
	for _, key := range keys {
		value, ok := s.Value(key)
		if !ok || seen[key] {
			continue
		}
		seen[key] = true
		if len(part) > 1 {
			part = append(part, ',')
		}
		quoted, _ := session.EncodeJSON(key)
		part = append(append(append(part, quoted...), ':'), value...)
	}
	return append(part, '}')
}

// write answers with a JSON object, and with data as its member data unless that
// is nil.
func write(w http.ResponseWriter, status int, v any, data []byte) {
	text, err := json.Marshal(v)
	if err != nil { // of our own types, which always can be
		panic(err)
	}
	if data != nil {
		text = bytes.Join([][]byte{text[:len(text)-1], []byte(`,"data":`), data, []byte("}")}, nil)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	w.Write(text)
}
