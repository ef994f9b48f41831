package session

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestTokenRoundTrip(t *testing.T) {
	token := NewToken()
	bearer := token.Bearer()
	if len(bearer) != tokenSize || len(token.ID) != idSize || tokenSize != 66 || idSize != 22 {
		t.Fatalf("token of %d bytes, id of %d", len(bearer), len(token.ID))
	}
	if got, ok := ParseToken(bearer); !ok || got != token {
		t.Errorf("parsing gives another token, or none: %t", ok)
	}
	if renewed := token.renew(); renewed.ID != token.ID || renewed.secret == token.secret {
		t.Error("renewing must change the secret alone")
	}
	if other := NewToken(); other.ID == token.ID || other.secret == token.secret {
		t.Error("two tokens are equal")
	}
}

// A token has 256 bits that nobody can guess, and an id that is nobody else's.
func TestTokensAreRandom(t *testing.T) {
	const n = 4096
	seen := map[string]bool{}
	var ones [8 * len(Token{}.secret)]int
	for range n {
		for _, token := range []Token{NewToken(), NewToken().renew()} {
			seen[token.ID], seen[string(token.secret[:])] = true, true
			for bit := range ones {
				ones[bit] += int(token.secret[bit/8] >> (bit % 8) & 1)
			}
		}
	}
	if len(ones) != 256 || len(seen) != 4*n {
		t.Errorf("%d bits; %d of %d ids and secrets differ", len(ones), len(seen), 4*n)
	}
	for bit, count := range ones { // 9 standard deviations
		if count < n-9*45 || count > n+9*45 {
			t.Errorf("bit %d is set in %d of %d secrets", bit, count, 2*n)
		}
	}
}

func TestTokenParsingIsStrict(t *testing.T) {
	const id, secret = "AAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"
	const good = id + "." + secret
	if _, ok := ParseToken(good); !ok {
		t.Fatal("the sample is no token")
	}
	bad := map[string]string{
		"padded":               good + "=",
		"quoted":               `"` + good + `"`,
		"no dot":               strings.Replace(good, ".", "-", 1),
		"dot moved":            "A." + id[2:] + secret + "A",
		"CR in the id":         id[:10] + "\r" + id[11:] + "." + secret,
		"LF in the id":         id[:10] + "\n" + id[11:] + "." + secret,
		"CR in the secret":     id + "." + secret[:20] + "\r" + secret[21:],
		"LF in the secret":     id + "." + secret[:20] + "\n" + secret[21:],
		"LFs in the secret":    id + "." + secret[:20] + "\n\n\n\n" + secret[24:],
		"space":                id + "." + secret[:42] + " ",
		"NUL":                  id + "." + "\x00" + secret[1:],
		"not ASCII":            id + "." + "é" + secret[2:],
		"padding for a byte":   id + "." + secret[:42] + "=",
		"trailing bits, id":    id[:21] + "B." + secret,
		"trailing bits":        id + "." + secret[:42] + "B",
		"standard alphabet +":  id + "." + "+" + secret[1:],
		"standard alphabet /":  id + "." + "/" + secret[1:],
		"standard alphabet id": "+/" + id[2:] + "." + secret,
	}
	for n := range tokenSize + 10 {
		if n != tokenSize {
			bad[fmt.Sprint(n, " bytes")] = (good + good)[:n]
		}
	}
	for name, s := range bad {
		if got, ok := ParseToken(s); ok || got != (Token{}) {
			t.Errorf("%s: %q is accepted", name, s)
		}
	}
	for _, s := range []string{"", id[:21], id + "A", id[:21] + "B", id[:21] + "=", id[:20] + "\r\n"} {
		if ValidID(s) {
			t.Errorf("ValidID(%q)", s)
		}
	}
}

