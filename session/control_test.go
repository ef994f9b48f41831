package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func protocol(t testing.TB, prefix string, forward ...Forward) *Protocol {
	t.Helper()
	p, err := NewProtocol(prefix, forward, DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ptr[T any](v T) *T { return &v }

func TestSet(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  string // the objects, as JSON; "" if they are refused
	}{
		{"json", []string{`{"user":"alice","n":1.50,"draft":null}`}, `[{"draft":null,"n":1.50,"user":"alice"}]`},
		{"json after spaces", []string{" \t{}"}, `[{}]`},
		{"several lines", []string{`{"a":1}`, `b=2`, `{"a":3}`}, `[{"a":1},{"b":"2"},{"a":3}]`},
		{"joined lines", []string{`{"a":1}, {"a":2}`}, `[{"a":1},{"a":2}]`},
		{"form", []string{`user=alice&lang=fr`}, `[{"lang":"fr","user":"alice"}]`},
		{"form, all key characters", []string{`AZaz09_.-=1`}, `[{"AZaz09_.-":"1"}]`},
		{"form, empty value", []string{`draft=`}, `[{"draft":""}]`},
		{"form, plus and percent", []string{`a=x+y%20z%2C%26%3D%2b%25`}, `[{"a":"x y z,\u0026=+%"}]`},
		{"form, equals sign in a value", []string{`a==b=c`}, `[{"a":"=b=c"}]`},
		{"form, UTF-8", []string{"a=é&b=%C3%A9"}, `[{"a":"é","b":"é"}]`},
		{"form, control characters", []string{"a=%0d%0a%00"}, `[{"a":"\r\n\u0000"}]`},
		{"form, null is text", []string{"a=null"}, `[{"a":"null"}]`},
		{"form, key of 256", []string{strings.Repeat("k", 256) + "=1"}, `[{"` + strings.Repeat("k", 256) + `":"1"}]`},
		{"empty", []string{""}, ""},
		{"blank", []string{" \t "}, ""},
		{"second line empty", []string{"a=1", ""}, ""},
		{"array", []string{`[{"a":1}]`}, ""},
		{"quoted", []string{`"a=1"`}, ""},
		{"form, raw comma", []string{"a=1,b=2"}, ""},
		{"form joined with json", []string{`a=1, {"b":2}`}, ""},
		{"json joined with form", []string{`{"b":2}, a=1`}, ""},
		{"form, pair without equals", []string{"a=1&b"}, ""},
		{"form, ends in &", []string{"a=1&"}, ""},
		{"form, no key", []string{"=1"}, ""},
		{"form, duplicate key", []string{"a=1&a=1"}, ""},
		{"form, encoded key", []string{"%61=1"}, ""},
		{"form, key with a space", []string{"a b=1"}, ""},
		{"form, key with a plus", []string{"a+b=1"}, ""},
		{"form, key with a bracket", []string{"a[]=1"}, ""},
		{"form, key of 257", []string{strings.Repeat("k", 257) + "=1"}, ""},
		{"form, bad percent", []string{"a=%zz"}, ""},
		{"form, cut percent", []string{"a=%2"}, ""},
		{"form, Latin-1", []string{"a=caf\xe9"}, ""},
		{"form, percent-encoded Latin-1", []string{"a=caf%E9"}, ""},
		{"json, Latin-1", []string{"{\"a\":\"caf\xe9\"}"}, ""},
	}
	for _, test := range tests {
		p, err := parsePatch(nil, test.lines, nil, nil, 1<<16)
		if err != nil || test.want == "" {
			if malformed := new(MalformedError); test.want != "" || p != nil || !errors.As(err, &malformed) || malformed.Header != "Set" {
				t.Errorf("%s: got %+v, error %v", test.name, p, err)
			}
			continue
		}
		if got, _ := json.Marshal(p.Set); string(got) != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func TestFormOf1025KeysIsRefused(t *testing.T) {
	var pairs []string
	for i := range 1025 {
		pairs = append(pairs, fmt.Sprintf("k%d=1", i))
	}
	if _, err := parsePatch(nil, []string{strings.Join(pairs[:1024], "&")}, nil, nil, 1<<16); err != nil {
		t.Error(err)
	}
	_, err := parsePatch(nil, []string{strings.Join(pairs, "&")}, nil, nil, 1<<16)
	if err == nil || !strings.Contains(err.Error(), "1025") || !strings.Contains(err.Error(), "1024") {
		t.Errorf("error %v", err)
	}
}

func TestPut(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  string // the objects, as JSON; "" if they are refused
	}{
		{"null is kept", []string{`{"a":null,"b":{"c":null}}`}, `[{"a":null,"b":{"c":null}}]`},
		{"empty", []string{` {} `}, `[{}]`},
		{"several lines, and joined ones", []string{`{"a":1}`, `{"a":2}, {"b":3}`}, `[{"a":1},{"a":2},{"b":3}]`},
		{"form", []string{"a=1"}, ""},
		{"array", []string{`[1]`}, ""},
		{"nothing", []string{" "}, ""},
		{"null", []string{"null"}, ""},
		{"key twice", []string{`{"a":1,"a":2}`}, ""},
		{"too deep", []string{nested(`{"a":`, "1", "}", maxDepth+1)}, ""},
		{"Latin-1", []string{"{\"a\":\"caf\xe9\"}"}, ""},
	}
	for _, test := range tests {
		p, err := parsePatch(test.lines, nil, nil, nil, 1<<16)
		if err != nil || test.want == "" {
			if malformed := new(MalformedError); test.want != "" || p != nil || !errors.As(err, &malformed) || malformed.Header != "Put" {
				t.Errorf("%s: got %+v, error %v", test.name, p, err)
			}
			continue
		}
		if got, _ := json.Marshal(p.Put); string(got) != test.want || !p.Writes() || !p.sets() {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
	if _, err := parsePatch([]string{`{"a":"` + strings.Repeat("x", 90) + `"}`}, []string{"b=1"}, nil, nil, 100); err == nil {
		t.Error("the size of a Put line does not count")
	}
}

func TestUnset(t *testing.T) {
	tests := []struct {
		lines []string
		want  []string
	}{
		{[]string{"a"}, []string{"a"}},
		{[]string{" a ,\tb,,c "}, []string{"a", "b", "c"}},
		{[]string{"a", "b, a"}, []string{"a", "b", "a"}},
		{[]string{"two words, é"}, []string{"two words", "é"}},
		{[]string{""}, nil},
		{[]string{" , "}, nil},
		{[]string{"a", ""}, nil},
		{[]string{"caf\xe9"}, nil},
		{[]string{strings.Repeat("k", 257)}, nil},
	}
	for _, test := range tests {
		p, err := parsePatch(nil, nil, test.lines, nil, 1<<16)
		if (err == nil) != (test.want != nil) || err == nil && !reflect.DeepEqual(p.Unset, test.want) {
			t.Errorf("%q: got %+v, error %v", test.lines, p, err)
		}
	}
}

func TestControl(t *testing.T) {
	tests := []struct {
		line string
		want *Patch // nil if it is refused
	}{
		{"renew", &Patch{Renew: true}},
		{"clear", &Patch{Clear: true}},
		{"destroy", &Patch{Destroy: true}},
		{"revoke-others", &Patch{RevokeOthers: true}},
		{"no-touch", &Patch{NoTouch: true}},
		{"Renew , NO-TOUCH,,", &Patch{Renew: true, NoTouch: true}},
		{"renew, renew", &Patch{Renew: true}},
		{"max-age=60", &Patch{MaxAge: ptr(time.Minute)}},
		{"max-age=0", &Patch{MaxAge: ptr(time.Duration(0))}},
		{"max-age=060", &Patch{MaxAge: ptr(time.Minute)}},
		{"max-age=60, max-age=60", &Patch{MaxAge: ptr(time.Minute)}},
		{"max-age=9223372036", &Patch{MaxAge: ptr(9223372036 * time.Second)}},
		{"max-age=9223372037", &Patch{MaxAge: ptr(9223372036 * time.Second)}},
		{"max-age=99999999999999999999999999", &Patch{MaxAge: ptr(9223372036 * time.Second)}},
		{"if-version=7", &Patch{IfVersion: ptr(uint64(7))}},
		{"if-version=0", &Patch{IfVersion: ptr(uint64(0))}},
		{"if-version=7, if-version=7", &Patch{IfVersion: ptr(uint64(7))}},
		{"", nil},
		{" , ", nil},
		{"unknown", nil},
		{"renew, unknown", nil},
		{"unknown=1", nil},
		{"renew=1", nil},
		{"renew=", nil},
		{"destroy=true", nil},
		{"renew clear", nil},
		{"renew; clear", nil},
		{"max-age", nil},
		{"max-age=", nil},
		{"max-age=-1", nil},
		{"max-age=+1", nil},
		{"max-age=1.5", nil},
		{"max-age=1s", nil},
		{"max-age=0x10", nil},
		{"max-age=1_000", nil},
		{`max-age="60"`, nil},
		{"max-age = 60", nil},
		{"max-age=60, max-age=61", nil},
		{"if-version", nil},
		{"if-version=x", nil},
		{"if-version=1, if-version=2", nil},
		{"caf\xe9", nil},
	}
	for _, test := range tests {
		p, err := parsePatch(nil, nil, nil, []string{test.line}, 1<<16)
		if (err == nil) != (test.want != nil) || err == nil && !reflect.DeepEqual(p, test.want) {
			t.Errorf("%q: got %+v, error %v", test.line, p, err)
		}
	}
	p, err := parsePatch(nil, nil, nil, []string{"renew", "max-age=1"}, 1<<16)
	if err != nil || !p.Renew || p.MaxAge == nil {
		t.Errorf("two lines: got %+v, error %v", p, err)
	}
}

func TestControlHeadersAreTaken(t *testing.T) {
	pr := protocol(t, "")
	h := http.Header{
		"X-Session-Set": {"a=1"}, "X-Session-Unset": {"b"}, "X-Session-Control": {"renew"},
		"X_session_set": {"c=1"}, "x-session-set": {"d=1"}, "X-Session-Other": {"1"},
		"Trailer:X-Session-Set": {"e=1"}, "Trailer": {"X-Session-Set, Etag"}, "Etag": {`"1"`},
	}
	p, err := pr.Take(h, 100)
	if err != nil || !reflect.DeepEqual(p, &Patch{Set: []map[string]any{{"a": "1"}}, Unset: []string{"b"}, Renew: true}) {
		t.Errorf("got %+v, error %v", p, err)
	}
	if want := (http.Header{"Trailer": {"Etag"}, "Etag": {`"1"`}}); !reflect.DeepEqual(h, want) {
		t.Errorf("left is %v", h)
	}
	if p, err := pr.Take(h, 100); p != nil || err != nil {
		t.Errorf("nothing is there: got %+v, error %v", p, err)
	}
	// Only the exact names are obeyed.
	if p, err := pr.Take(http.Header{"X_session_set": {"c=1"}, "Trailer:X-Session-Set": {"e=1"}}, 100); p != nil || err != nil {
		t.Errorf("other spellings: got %+v, error %v", p, err)
	}
}

func TestNeverHalfOfAPatch(t *testing.T) {
	pr := protocol(t, "")
	for name, h := range map[string]http.Header{
		"Set":       {"X-Session-Set": {"a=1", "bad"}, "X-Session-Control": {"renew"}},
		"Unset":     {"X-Session-Set": {"a=1"}, "X-Session-Unset": {""}},
		"Control":   {"X-Session-Set": {"a=1"}, "X-Session-Control": {"renew, nonsense"}},
		"destroy":   {"X-Session-Set": {"bad"}, "X-Session-Control": {"destroy"}},
		"too large": {"X-Session-Set": {"a=" + strings.Repeat("1", 50), "b=" + strings.Repeat("1", 50)}},
	} {
		p, err := pr.Take(h, 100)
		if malformed := new(MalformedError); p != nil || !errors.As(err, &malformed) {
			t.Errorf("%s: got %+v, error %v", name, p, err)
		}
		if len(h) != 0 {
			t.Errorf("%s: left is %v", name, h)
		}
	}
}

func TestMessagesTellTheFixAndNoValues(t *testing.T) {
	const value = "hunter2"
	tests := []struct {
		set, control string
		parts        []string
	}{
		{"password=" + value + "\xe9", "", []string{`\uXXXX`, "percent-encoded", `"password"`}},
		{`{"password":"` + value + "\xe9\"}", "", []string{`\uXXXX`, "percent-encoded"}},
		{`{"password":"` + value + `}`, "", nil},
		{`{"password":"` + value + `\x"}`, "", nil},
		{`{"password":"` + value + `"} x`, "", []string{"follows"}},
		{`{"password":"` + value + `","password":1}`, "", []string{`"password" twice`}},
		{"password=" + value + ",b=1", "", []string{"%2C"}},
		{"password=" + value + "%", "", []string{`"password"`}},
		{"a=1&" + value, "", []string{"pair 2"}},
		{"password=" + value + strings.Repeat("x", 1000), "", []string{"1016", "1000"}},
		{"", "remember=" + value, []string{`"remember"`}},
	}
	for _, test := range tests {
		var set, control []string
		if test.set != "" {
			set = []string{test.set}
		} else {
			control = []string{test.control}
		}
		_, err := parsePatch(nil, set, nil, control, 1000)
		if err == nil {
			t.Errorf("%q is accepted", test.set+test.control)
			continue
		}
		for _, part := range test.parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: error %q does not tell %s", test.set+test.control, err, part)
			}
		}
		if strings.Contains(err.Error(), value) {
			t.Errorf("error %q tells a value", err)
		}
	}
}
