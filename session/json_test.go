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
		{"high half", `{"a":"\ud83d"}`, 1, ""},
		{"high half before text", `{"a":"\ud83dxxxxxxxx"}`, 1, ""},
		{"high half before an escape", `{"a":"\ud83d\n\ude00"}`, 1, ""},
		{"high half before BMP", `{"a":"\ud83d\u0041"}`, 1, ""},
		{"two high halves", `{"a":"\ud83d\ud83d\ude00"}`, 1, ""},
		{"low half", `{"a":"\ude00"}`, 1, ""},
		{"low before high", `{"a":"\ude00\ud83d"}`, 1, ""},
		{"low half after a pair", `{"a":"\ud83d\ude00\ude00"}`, 1, ""},
		{"high half in a key", `{"\ud83d":1}`, 1, ""},
		{"high half at the end", `{"a":"\ud83d`, 0, "ends too early"},
		{"escaped backslash, then text", `{"a":"\\ud83d"}`, 1, ""},
		{"escaped backslash, then half", `{"a":"\\\ud83d"}`, 1, ""},
		{"bad escape", `{"a":"\uZZZZ"}`, 0, "invalid character"},
		{"depth 32", nested(`{"a":`, "1", "}", 32), 1, ""},
		{"depth 33", nested(`{"a":`, "1", "}", 33), 0, "deeper than 32"},
		{"depth 32 with arrays", `{"a":` + nested("[", "1", "]", 31) + `}`, 1, ""},
		{"depth 33 with arrays", `{"a":` + nested("[", "1", "]", 32) + `}`, 0, "deeper than 32"},
		{"depth 50000", `{"a":` + nested("[", "", "]", 50000) + `}`, 0, "deeper than 32"},
		{"1024 keys", manyKeys(1024), 1, ""},
		{"1025 keys", manyKeys(1025), 0, "1025 keys or more in one object, 1024"},
		{"1025 keys, nested", `{"a":` + manyKeys(1025) + `}`, 0, "1025 keys or more in one object, 1024"},
		{"key of 256 bytes", key(256), 1, ""},
		{"key of 257 bytes", key(257), 0, "257 bytes, more than 256"},
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
		{`{"a":"x\ud83dy\ude00\ud83d","\udead":"\ud83d\ude00\ude00"}`, `{"a":"x\ufffdy\ufffd\ufffd","\ufffd":"\ud83d\ude00\ufffd"}`},
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