func TestCookieParsingIsStrict(t *testing.T) {
	token := NewToken()
	bearer := token.Bearer()
	for _, tag := range []string{"", "AAAAAAAA", "Zz09-_aB"} {
		value := token.Cookie(tag)
		if got, gotTag, ok := ParseCookie(value); !ok || got != token || gotTag != tag {
			t.Errorf("the tag %q comes back as %q, or the token does not: %t", tag, gotTag, ok)
		}
		if want := bearer + strings.TrimSuffix("."+tag, "."); value != want {
			t.Errorf("with the tag %q the value is %q", tag, value)
		}
	}
	for _, s := range []string{
		"", ".", bearer + ".", bearer + ".AAAA", bearer + ".AAAAAAA", bearer + ".AAAAAAAAA", bearer + ".AAAAAAA=", bearer + ".AAAAAA==",
		bearer + ".AAAA AAA", bearer + ".AAAA+AAA", bearer + ".AAAA/AAA", bearer + ".AAAA.AAA", bearer + ".AAAA\r\nAA", bearer + ".AAAAAAA\n",
		bearer + ".AAAAAA\u00e9", bearer + "-AAAAAAAA", bearer + "AAAAAAAAA", bearer + ".AAAAAAAA.AAAAAAAA", ".AAAAAAAA" + bearer,
		bearer[1:] + "A.AAAAAAAA", bearer[:len(bearer)-1] + "B.AAAAAAAA", bearer[:22] + "-" + bearer[23:] + ".AAAAAAAA",
	} {
		if got, tag, ok := ParseCookie(s); ok || got != (Token{}) || tag != "" {
			t.Errorf("%q is accepted", s)
		}
	}
	if _, ok := ParseToken(token.Cookie("AAAAAAAA")); ok {
		t.Error("a cookie's value with a tag is no token")
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	token := NewToken()
	s := &Session{token: token, record: record{content: content{data: []byte(`{"password":"hunter2"}`)}}}
	secret := token.secret[:]
	hidden := []string{
		"hunter2", base64url.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret),
		hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)), fmt.Sprint(secret),
		strings.Trim(fmt.Sprint(secret), "[]"), fmt.Sprintf("%#v", secret), string(secret), fmt.Sprintf("%q", secret),
	}
	check := func(how, text string) {
		t.Helper()
		for _, h := range hidden {
			if strings.Contains(text, h) {
				t.Errorf("%s prints %q", how, text)
			}
		}
	}
	if got := fmt.Sprintf("%v %s", token, s); got != token.ID+".REDACTED session "+token.ID {
		t.Errorf("they print as %s", got)
	}
	values := map[string]any{
		"Token": token, "*Token": &token, "*Session": s, "Session": *s, "[]Token": []Token{token}, "error": fmt.Errorf("%v", token),
		"struct": struct{ T Token }{token}, "struct of *Session": struct{ S *Session }{s}, "struct of Session": struct{ S Session }{*s},
		"map": map[string]Token{"t": token}, "map key": map[Token]int{token: 1}, "Result": []any{s, token},
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%c", "%t", "% x", "%10.3v"} {
			check(name+" "+verb, fmt.Sprintf(verb, v))
		}
		if encoded, err := json.Marshal(v); err == nil {
			check("json", string(encoded))
		}
		line, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{}).EncodeEntry(zapcore.Entry{}, []zap.Field{zap.Any("v", v), zap.Reflect("r", v)})
		if err != nil {
			t.Fatal(err)
		}
		check("json", line.String())
	}
}

func TestVerifierBindsEveryPart(t *testing.T) {
	token := NewToken()
	scope := Scope{Name: "a", Host: "bc", Path: "/"}
	base := token.verifier(scope, forSealed)
	other := token
	other.ID = NewToken().ID
	for name, v := range map[string][32]byte{
		"secret":             token.renew().verifier(scope, forSealed),
		"id":                 other.verifier(scope, forSealed),
		"name":               token.verifier(Scope{"A", "bc", "/"}, forSealed),
		"host":               token.verifier(Scope{"a", "bd", "/"}, forSealed),
		"path":               token.verifier(Scope{"a", "bc", "/x"}, forSealed),
		"moved border":       token.verifier(Scope{"ab", "c", "/"}, forSealed),
		"moved border, path": token.verifier(Scope{"a", "b", "c/"}, forSealed),
		"use, plain":         token.verifier(scope, forPlain),
		"use, old":           token.verifier(scope, forOld),
		"all in one":         token.verifier(Scope{"abc/", "", ""}, forSealed),
	} {
		if v == base {
			t.Errorf("another %s gives the same verifier", name)
		}
	}
	if token.verifier(scope, forSealed) != base {
		t.Error("the verifier is not a function")
	}
	if indexKey("ab", "c") == indexKey("a", "bc") || indexKey("a", "b") == indexKey("b", "a") {
		t.Error("index keys collide")
	}
	// A hash is fixed for good: stored verifiers must go on matching.
	if got, want := indexKey("example.com", "alice"), "WwcLcoqYBmADmLhwFWokol-xbWobhc8B70_vOdNu7SA"; got != want {
		t.Errorf("IndexKey gives %s, want %s", got, want)
	}
}
