package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func decode(t testing.TB, text string) any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func objects(t testing.TB, lines ...string) (all []map[string]any) {
	t.Helper()
	for _, line := range lines {
		o, err := decodeObjects(line)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o...)
	}
	return all
}

// RFC 7396, appendix A.
func TestMergePatchOfRFC7396(t *testing.T) {
	tests := []struct{ original, patch, result string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	}
	for _, test := range tests {
		patch := decode(t, test.patch)
		got := mergePatch(decode(t, test.original), patch)
		if want := decode(t, test.result); !reflect.DeepEqual(got, want) {
			t.Errorf("%s patched with %s gives %v, want %v", test.original, test.patch, got, want)
		}
		if !reflect.DeepEqual(patch, decode(t, test.patch)) {
			t.Errorf("%s was changed to %v", test.patch, patch)
		}
	}
}

func TestPatchIsAppliedInOrder(t *testing.T) {
	tests := []struct {
		name, data string
		patch      Patch
		want       string
		subject    string
	}{
		{"sets in order", `{"a":1}`, Patch{Set: objects(t, `{"a":2,"b":1}`, `{"b":{"c":1}}`, `{"b":{"d":2}}`)}, `{"a":2,"b":{"c":1,"d":2}}`, ""},
		{"null, then set", `{"a":{"x":1}}`, Patch{Set: objects(t, `{"a":null}`, `{"a":{"y":1}}`)}, `{"a":{"y":1}}`, ""},
		{"clear first", `{"a":1,"user":"x"}`, Patch{Clear: true, Set: objects(t, `{"b":1}`)}, `{"b":1}`, ""},
		{"unset last", `{"a":1}`, Patch{Set: objects(t, `{"b":1,"c":1}`), Unset: []string{"a", "b", "nothing"}}, `{"c":1}`, ""},
		{"unset is not a path", `{"a":{"b":1}}`, Patch{Unset: []string{"a.b", "b"}}, `{"a":{"b":1}}`, ""},
		{"subject", `{}`, Patch{Set: objects(t, `{"user":"é"}`)}, `{"user":"\u00e9"}`, "é"},
		{"subject is a number", `{}`, Patch{Set: objects(t, `{"user":12345678901234567890}`)}, `{"user":12345678901234567890}`, "12345678901234567890"},
		{"subject is a number with a point", `{}`, Patch{Set: objects(t, `{"user":1.50}`)}, `{"user":1.50}`, "1.50"},
		{"subject is null", `{"user":"x"}`, Patch{Set: objects(t, `{"user":null}`)}, `{}`, ""},
		{"subject is empty", `{"user":"x"}`, Patch{Set: objects(t, `{"user":""}`)}, `{"user":""}`, ""},
		{"put keeps null", `{"a":1,"b":2}`, Patch{Put: objects(t, `{"a":null,"c":{"d":null}}`)}, `{"a":null,"b":2,"c":{"d":null}}`, ""},
		{"put replaces", `{"a":{"x":1}}`, Patch{Put: objects(t, `{"a":{"y":1}}`, `{"b":1}`, `{"b":2}`)}, `{"a":{"y":1},"b":2}`, ""},
		{"put, then set", `{"a":{"x":1}}`, Patch{Put: objects(t, `{"a":{"y":{"z":null}}}`), Set: objects(t, `{"a":{"y":{"w":1}}}`)}, `{"a":{"y":{"w":1,"z":null}}}`, ""},
		{"put, then unset", `{}`, Patch{Put: objects(t, `{"a":null,"b":null}`), Unset: []string{"b"}}, `{"a":null}`, ""},
		{"clear, then put", `{"a":1}`, Patch{Clear: true, Put: objects(t, `{"b":null}`)}, `{"b":null}`, ""},
		{"what the site sets comes before put", `{}`, Patch{First: objects(t, `{"a":1,"b":1}`), Put: objects(t, `{"a":null}`)}, `{"a":null,"b":1}`, ""},
		{"put of the subject", `{}`, Patch{Put: objects(t, `{"user":"x"}`)}, `{"user":"x"}`, "x"},
		{"put of null as the subject", `{"user":"x"}`, Patch{Put: objects(t, `{"user":null}`)}, `{"user":null}`, ""},
		{"set leaves null alone", `{"a":null,"b":{"c":null}}`, Patch{Set: objects(t, `{"b":{"d":1}}`)}, `{"a":null,"b":{"c":null,"d":1}}`, ""},
		{"set removes null", `{"a":null}`, Patch{Set: objects(t, `{"a":null}`)}, `{}`, ""},
		{"arrays replace", `{"a":[1,{"b":1}]}`, Patch{Set: objects(t, `{"a":[{"c":null}]}`)}, `{"a":[{"c":null}]}`, ""},
	}
	for _, test := range tests {
		before := fmt.Sprint(test.patch)
		for range 2 { // as after a conflict
			got, _, err := test.patch.apply(content{data: []byte(test.data)}, DefaultPolicy())
			if err != nil || string(got.data) != test.want || got.subject != test.subject {
				t.Errorf("%s: got %s, subject %q, error %v; want %s, subject %q", test.name, got.data, got.subject, err, test.want, test.subject)
			}
		}
		if after := fmt.Sprint(test.patch); before != after {
			t.Errorf("%s: the patch was changed from %s to %s", test.name, before, after)
		}
	}
}

