package session

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const goldenToken = "AAECAwQFBgcICQoLDA0ODw.EBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8"

// A stored record, byte for byte: it has to stay readable.
const goldenRecord = "cs1 000000000000002a 3 1790000000000 1790000100000 1790000000000 1790086400000 idle " +
	"_uErjOte__2Mb2flFoCPlMBIt5Fk_u7LSozhmCW7JY8 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE 1790000200000 " +
	"alice%20%C3%A9 example.com __Host-sid example.com / plain\n" +
	`{"user":"alice \u00e9"}` + "\n" + `{"jar":1}`

func golden(t testing.TB) (Token, record) {
	t.Helper()
	token, ok := ParseToken(goldenToken)
	if !ok {
		t.Fatal("the token is none")
	}
	r := record{
		version: 42, epoch: 3,
		created: time.UnixMilli(1790000000000), signedIn: time.UnixMilli(1790000100000), since: time.UnixMilli(1790000000000), deadline: time.UnixMilli(1790086400000),
		old: [][32]byte{{31: 1}}, renewed: time.UnixMilli(1790000200000),
		realm: "example.com", scope: Scope{"__Host-sid", "example.com", "/"},
		content: content{data: []byte(`{"user":"alice \u00e9"}`), private: []byte(`{"jar":1}`), subject: "alice é"},
	}
	r.verifier = token.verifier(r.scope, r.form())
	return token, r
}

func goldenSealed(t testing.TB) (Token, record) {
	t.Helper()
	token, r := golden(t)
	r.sealed = true
	r.verifier = token.verifier(r.scope, r.form())
	return token, r
}

func TestRecordFormat(t *testing.T) {
	token, r := golden(t)
	if got := string(r.encode(token)); got != goldenRecord {
		t.Errorf("got\n%s\nwant\n%s", got, goldenRecord)
	}
	got, header, body, err := decodeRecord([]byte(goldenRecord))
	if err == nil {
		err = got.openBody(token, header, body)
	}
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, error %v; want %+v", got, err, r)
	}
}

// What was sealed once must open for ever.
func TestSealedFormat(t *testing.T) {
	token, r := goldenSealed(t)
	sealed := r.encode(token)
	got, header, body, err := decodeRecord(sealed)
	if err == nil {
		err = got.openBody(token, header, body)
	}
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, error %v; want %+v", got, err, r)
	}
	if again := r.encode(token); bytes.Equal(again, sealed) {
		t.Error("sealing twice gives the same")
	}
	if len(body) != len(`{"user":"alice \u00e9"}`)+1+len(`{"jar":1}`)+12+16 {
		t.Errorf("the body has %d bytes", len(body))
	}
	for name, open := range map[string]func() error{
		"another secret": func() error { return got.openBody(token.renew(), header, body) },
		"another id":     func() error { other := token; other.ID = NewToken().ID; return got.openBody(other, header, body) },
		"another header": func() error { return got.openBody(token, append([]byte(nil), header[1:]...), body) },
		"no nonce":       func() error { return got.openBody(token, header, body[:5]) },
		"nothing":        func() error { return got.openBody(token, header, nil) },
	} {
		if err := open(); !errors.Is(err, errCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

var anyText = rapid.OneOf(
	rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	rapid.SampledFrom([]string{"", "-", " ", "%2D", "%", "a b", "idle\n", "- -"}),
)

func anyRecord(t *rapid.T) (Token, record) {
	millis := func(label string) time.Time {
		return time.UnixMilli(rapid.Int64Range(1, 1<<45).Draw(t, label))
	}
	r := record{
		version: rapid.Uint64Min(1).Draw(t, "version"), epoch: rapid.Uint64Max(1<<62).Draw(t, "epoch"),
		created: millis("created"), since: millis("since"), deadline: millis("deadline"), remembered: rapid.Bool().Draw(t, "remembered"),
		realm: anyText.Draw(t, "realm"), sealed: rapid.Bool().Draw(t, "sealed"),
		scope: Scope{anyText.Draw(t, "name"), anyText.Draw(t, "host"), anyText.Draw(t, "path")},
	}
	if rapid.Bool().Draw(t, "signed in") {
		if r.subject = anyText.Draw(t, "subject"); r.subject != "" {
			r.signedIn = millis("signed in")
		}
	}
	if rapid.Bool().Draw(t, "was renewed") {
		for range rapid.IntRange(1, maxOld).Draw(t, "old verifiers") {
			r.old = append(r.old, [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "old verifier")))
		}
		r.renewed = millis("renewed")
	}
	if rapid.Bool().Draw(t, "labelled") {
		r.label = CleanLabel(anyText.Draw(t, "label"))
		r.relabelled = rapid.Uint64Max(min(r.version, 1<<62)-1).Draw(t, "relabelled")
	}
	data, err := encodeASCII(rapid.MapOfN(anyKey, anyJSON(3), 0, 4).Draw(t, "data"))
	if err != nil {
		t.Fatal(err)
	}
	r.data, r.parted = data, rapid.Bool().Draw(t, "parted")
	if rapid.Bool().Draw(t, "with private") {
		r.private = []byte(`{"p":1}`)
	}
	token := NewToken()
	r.verifier = token.verifier(r.scope, r.form())
	return token, r
}

func TestRecordOfClients(t *testing.T) {
	token, r := golden(t)
	r.client = Client{IP: "192.0.2.1", UserAgent: "Mozilla/5.0 (x)\r\nX: é"}
	r.signInClient = Client{IP: "2001:db8::1"}
	value := r.encode(token)
	const want = " plain 192.0.2.1 Mozilla/5.0%20(x)%0D%0AX:%20%C3%A9 2001:db8::1 -\n"
	if !strings.Contains(string(value), want) {
		t.Errorf("%q has no %q", value, want)
	}
	got, header, body, err := decodeRecord(value)
	if err == nil {
		err = got.openBody(token, header, body)
	}
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, error %v; want %+v", got, err, r)
	}
	long := Client{IP: strings.Repeat("1", 100), UserAgent: strings.Repeat("é", 300) + "\xff"}.clipped()
	if len(long.IP) != maxIP || long.UserAgent != strings.Repeat("é", 128) || !long.valid() {
		t.Errorf("clipped: %+v", long)
	}
}

