package session

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// Whoever has the secret and can write to the store can seal what we would not.
func TestSealedBodyThatIsNotJSON(t *testing.T) {
	for _, data := range []string{
		`{}}`, `{"a"}`, `{"a":}`, `{"a":,"b":1}`, `{a:1}`, `{"a":1,}`, `{"a":[}`, `{"a":"}`, `{"a":"\"}`, `{"a":"\u12"}`, `{"a":01}`,
		`{"a":tru}`, `{"a": 1}`, `{ "a":1}`, `{"a":1 }`, `{,}`, `{"a":1}{}`, `{"a":-}`, `{"a":1.}`, `{"a":1e}`, `{"a":[1,]}`, `{"a":[1 ,2]}`,
	} {
		token, r := golden(t)
		r.sealed = true
		r.verifier = token.verifier(r.scope, r.form())
		now := r.created
		for _, private := range []bool{false, true} {
			if r.data, r.private = []byte(data), nil; private {
				r.data, r.private = []byte("{}"), []byte(data)
			}
			s, v, err := openRecord(r.encode(token), token, Site{Scope: r.scope, Realm: r.realm}, DefaultPolicy(), now)
			if v != verdictCorrupt || err == nil {
				t.Errorf("%s: %v, %v", data, v, err)
				func() {
					defer func() {
						if p := recover(); p != nil {
							t.Errorf("%s: a panic: %v", data, p)
						}
					}()
					s.Has("a", "b")
					s.Has("b", "b")
					s.Text("a.b")
				}()
			}
		}
	}
}

// What the encoder writes is compact JSON, and nothing else is.
func TestCompactJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := encodeASCII(anyJSON(3).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		if i := rapid.IntRange(-1, len(text)-1).Draw(t, "at"); i >= 0 {
			text = append(bytes.Clone(text[:i]), append([]byte(rapid.StringMatching(`[]\[{}",:\\ 0-9a-u.eE+-]{0,2}`).Draw(t, "edit")), text[min(i+1, len(text)):]...)...)
		}
		var compact bytes.Buffer
		want := json.Compact(&compact, text) == nil && bytes.Equal(compact.Bytes(), text)
		if got := compactJSON(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	})
}

func BenchmarkCompactJSON(b *testing.B) {
	text := []byte(data500())
	b.Run("compactJSON", func(b *testing.B) {
		for b.Loop() {
			compactJSON(text)
		}
	})
	b.Run("json.Valid", func(b *testing.B) {
		for b.Loop() {
			json.Valid(text)
		}
	})
}
