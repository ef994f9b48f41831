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
		v.keeper.Take(h, "", v.now)
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
	} {
		if got := v.send(site, gone); got != nil {
			t.Errorf("%q: %q is left", gone, got)
		}
	}
	for _, stays := range []string{
		"a=PHPSESSID=x", "PHPSESSIDX=x", "XPHPSESSID=x", "a[PHPSESSID]=x", "a=b,PHPSESSID", `a={"b":1,"PHPSESSID=x":2}`, "PHP.SESSID=x", "=a=PHPSESSID=x", "",
		"a=b PHPSESSID", "a=b XPHPSESSID=x", " a = PHPSESSID", "a=b c=PHPSESSID=x",
	} {
		if got := v.send(site, stays); !slices.Equal(got, []string{stays}) {
			t.Errorf("%q became %q", stays, got)
		}
	}
}

func TestTakeNameless(t *testing.T) {
	v := newVisitor(t, cookiejar.Rules{Keep: []string{"PHPSESSID"}})
	lines := []string{"=PHPSESSID=x", "==PHPSESSID=x", "= PHPSESSID", "PHPSESSID", "=phpsessid=x", "=other=x", "other", ""}
	h := http.Header{"Set-Cookie": lines}
	taken := v.keeper.Take(h, "", v.now)
	if got := h["Set-Cookie"]; !slices.Equal(got, []string{"=other=x", "other", ""}) || taken.Lines != 0 {
		t.Errorf("left %q, taken %+v", got, taken)
	}
}

func TestTakeLeavesOwn(t *testing.T) {
	v := keeping(t)
	h := http.Header{"Set-Cookie": {"sid=ours; Path=/", "a=b", "sid=ours; Path=/"}, strings.ToLower("Set-Cookie"): {"c=d"}}
	taken := v.keeper.Take(h, "sid=ours; Path=/", v.now)
	if got := h["Set-Cookie"]; !slices.Equal(got, []string{"sid=ours; Path=/", "sid=ours; Path=/"}) || len(taken.Kept) != 2 || len(h) != 1 {
		t.Errorf("left %q, taken %+v", h, taken)
	}
}

func TestClean(t *testing.T) {
	v := newVisitor(t, cookiejar.Rules{Keep: []string{"k"}, Drop: []string{"d"}, Seal: []cookiejar.WrapRule{{Names: []string{"e"}}}, Sign: []cookiejar.WrapRule{{Names: []string{"s"}}}, Keys: []string{testKey}})
	h := http.Header{"Set-Cookie": {"k=1", "p=1", "d=1", "e=1", "s=1", "k=\x01"}}
	v.keeper.Clean(h, "")
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
		taken := v.keeper.Take(h, own, v.now)
		if len(taken.Kept) != 34 || taken.Over != test.over {
			t.Errorf("of %d lines: %d kept, %d over", test.lines, len(taken.Kept), taken.Over)
		}
		v.keeper.Send(h, v.context(site), cookiejar.Incoming{}, own, false)
		if n := len(h["Set-Cookie"]); n != 100-34+1 || h["Set-Cookie"][n-1] != own {
			t.Errorf("of %d lines: %d are sent, the last is %s", test.lines, n, h["Set-Cookie"][n-1])
		}
		v.keeper.Clean(interim, own)
		if n := len(interim["Set-Cookie"]); n != 33+1 {
			t.Errorf("of %d lines of a 1xx: %d are sent", test.lines, n)
		}
	}
}