func TestRecordOfLabel(t *testing.T) {
	for _, tt := range []struct {
		client     Client
		label      string
		relabelled uint64
		want       string
	}{
		{Client{}, "Zoë of Sales", 0, " plain - - - - Zo%C3%AB%20of%20Sales 0\n"},
		{Client{IP: "192.0.2.1"}, "-", 41, " plain 192.0.2.1 - - - %2D 41\n"},
		{Client{}, "", 2, " plain - - - - - 2\n"}, // it was taken away
	} {
		token, r := golden(t)
		r.client, r.label, r.relabelled = tt.client, tt.label, tt.relabelled
		value := r.encode(token)
		if !strings.Contains(string(value), tt.want) {
			t.Errorf("%q has no %q", value, tt.want)
		}
		got, header, body, err := decodeRecord(value)
		if err == nil {
			err = got.openBody(token, header, body)
		}
		if err != nil || !reflect.DeepEqual(got, r) || got.shownVersion() != 42-tt.relabelled {
			t.Errorf("got %+v, error %v; want %+v", got, err, r)
		}
	}
}

func TestCleanLabel(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		" Zoë  of\tSales\u00a0\r\n2\u2028":    "Zoë of Sales 2",
		"\x1b[2J\u009b1m\u202e\u200b\x00\xff": "\ufffd[2J\ufffd1m\ufffd\ufffd\ufffd?",
		strings.Repeat("é", 200):              strings.Repeat("é", 128),
		strings.Repeat("\x01", 300):           strings.Repeat("\ufffd", 85), // three bytes each
		strings.Repeat("a", 255) + " b":       strings.Repeat("a", 255),
		strings.Repeat("\x01", 85) + " b":     strings.Repeat("\ufffd", 85),
	} {
		if got := CleanLabel(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		clean := CleanLabel(anyText.Draw(t, "text"))
		if again := CleanLabel(clean); again != clean || len(clean) > maxLabel {
			t.Fatalf("%q becomes %q", clean, again)
		}
	})
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token, r := anyRecord(t)
		value := r.encode(token)
		if v, ok := ParseHead(value); !ok || v != r.version {
			t.Fatalf("the head of %q", value)
		}
		got, header, body, err := decodeRecord(value)
		if err == nil {
			err = got.openBody(token, header, body)
		}
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Fatalf("%q\ngives %+v, error %v\nwant  %+v", value, got, err, r)
		}
		for _, c := range header {
			if c < ' ' || c >= 0x7f {
				t.Fatalf("the header is not printable: %q", header)
			}
		}
	})
}

