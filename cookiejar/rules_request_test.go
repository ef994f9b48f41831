package cookiejar_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/cookiejar"
)

// TestRules asks which cookies of requests and responses pass.
func TestRules(t *testing.T) {
	rules := cookiejar.Rules{
		Keep: []string{"PHPSESSID", "app_*", "app_public_k"},
		Drop: []string{"_ga*"},
		Pass: []string{"theme", "app_public_*", "app_x"},
	}
	for _, test := range []struct {
		name              string
		fallback          string
		request, response bool // it passes
	}{
		{"PHPSESSID", "", false, false},
		{"PHPSESSIDX", "", true, true},
		{"app_", "", false, false},
		{"app_y", "", false, false},
		{"app_x", "", true, true},        // an exact name before a pattern
		{"app_public_a", "", true, true}, // a longer pattern before a shorter one
		{"app_public_k", "", false, false},
		{"app_publi", "", false, false},
		{"_ga", "", false, false},
		{"_gat", "", false, false},
		{"_g", "", true, true},
		{"theme", "", true, true},
		{"other", "", true, true},
		{"other", "pass", true, true},
		{"other", "keep", false, false},
		{"other", "drop", false, false},
		{"theme", "drop", true, true},
		// Names that servers take for those above. They may be set: nobody
		// believes them when they come back.
		{"phpsessid", "", false, true},
		{"app.y", "", false, true},
		{"app.public.a", "", true, true},
		{"app_public.k", "", false, false}, // app_* fits
		{"app.x", "", true, true},
		{"theme[a]", "keep", false, false},
		{"theme[a]", "", true, true},
		{"PHPSESSID[a]", "", false, true},
		{"x[PHPSESSID]", "", true, true},
	} {
		rules.Default = test.fallback
		v := newVisitor(t, rules)
		if got := v.send(site, test.name+"=1") != nil; got != test.request {
			t.Errorf("default %q: %s passes in requests: %v", test.fallback, test.name, got)
		}
		h := http.Header{"Set-Cookie": {test.name + "=1"}}
		v.keeper.Take(h, "", v.context(site), cookiejar.Incoming{})
		if got := h["Set-Cookie"] != nil; got != test.response {
			t.Errorf("default %q: %s passes in responses: %v", test.fallback, test.name, got)
		}
	}
	// A pattern for all is a default.
	v := newVisitor(t, cookiejar.Rules{Keep: []string{"*"}, Pass: []string{"theme"}})
	if got := v.send(site, "a=1; theme=x; b; =c; d"); !slices.Equal(got, []string{"theme=x"}) {
		t.Errorf("keep *: %q pass", got)
	}
}

// TestReceiveForgeries has what some server takes for PHPSESSID, and what is
// close to it.
func TestReceiveForgeries(t *testing.T) {
	v := newVisitor(t, cookiejar.Rules{Keep: []string{"PHPSESSID"}})
	for _, gone := range []string{
		"PHPSESSID=x", " PHPSESSID\t=x", "PHPSESSID", "phpsessid=x", "PHPSESSID[=x", "PHPSESSID[a][b]=x", "%50HPSESSID=x", "+PHPSESSID=x", "PHPSESSID%00a=x",
		"=PHPSESSID=x", "= =PHPSESSID=x", "=PHPSESSID", "a=b,PHPSESSID=x", "a,PHPSESSID=x", "a=b,c, PHPSESSID =x", ",PHPSESSID=x", "=a,PHPSESSID=x",
		"a=b PHPSESSID=x", "a=b\tPHPSESSID\t= x", " a = b PHPSESSID=x", `a="b" PHPSESSID=x`, "a=b, =PHPSESSID=x", "a= b=c PHPSESSID=x",
		"\xa0PHPSESSID=x", "\u3000PHPSESSID=x", "\x85PHPSESSID\xc2\xa0=x", `"PHPSESSID"=x`, "%c2%a0PHPSESSID=x",
		"<PHPSESSID=x", "(PHPSESSID)=x", "\\\"/PHPSESSID =x", "{[PHPSESSID\ufeff=x", "<=PHPSESSID=x", "=>=PHPSESSID=x",
		"PHPSESSID/=x", "PHPSESSID<a=x", "PHPSESSID, a=b", "a=b,PHPSESSID", "a=b,PHPSESSID/x", "a=b, (PHPSESSID=x", "a=b,%50HPSESSID=x",
		"a=b,\u2003<PHPSESSID\xa0=x", "a=b\xa0PHPSESSID=x", "a=b\u3000phpsessid=x", `a={"b":1,"PHPSESSID=x":2}`, `$Version="1", PHPSESSID=x`,
	} {
		if got := v.send(site, gone); got != nil {
			t.Errorf("%q: %q is left", gone, got)
		}
	}
	for _, stays := range []string{
		"a=PHPSESSID=x", "PHPSESSIDX=x", "XPHPSESSID=x", "a[PHPSESSID]=x", `a={"b":1,"PHPSESSIDX=x":2}`, `a={"b":"PHPSESSID=x"}`, "a=/b?PHPSESSID=x", "PHP.SESSID=x", "=a=PHPSESSID=x", "",
		"a=b PHPSESSID", "a=b XPHPSESSID=x", " a = PHPSESSID", "a=b c=PHPSESSID=x",
	} {
		if got := v.send(site, stays); !slices.Equal(got, []string{stays}) {
			t.Errorf("%q became %q", stays, got)
		}
	}
}