func TestSubjectIsAtAPath(t *testing.T) {
	for _, test := range []struct{ path, data, subject string }{
		{"user", `{"user":"alice"}`, "alice"},
		{"user", `{"user":{"id":"alice"}}`, ""},
		{"user", `{"user":["alice"]}`, ""},
		{"user", `{"user":true}`, ""},
		{"user", `{"user":false}`, ""},
		{"user.id", `{"user":{"id":"\u00e9"}}`, "é"},
		{"user.id", `{"user":{"id":-12.50}}`, "-12.50"},
		{"user.id", `{"user":{"id":{"id":1}}}`, ""},
		{"user.id", `{"user":{"id":[1]}}`, ""},
		{"user.id", `{"user":{"id":true}}`, ""},
		{"user.id", `{"user":{"id":""}}`, ""},
		{"user.id", `{"user":{"name":"alice"}}`, ""},
		{"user.id", `{"user":"alice"}`, ""},
		{"user.id", `{"user":[{"id":"alice"}]}`, ""},
		{"user.id", `{"id":"alice"}`, ""},
		{"user.id", `{"user.id":"alice"}`, "alice"},
		{"user.id", `{"user.id":null,"user":{"id":"alice"}}`, "alice"},
		{"passport.user.id", `{"passport":{"user":{"id":7}}}`, "7"},
		{"passport.user.id", `{"passport":{"user.id":7}}`, "7"},
		{"passport.user.id", `{"passport":{"user":7}}`, ""},
	} {
		policy := DefaultPolicy()
		policy.SubjectKey = test.path
		p := Patch{Put: objects(t, test.data)}
		if got, _, err := p.apply(content{}, policy); err != nil || got.subject != test.subject {
			t.Errorf("%s of %s is %q, error %v", test.path, test.data, got.subject, err)
		}
	}
}

// An object of one Set line must not become part of the session, where a later
// line would change it.
func TestPatchesAreNotAliased(t *testing.T) {
	changes := objects(t, `{"p":{"q":{"r":1}}}`)[0]
	p := Patch{
		Put:  objects(t, `{"a":{"p":1}}`, `{"z":{"y":{"x":null}}}`, `{"a":{"b":{"o":null}}}`),
		Set:  objects(t, `{"z":{"y":{"x":null,"w":1}}}`, `{"a":{"b":{"o":null}}}`, `{"a":{"b":{"c":1}}}`, `{"a":{"b":{"d":1}}}`, `{"a":{"b":{"c":null}}}`),
		Edit: func([]byte) (map[string]any, any) { return changes, nil },
	}
	var first content
	for i := range 3 {
		got, _, err := p.apply(content{data: []byte(`{}`)}, DefaultPolicy())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = got
		}
		if !bytes.Equal(got.data, first.data) || !bytes.Equal(got.private, first.private) {
			t.Fatalf("time %d gives %s, %s; the first gave %s, %s", i+1, got.data, got.private, first.data, first.private)
		}
	}
	if string(first.data) != `{"a":{"b":{"d":1}},"z":{"y":{"w":1}}}` || string(first.private) != `{"p":{"q":{"r":1}}}` {
		t.Errorf("got %s, %s", first.data, first.private)
	}
}

