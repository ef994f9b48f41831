package session

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func nested(open, value, shut string, n int) string {
	return strings.Repeat(open, n) + value + strings.Repeat(shut, n)
}

func manyKeys(n int) string {
	var pairs []string
	for i := range n {
		pairs = append(pairs, fmt.Sprintf(`"k%d":1`, i))
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func TestJSONIsDecodedStrictly(t *testing.T) {
	key := func(n int) string { return `{"` + strings.Repeat("k", n) + `":1}` }
	tests := []struct {
		name, text string
		objects    int    // 0 if it is refused
		message    string // part of the error
	}{
		{"empty", `{}`, 1, ""},
		{"with white space", " { \"a\" :\t[ 1 , null ] } ", 1, ""},
		{"joined", `{"a":1},{"b":2} , {}`, 3, ""},
		{"joined with a comma too many", `{"a":1},`, 0, "ends too early"},
		{"joined with two commas", `{},,{}`, 0, "invalid character"},
		{"joined without a comma", `{}{}`, 0, "something follows"},
		{"trailing garbage", `{} x`, 0, "something follows"},
		{"trailing brace", `{"a":1}}`, 0, "something follows"},
		{"joined with another type", `{},[]`, 0, "not a JSON object"},
		{"joined with a string", `{},"a"`, 0, "not a JSON object"},
		{"cut off", `{"a":1`, 0, "ends too early"},
		{"cut off in a string", `{"a":"x`, 0, "ends too early"},
		{"comma before a brace", `{"a":1,}`, 0, "invalid character"},
		{"comma before a bracket", `{"a":[1,]}`, 0, "invalid character"},
		{"mixed brackets", `{"a":[}`, 0, "invalid character"},
		{"key without quotes", `{a:1}`, 0, "invalid character"},
		{"number as a key", `{1:1}`, 0, "invalid character"},
		{"object as a key", `{{}:1}`, 0, "invalid character"},
		{"single quotes", `{'a':1}`, 0, "invalid character"},
		{"comment", `{/**/}`, 0, "invalid character"},
		{"NaN", `{"a":NaN}`, 0, "invalid character"},
		{"leading zero", `{"a":01}`, 0, "invalid character"},
		{"line feed in a string", "{\"a\":\"\n\"}", 0, "invalid character"},
		{"duplicate key", `{"a":1,"a":1}`, 0, `key "a" twice`},
		{"duplicate key, escaped", `{"a":1,"\u0061":1}`, 0, `key "a" twice`},
		{"duplicate key, nested", `{"x":[{"a":1,"a":2}]}`, 0, `key "a" twice`},
		{"same key in two objects", `{"a":{"a":1},"b":{"a":1}}`, 1, ""},
		{"invalid UTF-8", "{\"a\":\"\xe9\"}", 0, `\uXXXX`},
		{"UTF-8 surrogate", "{\"a\":\"\xed\xa0\x80\"}", 0, `\uXXXX`},
		{"surrogate pair", `{"a":"\ud83d\ude00"}`, 1, ""},
		{"surrogate pair, upper case", `{"a":"\uD83D\uDE00"}`, 1, ""},
		{"high half", `{"a":"\ud83d"}`, 0, "half a surrogate"},
		{"high half before text", `{"a":"\ud83dxxxxxxxx"}`, 0, "half a surrogate"},
		{"high half before an escape", `{"a":"\ud83d\n\ude00"}`, 0, "half a surrogate"},
		{"high half before BMP", `{"a":"\ud83d\u0041"}`, 0, "half a surrogate"},
		{"two high halves", `{"a":"\ud83d\ud83d\ude00"}`, 0, "half a surrogate"},
		{"low half", `{"a":"\ude00"}`, 0, "half a surrogate"},
		{"low before high", `{"a":"\ude00\ud83d"}`, 0, "half a surrogate"},
		{"low half after a pair", `{"a":"\ud83d\ude00\ude00"}`, 0, "half a surrogate"},
		{"high half in a key", `{"\ud83d":1}`, 0, "half a surrogate"},
		{"high half at the end", `{"a":"\ud83d`, 0, "half a surrogate"},
		{"escaped backslash, then text", `{"a":"\\ud83d"}`, 1, ""},
		{"escaped backslash, then half", `{"a":"\\\ud83d"}`, 0, "half a surrogate"},
		{"bad escape", `{"a":"\uZZZZ"}`, 0, "invalid character"},
		{"depth 16", nested(`{"a":`, "1", "}", 16), 1, ""},
		{"depth 17", nested(`{"a":`, "1", "}", 17), 0, "deeper than 16"},
		{"depth 16 with arrays", `{"a":` + nested("[", "1", "]", 15) + `}`, 1, ""},
		{"depth 17 with arrays", `{"a":` + nested("[", "1", "]", 16) + `}`, 0, "deeper than 16"},
		{"depth 50000", `{"a":` + nested("[", "", "]", 50000) + `}`, 0, "deeper than 16"},
		{"256 keys", manyKeys(256), 1, ""},
		{"257 keys", manyKeys(257), 0, "257 keys or more in one object, 256"},
		{"257 keys, nested", `{"a":` + manyKeys(257) + `}`, 0, "257 keys or more in one object, 256"},
		{"key of 128 bytes", key(128), 1, ""},
		{"key of 129 bytes", key(129), 0, "129 bytes, more than 128"},
	}
	for _, test := range tests {
		objects, err := decodeObjects(test.text)
		if len(objects) != test.objects || (err == nil) != (test.objects > 0) {
			t.Errorf("%s: %d objects, error %v", test.name, len(objects), err)
		} else if err != nil && !strings.Contains(err.Error(), test.message) {
			t.Errorf("%s: error %q does not tell %q", test.name, err, test.message)
		}
	}
}

func TestJSONIsEncodedInPrintableASCII(t *testing.T) {
	tests := []struct{ in, out string }{
		{`{ "b" : 1 , "a" : [ ] }`, `{"a":[],"b":1}`},
		{`{"n":123456789012345678901234567890}`, `{"n":123456789012345678901234567890}`},
		{`{"n":-1.50e+10}`, `{"n":-1.50e+10}`},
		{"{\"a\":\"\x7f\"}", `{"a":"\u007f"}`},
		{"{\"a\":\"\u0080\u009f\"}", `{"a":"\u0080\u009f"}`},
		{`{"a":"é€😀"}`, `{"a":"\u00e9\u20ac\ud83d\ude00"}`},
		{`{"é":1}`, `{"\u00e9":1}`},
		{"{\"a\":\"\u2028\ufffd\uffff\"}", `{"a":"\u2028\ufffd\uffff"}`},
		{`{"a":"<&>\u0000\r\n"}`, `{"a":"<&>\u0000\r\n"}`},
	}
	for _, test := range tests {
		objects, err := decodeObjects(test.in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := encodeASCII(objects[0])
		if err != nil || string(got) != test.out {
			t.Errorf("%s becomes %s, error %v; want %s", test.in, got, err, test.out)
		}
	}
}

func anyJSON(depth int) *rapid.Generator[any] {
	if depth == 0 {
		return rapid.Just(any(false))
	}
	return rapid.OneOf(
		rapid.Just(any(nil)), rapid.Just(any(true)),
		rapid.Map(rapid.StringN(0, 8, -1), func(s string) any { return s }),
		rapid.Map(rapid.Int(), func(n int) any { return json.Number(fmt.Sprint(n)) }),
		rapid.Map(rapid.SliceOfN(anyJSON(depth-1), 0, 3), func(a []any) any { return a }),
		rapid.Map(rapid.MapOfN(anyKey, anyJSON(depth-1), 0, 3), func(m map[string]any) any { return m }),
	)
}

var anyKey = rapid.OneOf(rapid.StringN(0, 6, -1), rapid.SampledFrom([]string{"a", `\`, `"`, `\u0041`, `\u00e9`, "é", "{", "},", ":"}))

// The text of a key as it is stored is not the key.
func TestLookupComparesCharacters(t *testing.T) {
	object := []byte(`{"\u00e9":1,"a\\":2,"b":{"c":3}}`)
	for key, want := range map[string]string{"é": "1", `a\`: "2", "b": `{"c":3}`, `\u00e9`: "", `a\\`: "", "c": "", "": ""} {
		if got, ok := lookup(object, key); string(got) != want || ok != (want != "") {
			t.Errorf("key %q: got %s, %t; want %s", key, got, ok, want)
		}
	}
}

func TestLookupFindsEachKeyAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		object := rapid.MapOfN(anyKey, anyJSON(4), 0, 6).Draw(t, "object")
		text, err := encodeASCII(object)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range text {
			if c < ' ' || c >= 0x7f {
				t.Fatalf("not printable ASCII: %q", text)
			}
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		keys := rapid.SliceOfN(anyKey, 5, 5).Draw(t, "other keys")
		for key := range want {
			keys = append(keys, key)
		}
		for _, key := range keys {
			value, ok := lookup(text, key)
			if _, there := want[key]; ok != there || string(value) != string(want[key]) {
				t.Fatalf("key %q of %s: got %s, %t; want %s", key, text, value, ok, want[key])
			}
		}
	})
}