// A worker may write a plain record with spaces in it.
func TestPlainBodyIsCompacted(t *testing.T) {
	token, r := golden(t)
	value := strings.Replace(string(r.encode(token)), `{"jar":1}`, `{ "jar" : 1 }`, 1)
	got, header, body, err := decodeRecord([]byte(value))
	if err == nil {
		err = got.openBody(token, header, body)
	}
	if err != nil || string(got.private) != `{"jar":1}` || PrivateValue(got.private, "jar") != "1" {
		t.Errorf("private is %s, %v", got.private, err)
	}
}

// Every change of a byte of the header line is noticed: it is corrupt, of a
// newer format, bound to another token, or does not open.
func TestEveryByteOfTheHeaderCounts(t *testing.T) {
	token, r := goldenSealed(t)
	value := r.encode(token)
	end := bytes.IndexByte(value, '\n')
	accepted := func(value []byte) bool {
		got, header, body, err := decodeRecord(value)
		if err != nil {
			if !errors.Is(err, errCorrupt) && !errors.Is(err, errNewer) {
				t.Errorf("error %v", err)
			}
			return false
		}
		if !bytes.Equal(got.appendHeader(nil), header) {
			t.Errorf("two spellings: %q", header)
		}
		return got.verifier == token.verifier(r.scope, r.form()) && got.openBody(token, header, body) == nil
	}
	if !accepted(value) {
		t.Fatal("the sample is refused")
	}
	for i := range end + 1 {
		for bit := range 8 {
			flipped := bytes.Clone(value)
			flipped[i] ^= 1 << bit
			if accepted(flipped) {
				t.Errorf("byte %d: %q for %q is accepted", i, flipped[i], value[i])
			}
		}
		if deleted := append(bytes.Clone(value[:i]), value[i+1:]...); accepted(deleted) {
			t.Errorf("byte %d: deleting %q is accepted", i, value[i])
		}
		for _, c := range []byte(" \n\r\t0A-%\x00\x7f\xff") {
			if inserted := append(append(bytes.Clone(value[:i]), c), value[i:]...); accepted(inserted) {
				t.Errorf("byte %d: inserting %q is accepted", i, c)
			}
		}
	}
	for i := end + 1; i < len(value); i++ {
		flipped := bytes.Clone(value)
		flipped[i] ^= 1
		if accepted(flipped) || accepted(value[:i]) {
			t.Errorf("byte %d of the body: a change is accepted", i)
		}
	}
}

const (
	oldVerifier = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"
	tombstone   = "cs1 000000000000002b 4 1790000000000 0 1790000200000 1790000260000 replaced " +
		"_uErjOte__2Mb2flFoCPlMBIt5Fk_u7LSozhmCW7JY8 " + oldVerifier + "," + oldVerifier + " 1790000200000 " +
		"- example.com __Host-sid example.com / plain\n"
)

func TestTombstoneFormat(t *testing.T) {
	r, _, _, err := decodeRecord([]byte(tombstone))
	if err != nil || !r.replaced || len(r.old) != 2 || string(r.encode(Token{})) != tombstone {
		t.Errorf("got %+v, %v", r, err)
	}
	// Its verifier is nobody's: not even whoever has a secret for it gets in.
	token, _ := ParseToken(goldenToken)
	site := Site{Scope: r.scope, Realm: r.realm}
	if _, v, _ := openRecord([]byte(tombstone), token, site, DefaultPolicy(), r.renewed); v != verdictForged {
		t.Errorf("verdict %d", v)
	}
	token, r = golden(t)
	now := time.UnixMilli(1790000230000)
	first, again := r.tombstone(token, now), r.tombstone(token, now)
	if bytes.Equal(first.Value, again.Value) || first.Version != r.version+1 || first.TTL != staleFor || !first.Durable {
		t.Errorf("got %+v and %+v", first, again)
	}
	if _, v, err := openRecord(first.Value, token, site, DefaultPolicy(), now.Add(staleFor-1)); v != verdictReplaced || err != nil {
		t.Errorf("the secret: verdict %d, %v", v, err)
	}
	if _, v, err := openRecord(first.Value, token, site, DefaultPolicy(), now.Add(staleFor)); v != verdictForged || err != nil {
		t.Errorf("the secret, later: verdict %d, %v", v, err)
	}
}

