package session

import (
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFoldedNamesAreStripped(t *testing.T) {
	pr := protocol(t, "", Forward{Key: "role", Header: "X-Remote-Role"})
	for _, name := range []string{"Id", "User", "Version", "Data", "Put", "Set", "Unset", "Control", "Anything", ""} {
		for _, spelling := range []string{
			"X-Session-" + name, "x-session-" + name, "X_Session_" + name, "x.session." + name, "X~Session~" + name,
			"X-SESSION_" + strings.ToUpper(name), "x!session#" + strings.ToLower(name), "X-Session_" + name, "X-Session-" + name + "_X",
		} {
			if !pr.ManagesRequest(spelling) || !pr.ManagesResponse(spelling) || !pr.ManagesResponse(http.TrailerPrefix+spelling) {
				t.Errorf("%q is not managed", spelling)
			}
		}
	}
	for _, name := range []string{"X-Remote-Role", "x_remote_role", "X.REMOTE~ROLE"} {
		if !pr.ManagesRequest(name) || pr.ManagesResponse(name) {
			t.Errorf("%q should be managed in requests only", name)
		}
	}
	for _, name := range []string{"", "X", "X-Session", "X-Sessions-Id", "XX-Session-Id", "Session-Id", "X-Remote-Roles", "X-Remote", "Cookie"} {
		if pr.ManagesRequest(name) || pr.ManagesResponse(name) {
			t.Errorf("%q is managed", name)
		}
	}
}

func TestStripRequest(t *testing.T) {
	pr := protocol(t, "", Forward{Key: "role", Header: "X-Remote-Role"})
	h := http.Header{
		"X-Session-User": {"root"}, "X_session_user": {"root"}, "x-session-data": {"{}"}, "X-Remote-Role": {"admin"},
		"X_remote_role": {"admin"}, "Accept": {"*/*"}, "X-Session": {"kept"}, "Connection": {"close"},
	}
	pr.StripRequest(h)
	if want := (http.Header{"Accept": {"*/*"}, "X-Session": {"kept"}, "Connection": {"close"}}); !reflect.DeepEqual(h, want) {
		t.Errorf("left is %v", h)
	}
}

func TestStripList(t *testing.T) {
	pr := protocol(t, "")
	tests := []struct{ in, out []string }{
		{nil, nil},
		{[]string{"keep-alive,  Upgrade ,"}, []string{"keep-alive,  Upgrade ,"}}, // byte for byte
		{[]string{"close", "", "Te"}, []string{"close", "", "Te"}},
		{[]string{"close, X-Session-User"}, []string{"close"}},
		{[]string{"X_SESSION_USER,Upgrade", "\tx.session.data\t,, Te"}, []string{"Upgrade, Te"}},
		{[]string{"X-Session-Id", "X-Session-Data"}, nil},
	}
	for _, test := range tests {
		h := http.Header{}
		if test.in != nil {
			h["Connection"] = test.in
		}
		StripList(h, "Connection", pr.ManagesRequest)
		if got, ok := h["Connection"]; !reflect.DeepEqual(got, test.out) || ok != (test.out != nil) {
			t.Errorf("%q becomes %q, want %q", test.in, got, test.out)
		}
	}
}

func sample(data, subject string) *Session {
	s := &Session{token: Token{ID: strings.Repeat("A", idSize)}}
	s.version, s.data, s.subject = 42, []byte(data), subject
	return s
}

func TestInject(t *testing.T) {
	id := strings.Repeat("A", idSize)
	tests := []struct {
		name    string
		pr      *Protocol
		session *Session
		want    http.Header
	}{
		{"anonymous", protocol(t, ""), nil, http.Header{}},
		{"whole", protocol(t, ""), sample(`{"a":1,"user":"alice"}`, "alice"), http.Header{
			"X-Session-Id": {id}, "X-Session-Version": {"42"}, "X-Session-User": {"alice"}, "X-Session-Data": {`{"a":1,"user":"alice"}`},
		}},
		{"no subject", protocol(t, ""), sample(`{}`, ""), http.Header{
			"X-Session-Id": {id}, "X-Session-Version": {"42"}, "X-Session-Data": {`{}`},
		}},
		{"prefix", protocol(t, "x-my-"), sample(`{}`, "é"), http.Header{
			"X-My-Id": {id}, "X-My-Version": {"42"}, "X-My-Data": {`{}`}, "X-My-User": {"%C3%A9"},
		}},
		{
			"forward lines",
			protocol(t, "", Forward{"role", "x-remote-role"}, Forward{"my_key.é", ""}, Forward{"n", ""}, Forward{"o", ""}, Forward{"none", ""}, Forward{"null", ""}, Forward{"user", ""}),
			sample(`{"my_key.\u00e9":"v","n":1.50,"null":null,"o":{"a":["\u00e9"]},"other":1,"role":"admin","user":"u"}`, "u"),
			http.Header{
				"X-Session-Id": {id}, "X-Session-Version": {"42"}, "X-Session-User": {"u"}, "X-Remote-Role": {"admin"},
				"X-Session-My-Key---": {"v"}, "X-Session-N": {"1.50"}, "X-Session-O": {`{"a":["\u00e9"]}`},
			},
		},
	}
	for _, test := range tests {
		h := http.Header{}
		if err := test.pr.Inject(h, test.session); err != nil || !reflect.DeepEqual(h, test.want) {
			t.Errorf("%s: got %v, error %v; want %v", test.name, h, err, test.want)
		}
		for name := range h {
			if !test.pr.ManagesRequest(name) {
				t.Errorf("%s: %s would not be stripped", test.name, name)
			}
		}
	}
}

func TestRequestHeadersAreChosen(t *testing.T) {
	id, newID := strings.Repeat("A", idSize), strings.Repeat("B", idSize)
	alice := sample(`{"role":"admin","user":"alice"}`, "alice")
	alice.signedIn = time.UnixMilli(1_790_000_000_999)
	ends := time.UnixMilli(1_790_000_060_999)
	forward := []Forward{{Key: "role"}}
	for _, test := range []struct {
		show    []string
		forward []Forward
		session *Session
		want    http.Header
	}{
		{[]string{"user"}, nil, alice, http.Header{"X-Session-User": {"alice"}}},
		{[]string{"user"}, forward, alice, http.Header{"X-Session-User": {"alice"}, "X-Session-Role": {"admin"}}},
		{[]string{"version"}, []Forward{{Key: "user"}}, alice, http.Header{"X-Session-Version": {"42"}, "X-Session-User": {"alice"}}},
		{[]string{"id", "data"}, forward, alice, http.Header{"X-Session-Id": {id}, "X-Session-Data": {`{"role":"admin","user":"alice"}`}, "X-Session-Role": {"admin"}}},
		{RequestHeaders(), nil, alice, http.Header{
			"X-Session-Id": {id}, "X-Session-User": {"alice"}, "X-Session-Version": {"42"}, "X-Session-Data": {`{"role":"admin","user":"alice"}`},
			"X-Session-Expires": {"1790000060"}, "X-Session-Signed-In": {"1790000000"}, "X-Session-New-Id": {newID},
		}},
		{[]string{"expires", "signed_in", "user"}, nil, sample(`{}`, ""), http.Header{"X-Session-Expires": {"1790000060"}}},
		{[]string{"id", "new_id"}, nil, nil, http.Header{"X-Session-New-Id": {newID}}},
	} {
		pr, err := NewProtocol("", test.forward, DefaultPolicy(), test.show...)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		if err := pr.inject(h, test.session, ends, newID); err != nil || !reflect.DeepEqual(h, test.want) {
			t.Errorf("%v: got %v, error %v; want %v", test.show, h, err, test.want)
		}
		if named := pr.NewID(); ValidID(named) != slices.Contains(test.show, "new_id") {
			t.Errorf("%v: a new id %q", test.show, named)
		}
	}
}

// What is not sent is not counted.
func TestExposureIsOfWhatIsShown(t *testing.T) {
	policy := DefaultPolicy()
	policy.Exposed = 20
	for _, show := range [][]string{{"id"}, {"user"}} {
		pr, err := NewProtocol("", nil, policy, show...)
		if err != nil {
			t.Fatal(err)
		}
		if err := pr.Inject(http.Header{}, sample(`{"a":"`+strings.Repeat("x", 100)+`"}`, strings.Repeat("u", 20))); err != nil {
			t.Errorf("%v: %v", show, err)
		}
	}
}

func TestEncodeValue(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain text": "plain text", "100%": "100%25", "a\r\nb: c": "a%0D%0Ab: c", "\x00\t\x1f\x7f": "%00%09%1F%7F",
		"é😀": "%C3%A9%F0%9F%98%80", " a": "%20a", "a ": "a%20", " ": "%20", "  a  ": "%20 a %20", "%41": "%2541", `~!"{}[],;=`: `~!"{}[],;=`,
	} {
		if got := EncodeValue(in); got != want || encodedLen(in) != len(want) {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestExposure(t *testing.T) {
	policy := DefaultPolicy()
	policy.Exposed = 20
	whole, err := NewProtocol("", nil, policy)
	if err != nil {
		t.Fatal(err)
	}
	single, err := NewProtocol("", []Forward{{Key: "a"}, {Key: "b"}}, policy)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		pr      *Protocol
		session *Session
		size    string // "" if it fits
	}{
		{"whole fits", whole, sample(`{"a":"12345678901"}`, "1"), ""},
		{"whole", whole, sample(`{"a":"123456789012"}`, "1"), "21"},
		{"the subject as it is sent", whole, sample(`{"a":"1234567890"}`, "é"), "24"},
		{"forwarded fits", single, sample(`{"a":"1234567890","b":"1234567890","c":"1234567890"}`, ""), ""},
		{"forwarded", single, sample(`{"a":"1234567890","b":"12345678\u00e9"}`, "1"), "25"},
	}
	for _, test := range tests {
		h := http.Header{}
		err := test.pr.Inject(h, test.session)
		if test.size == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if !errors.Is(err, errExposed) || len(h) != 0 || !strings.Contains(err.Error(), test.size+" bytes") || !strings.Contains(err.Error(), " 20 ") {
			t.Errorf("%s: headers %v, error %v", test.name, h, err)
		}
	}
}

func TestNewProtocolRefuses(t *testing.T) {
	tests := []struct {
		name, prefix string
		forward      []Forward
		message      string
	}{
		{"prefix without a hyphen", "X-Session", nil, "hyphen at the end"},
		{"prefix with an underscore", "X_Session-", nil, "letters, digits and hyphens"},
		{"prefix that is a hyphen", "-", nil, "letters, digits and hyphens"},
		{"prefix with a line feed", "X-\n-", nil, "letters, digits and hyphens"},
		{"prefix of the proxy's names", "X-", nil, "X-Forwarded-For"},
		{"prefix of Content-Length", "content-", nil, "Content-Length"},
		{"forward without a key", "", []Forward{{Key: ""}}, "1 to 256 bytes"},
		{"key of 257 bytes", "", []Forward{{Key: strings.Repeat("k", 257)}}, "1 to 256 bytes"},
		{"header with a space", "", []Forward{{"a", "X Role"}}, "letters, digits and hyphens"},
		{"header with an underscore", "", []Forward{{"a", "X_Role"}}, "letters, digits and hyphens"},
		{"Host", "", []Forward{{"a", "host"}}, "can't be taken over"},
		{"Cookie", "", []Forward{{"a", "COOKIE"}}, "can't be taken over"},
		{"twice", "", []Forward{{"a", "X-Role"}, {"b", "x-role"}}, "can't be told from"},
		{"keys that fold together", "", []Forward{{Key: "a_b"}, {Key: "a.b"}}, "can't be told from"},
		{"the id", "", []Forward{{Key: "id"}}, "can't be told from X-Session-Id"},
		{"the data", "", []Forward{{"a", "x-session-data"}}, "can't be told from X-Session-Data"},
		{"a control header", "", []Forward{{Key: "set"}}, "can't be told from X-Session-Set"},
		{"another control header", "", []Forward{{Key: "put"}}, "can't be told from X-Session-Put"},
		{"another key as the user", "", []Forward{{"role", "X-Session-User"}}, "can't be told from X-Session-User"},
	}
	for _, show := range [][]string{{"id", "id"}, {"expiry"}, {""}} {
		if _, err := NewProtocol("", nil, DefaultPolicy(), show...); err == nil || !strings.Contains(err.Error(), "request_headers") {
			t.Errorf("%q: error %v", show, err)
		}
	}
	for _, test := range tests {
		if _, err := NewProtocol(test.prefix, test.forward, DefaultPolicy()); err == nil || !strings.Contains(err.Error(), test.message) {
			t.Errorf("%s: error %v", test.name, err)
		}
	}
}