// TestReceivePasses has the values of cookies that pass although their names are
// the only ones that do.
func TestReceivePasses(t *testing.T) {
	values := []string{
		"groups=C1:1, C2:0 version=6", `{"ads": true, "lang=de": 1, "b":[2,{"c":"d=e"}]}`, "a, b, c=d", " x y=z ", "a=b\u3000c=d\xa0e=f", "<a href=b>", "",
	}
	for _, rules := range []cookiejar.Rules{{Default: "keep"}, {Default: "drop"}, {Keep: []string{"*"}}, {Keep: []string{"*", "PHPSESSID"}}, {Drop: []string{"*"}}} {
		rules.Pass = []string{"consent", "ok_*"}
		v := newVisitor(t, rules)
		v.set(site, "sessionid=kept; Path=/other")
		for _, name := range []string{"consent", "ok_1"} {
			for _, value := range values {
				pair := name + "=" + value
				if got := v.send(site, "x=1; "+pair+"; y=2"); !slices.Equal(got, []string{strings.TrimLeft(pair, " ")}) {
					t.Errorf("%+v: %q became %q", rules, pair, got)
				}
			}
		}
		// These are in the rules, or in the jar.
		if got := v.send(site, "consent=a PHPSESSID=x"); (got == nil) != (len(rules.Keep) == 2) {
			t.Errorf("%+v: %q is left", rules, got)
		}
		if got := v.send(site, "consent=a,sessionid=x"); (got == nil) != (len(v.jar) == 1) {
			t.Errorf("%+v: %q is left", rules, got)
		}
	}
}

// TestReceiveSeparators has rules for names with separators in them, as no cookie
// should have.
func TestReceiveSeparators(t *testing.T) {
	for _, fallback := range []string{"pass", "drop"} {
		v := newVisitor(t, cookiejar.Rules{Keep: []string{"a:b", "c[d]", "/e", "f/*"}, Pass: []string{"a", "x:y", "z[1]"}, Default: fallback})
		for _, gone := range []string{
			"a:b=x", "\xa0a:b=x", "a=1,a:b=x", "a=1, <a:b =x", "c[d]=x", "\xa0c[d]=x", "c[d]\u3000=x", "a=1,c[d]=x", "a=1 c[d]=x",
			"/e=x", "\xa0/e=x", "f/g=x", "<f/g=x", "a=1,f/g=x",
		} {
			if got := v.send(site, gone); got != nil {
				t.Errorf("default %s: %q: %q is left", fallback, gone, got)
			}
		}
		for _, stays := range []string{"a=1", "x:y=1", "z[1]=1", "a=1,ab=2, fa=3 g=4"} {
			if got := v.send(site, stays); !slices.Equal(got, []string{stays}) {
				t.Errorf("default %s: %q became %q", fallback, stays, got)
			}
		}
	}
}

func TestTakeNameless(t *testing.T) {
	v := newVisitor(t, cookiejar.Rules{Keep: []string{"PHPSESSID"}})
	lines := []string{"=PHPSESSID=x", "==PHPSESSID=x", "= PHPSESSID", "PHPSESSID", "=phpsessid=x", "=other=x", "other", ""}
	h := http.Header{"Set-Cookie": lines}
	taken := v.keeper.Take(h, "", v.context(site), cookiejar.Incoming{})
	if got := h["Set-Cookie"]; !slices.Equal(got, []string{"=other=x", "other", ""}) || taken.Lines != 0 {
		t.Errorf("left %q, taken %+v", got, taken)
	}
}

func TestTakeLeavesOwn(t *testing.T) {
	v := keeping(t)
	h := http.Header{"Set-Cookie": {"sid=ours; Path=/", "a=b", "sid=ours; Path=/"}, strings.ToLower("Set-Cookie"): {"c=d"}}
	taken := v.keeper.Take(h, "sid=ours; Path=/", v.context(site), cookiejar.Incoming{})
	if got := h["Set-Cookie"]; !slices.Equal(got, []string{"sid=ours; Path=/", "sid=ours; Path=/"}) || len(taken.Kept) != 2 || len(h) != 1 {
		t.Errorf("left %q, taken %+v", h, taken)
	}
}

