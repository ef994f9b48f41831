package cookiejar_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/cookiejar"
)

const https = "https://app.example.com/"

func wrapping(t testing.TB) *visitor {
	return newVisitor(t, cookiejar.Rules{
		Seal: []cookiejar.WrapRule{{Names: []string{"prefs", "seal_*"}}, {Names: []string{"bseal"}, Bound: true}},
		Sign: []cookiejar.WrapRule{{Names: []string{"lang", "sign_*"}}, {Names: []string{"bsign"}, Bound: true}, {Names: []string{"node"}, Format: "cookie-parser"}},
		Keys: []string{testKey},
	})
}

// sent returns what becomes of Set-Cookie lines on their way to the browser.
func (v *visitor) sent(target string, lines ...string) (got []string, ignored []cookiejar.Ignored) {
	v.t.Helper()
	h := http.Header{}
	if lines != nil {
		h["Set-Cookie"] = lines
	}
	before := slices.Clone(lines)
	ignored, _ = v.keeper.Send(h, v.context(target), cookiejar.Incoming{}, "", true)
	if !slices.Equal(lines, before) {
		v.t.Errorf("the old slice became %q", lines)
	}
	return h["Set-Cookie"], ignored
}

// wrap returns NAME=VALUE as the browser gets it.
func (v *visitor) wrap(target, line string) string {
	v.t.Helper()
	got, ignored := v.sent(target, line)
	if len(got) != 1 || len(ignored) != 0 {
		v.t.Fatalf("%s: sent %q, ignored %v", line, got, ignored)
	}
	pair, rest, _ := strings.Cut(got[0], ";")
	if _, want, _ := strings.Cut(line, ";"); rest != want {
		v.t.Errorf("%s: the attributes are %q", line, rest)
	}
	return pair
}

func (v *visitor) accepts(why, target, pair, want string) {
	v.t.Helper()
	var lines []string
	if want != "" {
		lines = []string{want}
	}
	if got := v.send(target, pair); !slices.Equal(got, lines) {
		v.t.Errorf("%s: %q becomes %q, want %q", why, pair, got, lines)
	}
}

func TestWrapRoundTrip(t *testing.T) {
	v := wrapping(t)
	for _, value := range []string{"en", "", "a.b.c", `"quoted, with comma"`, "\xff\u00e4", "a b", "%41", "x=y=", strings.Repeat("x", 2800)} {
		for _, name := range []string{"prefs", "lang", "seal_x", "sign_x"} {
			pair := v.wrap(https+"a", name+"="+value+"; Path=/; Max-Age=60; HttpOnly; Priority=High")
			v.accepts("as it is", https, pair, name+"="+value)
			if seals := name == "prefs" || name == "seal_x"; seals && len(value) > 9 && strings.Contains(pair, value) {
				t.Errorf("%s can be read: %s", name, pair)
			} else if !seals && !strings.HasPrefix(pair, name+"="+value+".") {
				t.Errorf("%s can't be read: %s", name, pair)
			}
		}
	}
	// Two sealed alike are not alike.
	if a, b := v.wrap(https, "prefs=x"), v.wrap(https, "prefs=x"); a == b {
		t.Error("a nonce comes twice")
	}
}

