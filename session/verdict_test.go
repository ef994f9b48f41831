package session

import (
	"bytes"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	token, r := golden(t)
	old := token.renew()
	r.oldVerifier = old.verifier(r.scope)
	never := r
	never.oldVerifier, never.renewed = [32]byte{}, time.Time{}
	other := r.scope
	other.Host = "other.example"
	atRenewal, atDeadline := r.renewed, r.deadline
	spoil := func(value []byte) []byte { // the last byte of the body
		value[len(value)-1] ^= 1
		return value
	}
	for _, sealed := range []bool{false, true} {
		r.sealed, never.sealed = sealed, sealed
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
			{"never renewed", never.encode(token), old, r.scope, atRenewal, verdictForged},
			{"a body that does not open", spoil(r.encode(token)), token, r.scope, atRenewal, verdictCorrupt},
			{"no record", []byte("something else"), token, r.scope, atRenewal, verdictCorrupt},
			{"nothing", nil, token, r.scope, atRenewal, verdictCorrupt},
			{"a later release", append([]byte("cs2"), r.encode(token)[3:]...), token, r.scope, atRenewal, verdictNewer},
		} {
			s, got, err := openRecord(test.value, test.token, test.token.verifier(test.scope), test.now)
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