func TestPatchLimits(t *testing.T) {
	policy := DefaultPolicy()
	policy.MaxData = 3000
	long := strings.Repeat("x", 3000)
	tests := []struct {
		name, data, set string
		message         []string
	}{
		{"max_data", `{}`, `{"a":"` + long[:2993] + `"}`, []string{"3001 bytes", "3000"}},
		{"max_data after escaping", `{}`, `{"a":"` + strings.Repeat("é", 500) + `"}`, []string{"3008 bytes", "3000"}},
		{"max_data in two steps", `{"a":"` + long[:2000] + `"}`, `{"b":"` + long[:2000] + `"}`, []string{"4015 bytes", "3000"}},
		{"keys in two steps", manyKeys(1024), `{"new":1}`, []string{"1025 keys", "1024"}},
		{"nested keys in two steps", `{"n":` + manyKeys(1024) + `}`, `{"n":{"new":1}}`, []string{"1025 keys", "1024"}},
		{"subject", `{}`, `{"user":"` + long[:1025] + `"}`, []string{"1025 bytes", "1024"}},
		{"subject as a number", `{}`, `{"user":` + strings.Repeat("1", 1025) + `}`, []string{"1025 bytes", "1024"}},
	}
	for _, test := range tests {
		p := Patch{Set: objects(t, test.set)}
		_, _, err := p.apply(content{data: []byte(test.data)}, policy)
		if malformed := new(MalformedError); !errors.As(err, &malformed) {
			t.Errorf("%s: error %v", test.name, err)
			continue
		}
		for _, part := range test.message {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q does not tell %s", test.name, err, part)
			}
		}
		if strings.Contains(err.Error(), "xxx") {
			t.Errorf("%s: error %q tells a value", test.name, err)
		}
	}
	p := Patch{Set: objects(t, `{"a":"`+long[:2992]+`"}`)}
	if got, _, err := p.apply(content{}, policy); err != nil || len(got.data) != 3000 {
		t.Errorf("just max_data: %d bytes, error %v", len(got.data), err)
	}
}

// Stored data over a bound, which may have been lowered, can be cut down.
func TestStoredDataOverABoundCanBeCorrected(t *testing.T) {
	deep := nested(`{"a":`, "1", "}", 40)
	for _, data := range []string{manyKeys(1100), `{"` + strings.Repeat("k", 300) + `":1}`, deep, `{"a":1,"a":2}`} {
		p := Patch{Clear: false, Set: objects(t, `{"b":1}`), Unset: []string{"a", strings.Repeat("k", 300)}}
		for i := range 1100 {
			p.Unset = append(p.Unset, fmt.Sprint("k", i))
		}
		got, _, err := p.apply(content{data: []byte(data)}, DefaultPolicy())
		if err != nil || string(got.data) != `{"b":1}` {
			t.Errorf("%.40s: got %s, error %v", data, got.data, err)
		}
	}
}

// A line of many small patches costs no more than the bytes it has: merging
// must not copy a large object for each.
func TestManySmallPatchesAreCheap(t *testing.T) {
	line := manyKeys(256) + strings.Repeat(`,{"k1":2}`, 5000)
	p := Patch{Set: objects(t, line)}
	allocs := testing.AllocsPerRun(1, func() {
		if _, _, err := p.apply(content{}, DefaultPolicy()); err != nil {
			t.Error(err)
		}
	})
	if allocs > 5000 {
		t.Errorf("%v allocations", allocs)
	}
}