func TestRecordDecodingIsStrict(t *testing.T) {
	change := func(old, new string) string { return strings.Replace(goldenRecord, old, new, 1) }
	clients := func(text string) string { return change(" plain\n", " plain "+text+"\n") }
	if _, _, _, err := decodeRecord([]byte(clients("192.0.2.1 a%20b - -"))); err != nil {
		t.Errorf("with a client: %v", err)
	}
	if _, _, _, err := decodeRecord([]byte(clients("- - - - a%20b 41"))); err != nil {
		t.Errorf("with a label: %v", err)
	}
	for name, value := range map[string]string{
		"label of nothing":    clients("- - - - - 0"),
		"label alone":         clients("a 0"),
		"label's number":      clients("- - - - a"),
		"label's number, odd": clients("- - - - a 042"),
		"label's number, big": clients("- - - - a 42"), // of the 42 commits, one has made it
		"label too many":      clients("- - - - a 0 b"),
		"long label":          clients("- - - - " + strings.Repeat("a", 257) + " 0"),
		"label's blanks":      clients("- - - - a%20%20b 0"),
		"label's bytes":       clients("- - - - %1B 0"),
		"clients of nothing":  clients("- - - -"),
		"a client too few":    clients("192.0.2.1 a"),
		"a client too many":   clients("192.0.2.1 a 192.0.2.1 a b"),
		"long user agent":     clients("192.0.2.1 " + strings.Repeat("a", 257) + " - -"),
		"user agent's bytes":  clients("192.0.2.1 %FF - -"),
		"empty":               "",
		"head alone":          "cs1 000000000000002a ",
		"no line feed":        strings.ReplaceAll(goldenRecord, "\n", " "),
		"version 0":           change("002a", "0000"),
		"upper-case version":  change("002a", "002A"),
		"leading zero":        change(" 3 ", " 03 "),
		"sign":                change(" 3 ", " +3 "),
		"huge epoch":          change(" 3 ", " 9223372036854775808 "),
		"no creation":         change("1790000000000", "0"),
		"no begin":            change("1790000000000 1790086400000", "0 1790086400000"),
		"no deadline":         change("1790086400000", "0"),
		"signed in, never":    change("1790000100000", "0"),
		"nobody, signed in":   change("alice%20%C3%A9", "-"),
		"renewed, never":      change("1790000200000", "0"),
		"no old verifier":     change("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE", "-"),
		"short verifier":      change("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE", "AAAA"),
		"verifier with CR":    change("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\rAE"),
		"verifier's last bit": change("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAF"),
		"unknown word":        change(" idle ", " busy "),
		"five old verifiers":  change(oldVerifier, oldVerifier+strings.Repeat(","+oldVerifier, 4)),
		"no second verifier":  change(oldVerifier, oldVerifier+","),
		"no first verifier":   change(oldVerifier, ","+oldVerifier),
		"tombstone of a user": strings.Replace(tombstone, " - example.com", " alice example.com", 1),
		"tombstone of now":    strings.Replace(tombstone, oldVerifier+" 1790000200000", "- 0", 1),
		"tombstone's body":    tombstone + "{}",
		"unknown body":        change(" plain\n", " opened\n"),
		"field too many":      change(" plain\n", " x plain\n"),
		"field too few":       change(" /", ""),
		"trailing space":      change(" plain\n", " plain \n"),
		"two spaces":          change(" idle ", "  idle "),
		"raw byte":            change("alice", "ali\xffce"),
		"needless escape":     change("alice", "%61lice"),
		"lower-case escape":   change("%C3", "%c3"),
		"cut escape":          change("%C3%A9 ", "%C "),
		"signed escape":       change("%C3", "%+3"),
		"long subject":        change("alice", strings.Repeat("a", 1025)),
		"long header":         change("example.com", strings.Repeat("a", 16<<10)),
	} {
		if _, _, _, err := decodeRecord([]byte(value)); !errors.Is(err, errCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for _, value := range []string{"cs2 ", "cs10 anything", "cs999 \n", "cs4294967295 "} {
		_, _, _, err := decodeRecord([]byte(value))
		if newer := len(value) <= 8 || value[2] != '4'; errors.Is(err, errNewer) != newer {
			t.Errorf("%q: error %v", value, err)
		}
	}
}

func TestHead(t *testing.T) {
	for _, v := range []uint64{0, 1, 42, 1<<64 - 1} {
		head := AppendHead([]byte("x"), v)[1:]
		if got, ok := ParseHead(head); !ok || got != v || len(head) != HeadSize {
			t.Errorf("%q gives %d, %t", head, got, ok)
		}
	}
	good := string(AppendHead(nil, 42))
	for _, bad := range []string{"", good[:HeadSize-1], "cs2" + good[3:], "CS1" + good[3:], strings.ToUpper(good), good[:HeadSize-1] + "x", "cs1 000000000000002g ", "cs1 +00000000000002a "} {
		if _, ok := ParseHead([]byte(bad)); ok {
			t.Errorf("%q is accepted", bad)
		}
	}
}
