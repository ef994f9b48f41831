package session

import (
	"bytes"
	"testing"
)

func FuzzToken(f *testing.F) {
	f.Add(goldenToken)
	f.Add(goldenToken + ".AAAAAAAA")
	f.Add("")
	f.Add("AAAAAAAAAAAAAAAAAAAAAA.\r\nBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA")
	f.Fuzz(func(t *testing.T, s string) {
		token, tag, ok := ParseCookie(s)
		if !ok {
			if token != (Token{}) || tag != "" {
				t.Error("a token though it is none")
			}
			return
		}
		if token.Cookie(tag) != s || !ValidID(token.ID) {
			t.Errorf("%q is accepted, and written as %q", s, token.Cookie(tag))
		}
	})
}

func FuzzControlHeaders(f *testing.F) {
	f.Add("", `{"user":"alice","cart":{"sku1":2},"draft":null}`, "a, b", "renew, max-age=60")
	f.Add(`{"user":null,"a":{"b":{"c":null}}}`, `user=alice&lang=f%C3%A9`, "", "")
	f.Add(`{"a":null},{"user":1}`, `{"a":{"b":1}},{"a":{"b":{"c":"\ud83d\ude00"}}},{"a":null}`, "", "clear, if-version=1")
	f.Add("{}", `{"user":1e400,"":[[{"\u0000":-0}]]}`, "user", "no-touch,revoke-others,destroy")
	policy := DefaultPolicy()
	policy.MaxData = 2000
	f.Fuzz(func(t *testing.T, put, set, unset, control string) {
		lines := func(s string) []string {
			if s == "" {
				return nil
			}
			return []string{s}
		}
		p, err := parsePatch(lines(put), lines(set), lines(unset), lines(control), policy.MaxData)
		if err != nil {
			if p != nil {
				t.Error("half of a patch")
			}
			return
		}
		was := content{data: []byte(`{"a":{"b":[1]},"user":"x"}`), subject: "x"}
		next, _, err := p.apply(was, policy)
		if err != nil {
			return
		}
		if len(next.data) > policy.MaxData || len(next.subject) > maxSubject || !printable(next.data) || !compactObject(next.data) {
			t.Errorf("data %q, subject %q", next.data, next.subject)
		}
		again, _, err := p.apply(was, policy)
		if err != nil || !bytes.Equal(again.data, next.data) || again.subject != next.subject {
			t.Errorf("applied again: %q, error %v; first %q", again.data, err, next.data)
		}
		twice, _, err := p.apply(next, policy)
		if err != nil || twice.subject != next.subject {
			t.Errorf("on its own result: %q, error %v; first %q", twice.data, err, next.data)
		}
		for _, c := range EncodeValue(next.subject) {
			if c < ' ' || c >= 0x7f {
				t.Errorf("subject %q is sent as %q", next.subject, EncodeValue(next.subject))
			}
		}
		objects, err := decodeObjects(string(next.data))
		if err != nil || len(objects) != 1 {
			t.Fatalf("%q can't be read back: %v", next.data, err)
		}
		for key := range objects[0] {
			if _, ok := lookup(next.data, key); !ok {
				t.Errorf("lookup does not find %q in %q", key, next.data)
			}
		}
	})
}

func FuzzRecord(f *testing.F) {
	token, r := golden(f)
	f.Add([]byte(goldenRecord))
	r.sealed = true
	f.Add(r.encode(token))
	r.parted = true
	f.Add(r.encode(token))
	f.Add([]byte(goldenParted))
	f.Add([]byte("cs2 000000000000002a "))
	f.Add(bytes.Replace([]byte(goldenRecord), []byte("user\""), nil, 1))
	pr := protocol(f, "", Forward{Key: "user"}, Forward{Key: "a"})
	f.Fuzz(func(t *testing.T, value []byte) {
		if s, v, _ := openPrefix(value, true, token, Site{Scope: r.scope, Realm: r.realm}, DefaultPolicy(), r.created); v == verdictLive && !s.Unread() {
			t.Errorf("%q is all of a session", value)
		}
		r, header, body, err := decodeRecord(value)
		if err != nil {
			return
		}
		if again := r.appendHeader(nil); !bytes.Equal(again, header) {
			t.Errorf("%q is accepted, and written as %q", header, again)
		}
		if err := r.openBody(token, header, body); err != nil {
			return
		}
		// Whatever a worker wrote can be shown and changed.
		s := &Session{token: token, record: r}
		if err := pr.Inject(map[string][]string{}, s); err != nil && len(r.data) < DefaultPolicy().Exposed/3 && len(r.subject) < 100 {
			t.Errorf("%q: %v", value, err)
		}
		p := Patch{Clear: true}
		if _, _, err := p.apply(r.content, DefaultPolicy()); err != nil {
			t.Errorf("%q can't be cleared: %v", value, err)
		}
		p = Patch{Set: []map[string]any{{"a": "b"}}}
		p.apply(r.content, DefaultPolicy())
	})
}