func TestClean(t *testing.T) {
	v := newVisitor(t, cookiejar.Rules{Keep: []string{"k"}, Drop: []string{"d"}, Seal: []cookiejar.WrapRule{{Names: []string{"e"}}}, Sign: []cookiejar.WrapRule{{Names: []string{"s"}}}, Keys: []string{testKey}})
	h := http.Header{"Set-Cookie": {"k=1", "p=1", "d=1", "e=1", "s=1", "k=\x01"}}
	v.keeper.Clean(h, "", v.context(site), cookiejar.Incoming{})
	if got := h["Set-Cookie"]; !slices.Equal(got, []string{"p=1"}) {
		t.Errorf("left %q", got)
	}
}

func TestForward(t *testing.T) {
	rules := cookiejar.Rules{
		Keep: []string{"k", "big"}, Sign: []cookiejar.WrapRule{{Names: []string{"s"}}}, Keys: []string{testKey},
		Forward: []cookiejar.ForwardCookie{{Name: "k"}, {Name: "s"}, {Name: "big"}, {Name: "k", Header: "X"}},
	}
	v := newVisitor(t, rules)
	v.set(site+"a/b", "k=outer; Path=/", "k=inner", "big="+strings.Repeat("x", 99))
	if len(v.stored.Ignored) != 0 {
		t.Errorf("ignored %v", v.stored.Ignored)
	}
	v.set(site, "big="+strings.Repeat("x", 100)+"; Path=/a")
	if len(v.stored.Ignored) != 1 || v.stored.Ignored[0].Name != "big" {
		t.Errorf("ignored %v", v.stored.Ignored)
	}
	h := http.Header{"Cookie": {"k=forged; s=forged; " + v.wrap(site, "s=en")}}
	in := v.keeper.Receive(h, v.context(site+"a/"), v.text())
	var got []string
	for _, value := range in.Forward {
		if value == nil {
			got = append(got, "nothing")
		} else {
			got = append(got, *value)
		}
	}
	if want := []string{"inner", "en", strings.Repeat("x", 99), "inner"}; !slices.Equal(got, want) {
		t.Errorf("forwarded %q, want %q", got, want)
	}
	if _, ignored := v.sent(site, "s="+strings.Repeat("x", 100)); len(ignored) != 1 {
		t.Errorf("too large to be forwarded: %v", ignored)
	}
}

func TestReceiveLeavesOthersAlone(t *testing.T) {
	v := newVisitor(t, cookiejar.Rules{Keep: []string{"PHPSESSID"}, Sign: []cookiejar.WrapRule{{Names: []string{"language"}}}, Keys: []string{testKey}})
	lines := []string{typicalCookies, " ; z;\xff"}
	h := http.Header{"Cookie": lines}
	c := v.context(site)
	if n := testing.AllocsPerRun(100, func() { v.keeper.Receive(h, c, "") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if &h["Cookie"][0] != &lines[0] {
		t.Error("the slice was replaced")
	}
}

// The work for a response is bounded: what is beyond is not sent either, as nobody
// has looked at it.
func TestTooManySetCookieLines(t *testing.T) {
	v := newVisitor(t, cookiejar.Rules{Keep: []string{"kept*"}, Seal: []cookiejar.WrapRule{{Names: []string{"sealed*"}}}, Keys: []string{testKey}})
	const own = "sid=ours; Path=/"
	for _, test := range []struct{ lines, over int }{{100, 0}, {101, 1}, {20_000, 19_900}} {
		h := http.Header{}
		for i := range test.lines {
			h.Add("Set-Cookie", []string{"kept", "sealed", "other"}[i%3]+strconv.Itoa(i)+"=1")
		}
		h.Add("Set-Cookie", own)
		interim := h.Clone()
		taken := v.keeper.Take(h, own, v.context(site), cookiejar.Incoming{})
		if len(taken.Kept) != 34 || taken.Over != test.over {
			t.Errorf("of %d lines: %d kept, %d over", test.lines, len(taken.Kept), taken.Over)
		}
		v.keeper.Send(h, v.context(site), cookiejar.Incoming{}, own, false)
		if n := len(h["Set-Cookie"]); n != 100-34+1 || h["Set-Cookie"][n-1] != own {
			t.Errorf("of %d lines: %d are sent, the last is %s", test.lines, n, h["Set-Cookie"][n-1])
		}
		v.keeper.Clean(interim, own, v.context(site), cookiejar.Incoming{})
		if n := len(interim["Set-Cookie"]); n != 33+1 {
			t.Errorf("of %d lines of a 1xx: %d are sent", test.lines, n)
		}
	}
}
