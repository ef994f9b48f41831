package session

import (
	"bytes"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	token, r := golden(t)
	old := token.renew()
	r.old = [][32]byte{old.verifier(r.scope, forOld)}
	never := r
	never.old, never.renewed = nil, time.Time{}
	other := r.scope
	other.Host = "other.example"
	atRenewal, atDeadline := r.renewed, r.deadline
	spoil := func(value []byte) []byte { // the last byte of the body
		value[len(value)-1] ^= 1
		return value
	}
	flip := func(value []byte) []byte {
		if bytes.Contains(value, []byte(" sealed\n")) {
			return bytes.Replace(value, []byte(" sealed\n"), []byte(" plain\n"), 1)
		}
		return bytes.Replace(value, []byte(" plain\n"), []byte(" sealed\n"), 1)
	}
	swap := func(value []byte) []byte {
		fields := bytes.Split(value, []byte(" "))
		fields[8], fields[9] = fields[9], fields[8]
		return bytes.Join(fields, []byte(" "))
	}
	for _, sealed := range []bool{false, true} {
		r.sealed, never.sealed = sealed, sealed
		r.verifier = token.verifier(r.scope, r.form())
		never.verifier = r.verifier
		for _, test := range []struct {
			name  string
			value []byte
			token Token
			scope Scope
			now   time.Time
			want  verdict
		}{
			{"the secret", r.encode(token), token, r.scope, atRenewal, verdictLive},
			{"the last moment", r.encode(token), token, r.scope, atDeadline.Add(-1), verdictLive},
			{"the deadline", r.encode(token), token, r.scope, atDeadline, verdictExpired},
			{"the old secret", r.encode(token), old, r.scope, atRenewal.Add(staleFor - 1), verdictStale},
			{"the old secret, later", r.encode(token), old, r.scope, atRenewal.Add(staleFor), verdictForged},
			{"the old secret elsewhere", r.encode(token), old, other, atRenewal, verdictForged},
			{"another secret", r.encode(token), token.renew(), r.scope, atRenewal, verdictForged},
			{"another secret, too late", r.encode(token), token.renew(), r.scope, atDeadline, verdictForged},
			{"elsewhere", r.encode(token), token, other, atRenewal, verdictForged},
			{"with the form of the other kind", flip(r.encode(token)), token, r.scope, atRenewal, verdictForged},
			{"the old verifier as the current one", swap(r.encode(token)), old, r.scope, atRenewal, verdictForged},
			{"never renewed", never.encode(token), old, r.scope, atRenewal, verdictForged},
			{"a body that does not open", spoil(r.encode(token)), token, r.scope, atRenewal, verdictCorrupt},
			{"no record", []byte("something else"), token, r.scope, atRenewal, verdictCorrupt},
			{"nothing", nil, token, r.scope, atRenewal, verdictCorrupt},
			{"a later release", append([]byte("cs2"), r.encode(token)[3:]...), token, r.scope, atRenewal, verdictNewer},
		} {
			s, got, err := openRecord(test.value, test.token, Site{Scope: test.scope, Realm: r.realm}, DefaultPolicy(), test.now)
			if got != test.want || (err != nil) != (got == verdictCorrupt || got == verdictNewer) {
				t.Errorf("%s, sealed=%t: verdict %d, error %v; want %d", test.name, sealed, got, err, test.want)
			}
			if (s != nil) != (got == verdictLive || got == verdictExpired) || s != nil && bytes.Equal(s.data, r.data) != (got == verdictLive) {
				t.Errorf("%s, sealed=%t: session %v with verdict %d", test.name, sealed, s, got)
			}
		}
	}
	if verdict(0) == verdictLive {
		t.Error("who forgets to decide lets everybody in")
	}
}

// What a browser sends by itself to another site, or one of another realm, is no
// attack.
func TestVerdictElsewhere(t *testing.T) {
	token, r := golden(t)
	r.scope.Name = "csid"
	r.verifier = token.verifier(r.scope, r.form())
	old := token.renew()
	r.old = [][32]byte{old.verifier(r.scope, forOld)}
	site := func(change func(*Site)) Site {
		s := Site{Scope: r.scope, Realm: r.realm}
		change(&s)
		return s
	}
	for _, test := range []struct {
		name string
		site Site
		want verdict
	}{
		{"there", site(func(*Site) {}), verdictLive},
		{"another realm", site(func(s *Site) { s.Realm = "staff" }), verdictElsewhere},
		{"a longer path", site(func(s *Site) { s.Scope.Path = "/app" }), verdictElsewhere},
		{"a host below", site(func(s *Site) { s.Scope.Host = "www.example.com" }), verdictElsewhere},
		{"a Domain above", site(func(s *Site) { s.Scope.Host = "com" }), verdictElsewhere},
		{"the end of another name", site(func(s *Site) { s.Scope.Host = "anexample.com" }), verdictForged},
		{"another host", site(func(s *Site) { s.Scope.Host = "example.net" }), verdictForged},
		{"another cookie", site(func(s *Site) { s.Scope.Name = "app" }), verdictForged},
	} {
		for _, late := range []bool{false, true} {
			now := r.renewed
			if late {
				now = r.deadline
			}
			s, got, err := openRecord(r.encode(token), token, test.site, DefaultPolicy(), now)
			want := test.want
			if want != verdictForged && late {
				want = verdictExpired
			}
			if got != want || err != nil || s != nil && got == verdictElsewhere && (s.realm != r.realm || s.data != nil) {
				t.Errorf("%s, late=%t: verdict %d, session %v, error %v; want %d", test.name, late, got, s, err, want)
			}
		}
		if _, got, _ := openRecord(r.encode(token), token.renew(), test.site, DefaultPolicy(), r.renewed); got != verdictForged {
			t.Errorf("%s, another secret: verdict %d", test.name, got)
		}
		want := test.want
		if want == verdictLive {
			want = verdictStale
		}
		if _, got, _ := openRecord(r.encode(token), old, test.site, DefaultPolicy(), r.renewed); got != want {
			t.Errorf("%s, the old secret: verdict %d, want %d", test.name, got, want)
		}
	}
}
