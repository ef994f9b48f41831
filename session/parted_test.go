package session

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// A stored record whose body has two parts, byte for byte.
var goldenParted = strings.Replace(goldenRecord, " plain\n"+`{"user":"alice \u00e9"}`+"\n"+`{"jar":1}`, " plain,9\n"+`{"jar":1}{"user":"alice \u00e9"}`, 1)

func opened(t Token, value []byte) (record, error) {
	r, header, body, err := decodeRecord(value)
	if err == nil {
		err = r.openBody(t, header, body)
	}
	return r, err
}

func TestPartedFormat(t *testing.T) {
	token, r := golden(t)
	r.parted = true
	if got := string(r.encode(token)); got != goldenParted {
		t.Errorf("got\n%s\nwant\n%s", got, goldenParted)
	}
	if got, err := opened(token, []byte(goldenParted)); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, error %v; want %+v", got, err, r)
	}
	// What a worker has edited.
	edited := strings.NewReplacer(" plain,9", " plain,11", `{"jar":1}`, `{"jar": 1 }`, `"user":`, `"user" : `).Replace(goldenParted)
	if got, err := opened(token, []byte(edited)); err != nil || string(got.private) != `{"jar":1}` || !bytes.Equal(got.data, r.data) {
		t.Errorf("got %+v, error %v", got, err)
	}
	for _, form := range []string{"plain,", "plain,09", "plain,+9", "plain,-1", "plain,9,9", "plain,40000000000000000000", "plain,1048605", "sealed,27", "sealed,", "Plain,9", ",9", "9"} {
		value := strings.Replace(goldenParted, "plain,9", form, 1)
		if _, err := opened(token, []byte(value)); !errors.Is(err, errCorrupt) {
			t.Errorf("%s: error %v", form, err)
		}
	}
}

// Each part is of this record alone, and none of its bytes can be left out.
func TestPartsAreOneRecord(t *testing.T) {
	token, r := goldenSealed(t)
	r.parted = true
	one, two := r.encode(token), r.encode(token)
	start := bytes.IndexByte(one, '\n') + 1
	data := start + r.split
	if got, err := opened(token, one); err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("got %+v, error %v; want %+v", got, err, r)
	}
	join := func(texts ...[]byte) []byte { return bytes.Join(texts, nil) }
	values := map[string][]byte{
		"the data of another record with the same header": join(one[:data], two[data:]),
		"the first part of another one":                   join(one[:start], two[start:data], one[data:]),
		"the parts in the other order":                    join(one[:start], one[data:], one[start:data]),
		"the first part twice":                            join(one[:data], one[start:data]),
		"the data twice":                                  join(one, one[data:]),
	}
	next := r
	next.version++
	later := next.encode(token)
	values["the data of the next version"] = join(one[:data], later[len(later)-len(one)+data:])
	next = r
	next.parted = false
	whole := next.encode(token)
	values["a body of one part"] = join(one[:start], whole[bytes.IndexByte(whole, '\n')+1:])
	for end := range one {
		values["cut off"] = one[:end]
		for name, value := range values {
			if got, err := opened(token, value); !errors.Is(err, errCorrupt) || got.data != nil {
				t.Fatalf("%s (%d bytes): data %q, error %v", name, end, got.data, err)
			}
		}
	}
	for i := start; i < len(one); i++ {
		flipped := bytes.Clone(one)
		flipped[i] ^= 1
		if got, err := opened(token, flipped); !errors.Is(err, errCorrupt) || got.data != nil {
			t.Fatalf("byte %d: data %q, error %v", i, got.data, err)
		}
	}
}

// Whatever is cut off, the beginning of a record is either the session without its
// data, or not enough.
func TestOpenPrefix(t *testing.T) {
	policy := DefaultPolicy()
	policy.Exposed = 100
	for _, sealed := range []bool{true, false} {
		for _, parted := range []bool{true, false} {
			token, r := golden(t)
			r.sealed, r.parted = sealed, parted
			r.data = []byte(`{"user":"alice \u00e9","text":"` + strings.Repeat("x", 200) + `"}`)
			r.verifier = token.verifier(r.scope, r.form())
			value := r.encode(token)
			site := Site{Scope: r.scope, Realm: r.realm}
			enough := bytes.IndexByte(value, '\n') + 1 + r.split + sealOverhead + policy.Exposed
			for size := range len(value) {
				s, v, err := openPrefix(value[:size], true, token, site, policy, r.created)
				want := verdictCut
				if parted && size > enough {
					want = verdictLive
				}
				if v != want || err != nil || (s != nil) != (v == verdictLive) {
					t.Fatalf("%d of %d bytes: %v, verdict %d, error %v", size, len(value), s, v, err)
				}
				if s != nil && (!s.Unread() || s.data != nil || string(s.private) != string(r.private) || s.subject != r.subject || !s.HasData()) {
					t.Fatalf("%d of %d bytes: %+v", size, len(value), s.record)
				}
			}
			if s, v, err := openPrefix(value, false, token, site, policy, r.created); v != verdictLive || err != nil || s.Unread() || !bytes.Equal(s.Data(), r.data) {
				t.Errorf("the whole: verdict %d, error %v", v, err)
			}
			if sealed && parted { // of somebody who can write to the store
				forged := bytes.Replace(value, []byte(" alice"), []byte(" malic"), 1)
				if s, v, _ := openPrefix(forged[:len(value)-1], true, token, site, policy, r.created); v != verdictCorrupt || s != nil {
					t.Errorf("another subject: verdict %d", v)
				}
			}
		}
	}
}