func TestWrapForgeries(t *testing.T) {
	v := wrapping(t)
	for _, name := range []string{"prefs", "lang"} {
		pair := v.wrap(https+"dir/page", name+"=en; Max-Age=60; Domain=example.com")
		const in = https + "dir/x"
		v.accepts("as it is", in, pair, name+"=en")
		v.accepts("another host of the domain", "https://other.example.com/dir/", pair, name+"=en")
		v.accepts("another host", "https://example.org/dir/", pair, "")
		v.accepts("another path", https, pair, "")
		v.accepts("another path that begins so", https+"dirx", pair, "")
		v.accepts("another name", in, strings.Replace(pair, name, "sign_x", 1), "")
		v.accepts("another name", in, strings.Replace(pair, name, "seal_x", 1), "")
		v.accepts("plain", in, name+"=en", "")
		v.accepts("nothing", in, name+"=", "")
		v.accepts("no =", in, name, "")
		_, value, _ := strings.Cut(pair, "=")
		for i := range value { // every byte counts
			for _, c := range []string{"A", "B", "-", "."} {
				if forged := value[:i] + c + value[i+1:]; forged != value {
					v.accepts("a changed byte", in, name+"="+forged, "")
				}
			}
			v.accepts("cut off", in, name+"="+value[:i], "")
		}
		// Spare bits in the last character are no second spelling.
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		for _, c := range alphabet {
			if forged := pair[:len(pair)-1] + string(c); forged != pair {
				v.accepts("another last character", in, forged, "")
			}
		}
		v.accepts("longer", in, pair+"A", "")
		v.accepts("with padding", in, pair+"=", "")
		v.accepts("spaced", in, strings.Replace(pair, "=", " = ", 1), name+"=en")
		v.accepts("in another spelling", in, strings.ToUpper(name)+"="+value, "")
		v.accepts("another between", in, "a=b; "+pair+" ;c", "a=b; "+name+"=en;c")
		v.accepts("twice", in, pair+"; "+name+"=x; "+pair, name+"=en; "+name+"=en")
		other := newVisitor(t, cookiejar.Rules{Seal: []cookiejar.WrapRule{{Names: []string{"prefs"}}}, Sign: []cookiejar.WrapRule{{Names: []string{"lang"}}}, Keys: []string{strings.Repeat("y", 32)}})
		other.accepts("another key", in, pair, "")
		late := *v
		late.now = v.now.Add(59 * time.Second)
		late.accepts("in time", in, pair, name+"=en")
		late.now = v.now.Add(60 * time.Second)
		late.accepts("too late", in, pair, "")
	}
	// A host-only value is of this host, also for its subdomains.
	for _, name := range []string{"prefs", "lang"} {
		pair := v.wrap(https, name+"=en")
		v.accepts("at home", https, pair, name+"=en")
		v.accepts("below", "https://x.app.example.com/", pair, "")
		v.accepts("above", "https://example.com/", pair, "")
	}
	// A signature can't be moved onto other attributes.
	pair := v.wrap(https, "lang=en; Max-Age=60")
	value, rest, _ := strings.Cut(pair, ".")
	_, signature, _ := strings.Cut(rest, ".")
	v.accepts("other attributes", https, value+"."+base64.RawURLEncoding.EncodeToString([]byte("0; Path=/"))+"."+signature, "")
	// Nor split in another way: "a" with attributes "bX" is not "ab" with "X".
	v.accepts("a value with dots", https, v.wrap(https, "lang=en.MDtQYXRoPS8")+"", "lang=en.MDtQYXRoPS8")
}

func TestWrapBound(t *testing.T) {
	v := wrapping(t)
	for _, name := range []string{"bseal", "bsign"} {
		v.id = ""
		if got, ignored := v.sent(https, name+"=x", "a=b"); !slices.Equal(got, []string{"a=b"}) || len(ignored) != 1 || ignored[0].Name != name {
			t.Errorf("without a session: sent %q, ignored %v", got, ignored)
		}
		v.id = "one"
		pair := v.wrap(https, name+"=x")
		v.accepts("in its session", https, pair, name+"=x")
		for _, id := range []string{"", "two", "onE"} {
			v.id = id
			v.accepts("in session "+id, https, pair, "")
		}
		// What was made before it was to be bound is worth nothing anywhere.
		v.id = ""
		loose := newVisitor(t, cookiejar.Rules{Seal: []cookiejar.WrapRule{{Names: []string{"bseal"}}}, Sign: []cookiejar.WrapRule{{Names: []string{"bsign"}}}, Keys: []string{testKey}})
		before := loose.wrap(https, name+"=x")
		loose.accepts("not bound", https, before, name+"=x")
		v.accepts("made before, without a session", https, before, "")
		v.id = "one"
		v.accepts("made before, in a session", https, before, "")
		// What is not bound is no substitute.
		v.id = ""
		unbound := v.wrap(https, map[string]string{"bseal": "prefs", "bsign": "lang"}[name]+"=x")
		_, value, _ := strings.Cut(unbound, "=")
		v.id = "one"
		v.accepts("unbound", https, name+"="+value, "")
	}
}

// TestWrapForAnotherHost has an application that makes values for hosts that are
// not its own.
func TestWrapForAnotherHost(t *testing.T) {
	v := wrapping(t)
	for _, name := range []string{"prefs", "lang"} {
		for _, domain := range []string{"other.example.net", "x.app.example.com", "pp.example.com", "com"} {
			got, ignored := v.sent(https, name+"=en; Domain="+domain, "a=b; Domain="+domain)
			if !slices.Equal(got, []string{"a=b; Domain=" + domain}) || len(ignored) != 1 || ignored[0].Name != name {
				t.Errorf("%s for %s: sent %q, ignored %v", name, domain, got, ignored)
			}
		}
		pair := v.wrap(https, name+"=en; Domain=app.example.com")
		v.accepts("its own host as Domain", "https://x.app.example.com/", pair, name+"=en")
	}
}

func TestWrapDeletes(t *testing.T) {
	v := wrapping(t)
	for _, name := range []string{"prefs", "lang", "bseal", "node"} {
		got, _ := v.sent(https, name+" = old secret ; expires=Thu, 01 Jan 1970 00:00:00 GMT; path=/")
		if want := []string{name + " =; expires=Thu, 01 Jan 1970 00:00:00 GMT; path=/"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWrapTooLarge(t *testing.T) {
	v := wrapping(t)
	for _, line := range []string{"prefs=" + strings.Repeat("x", 3100), "lang=" + strings.Repeat("x", 4060), "node=" + strings.Repeat("%20", 1360), "prefs=\x01", "lang=" + strings.Repeat("x", 5000)} {
		if got, ignored := v.sent(https, line); got != nil || len(ignored) != 1 {
			t.Errorf("%.10s of %d bytes: sent %.40q, ignored %v", line, len(line), got, ignored)
		}
	}
}

func TestRotation(t *testing.T) {
	old, next := strings.Repeat("o", 32), strings.Repeat("n", 32)
	rules := func(keys ...string) cookiejar.Rules {
		return cookiejar.Rules{
			Seal: []cookiejar.WrapRule{{Names: []string{"prefs"}}}, Sign: []cookiejar.WrapRule{{Names: []string{"lang"}}, {Names: []string{"bound"}, Bound: true}},
			Keys: keys, Harden: []cookiejar.Harden{{HTTPOnly: true}},
		}
	}
	v := newVisitor(t, rules(old))
	v.id = "one"
	got, _ := v.sent(https+"dir/page", "prefs=p; Max-Age=100; Secure; Priority=High", "lang=l; Domain=example.com; Path=/; SameSite=Strict", "bound=b; Path=/")
	var pairs []string
	for _, line := range got {
		pair, _, _ := strings.Cut(line, ";")
		pairs = append(pairs, pair)
	}
	rotated := newVisitor(t, rules(next, old))
	rotated.id, rotated.now = "one", v.now.Add(40*time.Second)
	again := func(id string, set ...string) []string {
		h := http.Header{"Cookie": {strings.Join(pairs, "; ")}}
		in := rotated.keeper.Receive(h, rotated.context(https+"dir/"), "")
		if want := []string{"prefs=p; lang=l; bound=b"}; !slices.Equal(h["Cookie"], want) {
			t.Fatalf("the application gets %q", h["Cookie"])
		}
		response := http.Header{"Set-Cookie": set}
		c := rotated.context(https + "dir/")
		c.Session = id
		_, added := rotated.keeper.Send(response, c, in, "", true)
		if lines := response["Set-Cookie"]; len(lines) != len(set)+added {
			t.Errorf("%d are added: %q", added, lines)
		}
		return response["Set-Cookie"][len(set):]
	}
	lines := again("one")
	want := []string{
		"; Secure; Priority=High; Path=/dir; Max-Age=60; HttpOnly",
		"; Domain=example.com; SameSite=Strict; Path=/; HttpOnly",
		"; Path=/; HttpOnly",
	}
	if len(lines) != len(want) {
		t.Fatalf("sent again: %q", lines)
	}
	final := newVisitor(t, rules(next))
	final.id, final.now = "one", rotated.now
	for i, line := range lines {
		pair, rest, _ := strings.Cut(line, ";")
		if ";"+rest != want[i] {
			t.Errorf("sent again with %q, want %q", rest, want[i])
		}
		name, _, _ := strings.Cut(pair, "=")
		final.accepts("under the new key", https+"dir/", pair, name+"="+name[:1])
		final.accepts("under the old key", https+"dir/", pairs[i], "")
		final.now = v.now.Add(100 * time.Second)
		if name == "prefs" {
			final.accepts("with the old end", https+"dir/", pair, "")
		}
		final.now = rotated.now
	}
	// Not what the response sets or deletes itself; not what was bound to
	// another session.
	if lines := again("one", "lang=x", "prefs=; Max-Age=0"); len(lines) != 1 || !strings.HasPrefix(lines[0], "bound=") {
		t.Errorf("beside the application's: %q", lines)
	}
	if lines := again("two"); len(lines) != 2 {
		t.Errorf("in another session: %q", lines)
	}
	if lines := again(""); len(lines) != 2 {
		t.Errorf("without a session: %q", lines)
	}
}

// TestCookieParser has what Express 5.3.0 with cookie-parser 1.4.7 (cookie-signature
// 1.2.2) sends for res.cookie(name, value) and res.cookie(name, value, {signed: true})
// with the secret testKey, and reads back as req.cookies and req.signedCookies.
func TestCookieParser(t *testing.T) {
	v := wrapping(t)
	for _, test := range []struct{ plain, signed string }{
		{"en", "s%3Aen.coguYsK00RWb1yWIZmcoIOnUnEiYlj7Q%2BLdq0PyeYSM"},
		{"tobi", "s%3Atobi.9MY%2BpIQZsW46T%2BgtdFbXvWSFPU%2BD2EMS5XhNOJgMvnE"},
		{"a.b.c", "s%3Aa.b.c.QJG4bxXyGslDd4%2BtGOVop9GVnu%2BRMOEJsgYnvoI2aEo"},
		{"", "s%3A.eWzTB4rxRjZ1PSaztVVUIv9Vo%2BJhz4R7SOlTcbm9CqI"},
		{"caf%C3%A9%20%F0%9F%98%80", "s%3Acaf%C3%A9%20%F0%9F%98%80.TrMNyZQETAyaXMLABwUVHLnZP1mhBVYGP8m3pFucbFA"},
		{"x%2By%2Fz%3D%3B%20%2C%22%25", "s%3Ax%2By%2Fz%3D%3B%20%2C%22%25.ODFzRg3jbXq6nYvO8uXsTZIWf64xeQPMPS6ftfdxwiM"},
		{"j%3A%7B%22a%22%3A1%7D", "s%3Aj%3A%7B%22a%22%3A1%7D.oUxzGzruN6DIJJLsKa2FPUV8TzKnAX9LzNCg32mIp6s"},
		{"%25zz", "s%3A%25zz.4lu8fTGNH34TuCmpOb5ox3pBBk07q6UdmNMfZZh9x48"},
		{"-_.!~*'()", "s%3A-_.!~*'().rtvCTfC30DAXFUeWxiKOknsskLBdq4z90W18jNBQYzg"},
	} {
		if got := v.wrap(https, "node="+test.plain+"; Path=/; HttpOnly"); got != "node="+test.signed {
			t.Errorf("%q is signed as %q, want %q", test.plain, got, test.signed)
		}
		v.accepts("as Express sends it", https, "node="+test.signed, "node="+test.plain)
		v.accepts("not encoded", https, "node="+strings.ReplaceAll(test.signed, "%3A", ":"), "node="+test.plain)
		v.accepts("forged", https, "node="+strings.Replace(test.signed, "s%3A", "s%3Ax", 1), "")
		v.accepts("cut off", https, "node="+test.signed[:len(test.signed)-1], "")
		v.accepts("only where it is asked for", https, "lang="+test.signed, "")
	}
	for _, bad := range []string{"", "en", "s:", "s:en", "s:en.", "s%3Aen", "s:en.%ff", "%", "j:{}"} {
		v.accepts("malformed", https, "node="+bad, "")
	}
	// What the application sends without encoding it is encoded.
	v.accepts("raw", https, v.wrap(https, "node=a b%zz"), "node=a%20b%25zz")
}
