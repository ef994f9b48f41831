package cookiejar_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-session/caddy-session/cookiejar"
)

// byAttribute returns a visitor of a site that keeps what is HttpOnly.
func byAttribute(t testing.TB) *visitor {
	return newVisitor(t, cookiejar.Rules{
		KeepHTTPOnly: true,
		Keep:         []string{"kept"}, Pass: []string{"open", "wp-*"}, Drop: []string{"_ga"},
	})
}

// other returns another visitor of the same site.
func (v *visitor) other() *visitor {
	other := *v
	other.jar = map[string]string{}
	return &other
}

func (v *visitor) wantsPassed(lines ...string) {
	v.t.Helper()
	if !slices.Equal(v.passed, lines) {
		v.t.Errorf("the browser gets %q, want %q", v.passed, lines)
	}
}

func (v *visitor) wantsSent(want []string, lines ...string) {
	v.t.Helper()
	if got := v.send(site, lines...); !slices.Equal(got, want) {
		v.t.Errorf("of %q the application gets %q, want %q", lines, got, want)
	}
}

func TestKeepHTTPOnly(t *testing.T) {
	v := byAttribute(t)
	v.set(site, "id=1; Path=/; HttpOnly", "theme=dark", "wp-a=1; httponly", "open=1; HttpOnly", "kept=2; Path=/", "_ga=1", "odd=3; Path=/;HTTPONLY=x")
	v.wantsPassed("theme=dark", "wp-a=1; httponly", "open=1; HttpOnly")
	v.wants(site, "id=1; kept=2; odd=3")
	if !slices.Equal(v.taken.Open, []string{"kept"}) {
		t.Errorf("not HttpOnly: %q", v.taken.Open)
	}
	v.wantsSent([]string{"id=1; kept=2; odd=3; theme=dark; open=1"}, "theme=dark; id=x; open=1; kept=x; odd=x; _ga=1")
}

// What a client may not plant, once the application has set the name HttpOnly for
// anybody.
func TestKeepHTTPOnlyPlanted(t *testing.T) {
	v := byAttribute(t)
	// Nobody knows the name yet.
	v.wantsSent([]string{"PHPSESSID=x"}, "PHPSESSID=x")
	v.set(site, "PHPSESSID=1; Path=/; HttpOnly", "bare; HttpOnly")
	v.set(site, "foo%20bar=1; HttpOnly")
	victim := v.other()
	for _, gone := range []string{
		"PHPSESSID=x", " PHPSESSID\t=x", "PHPSESSID", "phpsessid=x", "PHPSESSID[=x", "PHPSESSID[a][b]=x", "%50HPSESSID=x", "+PHPSESSID=x", "PHPSESSID%00a=x",
		"=PHPSESSID=x", "=PHPSESSID", "a=b,PHPSESSID=x", "a,PHPSESSID=x", "a=b PHPSESSID=x", "\xa0PHPSESSID=x", `"PHPSESSID"=x`, "open=b, PHPSESSID=x",
		"=bare", "foo bar=x", "foo%20bar=x", "foo.bar=x",
	} {
		victim.wantsSent(nil, gone)
	}
	const others = "PHPSESSIDX=x; x[PHPSESSID]=1; theme=PHPSESSID"
	victim.wantsSent([]string{others}, others)
	// In the session it is that of the jar, also where that does not go along.
	v.set(site, "admin=1; Path=/admin; HttpOnly; SameSite=Strict")
	v.wantsSent([]string{"PHPSESSID=1; foo%20bar=1; bare"}, "PHPSESSID=x; admin=x")
	// Nor can it come as a nameless cookie that the application has set.
	v = byAttribute(t)
	v.set(site, "PHPSESSID=1; HttpOnly", "=PHPSESSID=x", "=theme=x")
	v.wantsPassed("=theme=x")
}

// A name that was learned is as safe as one that is written down, against all that
// TestParsers has servers read.
func TestKeepHTTPOnlyIsAsByName(t *testing.T) {
	names := []string{"JSESSIONID", "PHPSESSID", "app_x", "role"}
	written := newVisitor(t, cookiejar.Rules{Keep: names, Pass: []string{"lang"}})
	learned := newVisitor(t, cookiejar.Rules{KeepHTTPOnly: true, Pass: []string{"lang"}})
	for _, name := range names {
		written.set(site, name+"=kept; Path=/; HttpOnly")
		learned.set(site, name+"=kept; Path=/; HttpOnly")
	}
	random := rand.New(rand.NewPCG(1, 0))
	jars, c, removed := [2]string{"", learned.text()}, learned.context(site), 0
	for i := range 50_000 {
		line := randomHeader(random)
		one, other := http.Header{"Cookie": {line}}, http.Header{"Cookie": {line}}
		written.keeper.Receive(one, c, jars[i%2])
		learned.keeper.Receive(other, c, jars[i%2])
		if !slices.Equal(one["Cookie"], other["Cookie"]) {
			t.Fatalf("%q: %q by name, %q by attribute", line, one["Cookie"], other["Cookie"])
		}
		if i%2 == 0 && !slices.Equal(one["Cookie"], []string{line}) {
			removed++
		}
	}
	if removed < 1000 {
		t.Errorf("of 25,000 headers, only %d had something to remove", removed)
	}
}

// Another host of the same site has its own application.
func TestKeepHTTPOnlyOfAnotherHost(t *testing.T) {
	v := byAttribute(t)
	v.set("http://a.example.com/", "id=1; Path=/; HttpOnly")
	if got := v.send("http://b.example.com/", "id=x"); !slices.Equal(got, []string{"id=x"}) {
		t.Errorf("the application of another host gets %q", got)
	}
	v.set("http://b.example.com/", "id=2")
	v.wantsPassed("id=2")
}

// After a restart, or at another Caddy, a session that comes by brings its names.
func TestKeepHTTPOnlyLearnsFromJars(t *testing.T) {
	v := byAttribute(t)
	v.set(site, "id=1; Path=/; HttpOnly", "kept=1")
	fresh := byAttribute(t)
	stranger := fresh.other()
	stranger.wantsSent([]string{"id=x"}, "id=x")
	fresh.jar = v.jar
	fresh.wantsSent([]string{"id=1; kept=1"}, "id=x; kept=x")
	stranger.wantsSent(nil, "id=x")
	// What another rule has kept teaches nothing, and is not shown.
	old := keeping(t)
	old.set(site, "theme=dark", "id=1; HttpOnly")
	fresh = byAttribute(t)
	fresh.jar = old.jar
	fresh.wantsSent([]string{"id=1; theme=light"}, "theme=light")
}

// A cookie that gets the attribute, or loses it.
func TestKeepHTTPOnlyChanges(t *testing.T) {
	v := byAttribute(t)
	v.set(site, "x=1; Path=/")
	v.wantsPassed("x=1; Path=/")
	v.wantsSent([]string{"x=1"}, "x=1")
	v.set(site, "x=2; Path=/; HttpOnly")
	v.wantsPassed()
	v.wantsSent([]string{"x=2"}, "x=1") // the browser has it still
	v.set(site, "x=3; Path=/")
	v.wantsPassed()
	v.wantsSent([]string{"x=3"}, "x=1")
	if !slices.Equal(v.taken.Open, []string{"x"}) {
		t.Errorf("not HttpOnly: %q", v.taken.Open)
	}
	// In another spelling, which the application would not get back.
	v.set(site, "X=4; Path=/")
	v.wantsPassed()
	// It is as kept as before for a Caddy that knows nothing but the jar.
	fresh := byAttribute(t)
	fresh.jar = v.jar
	if got := fresh.send(site, "x=1"); len(got) != 1 || strings.Contains(got[0], "x=1") || !strings.Contains(got[0], "x=3") || !strings.Contains(got[0], "X=4") {
		t.Errorf("after a restart the application gets %q", got)
	}
	h := http.Header{"Set-Cookie": {"x=1", "y=1; HttpOnly", "z=1"}}
	v.keeper.Clean(h, "", v.context(site), cookiejar.Incoming{})
	if got := h["Set-Cookie"]; !slices.Equal(got, []string{"z=1"}) {
		t.Errorf("a 1xx response leaves %q", got)
	}
}

// Applications delete cookies with the attribute or without it, and what is deleted
// may be in the jar or in the browser.
func TestKeepHTTPOnlyDeletions(t *testing.T) {
	const gone, goneHard = "x=; Path=/; Max-Age=0", "x=; Path=/; Max-Age=0; HttpOnly"
	for _, line := range []string{gone, goneHard} {
		v := byAttribute(t)
		v.set(site, line)
		v.wantsPassed(line)
		// That tells nothing of the name.
		v.set(site, "x=1; Path=/")
		v.wantsPassed("x=1; Path=/")
		v.wantsSent([]string{"x=1"}, "x=1")

		v.set(site, "x=2; Path=/; HttpOnly")
		v.wants(site, "x=2")
		v.set(site, line)
		v.wantsPassed(line)
		v.wants(site, "")
		if v.taken.Open != nil || len(v.jar) > 0 {
			t.Errorf("%s: open %q, jar %q", line, v.taken.Open, v.jar)
		}
		v.wantsSent(nil, "x=1")
	}
	// Where all others are dropped, deletions are as well.
	v := newVisitor(t, cookiejar.Rules{KeepHTTPOnly: true, Default: "drop"})
	v.set(site, "x=1; Path=/; HttpOnly", "y=1", gone, goneHard)
	v.wantsPassed()
	v.set(site, "x=1; Path=/; HttpOnly")
	v.wantsSent([]string{"x=1"}, "x=2; y=1")
}

// An application that makes up names does not have others forgotten.
func TestKeepHTTPOnlyBounds(t *testing.T) {
	v := byAttribute(t)
	v.set(site, "first=1; Path=/; HttpOnly")
	long := strings.Repeat("n", 300)
	v.set(site, long+"=1; HttpOnly")
	if !slices.Equal(v.taken.Unlearned, []string{long}) {
		t.Errorf("unlearned: %q", v.taken.Unlearned)
	}
	for i := range 500 {
		v.other().set(site, fmt.Sprintf("nonce-%d=1; HttpOnly", i))
	}
	late := v.other()
	late.set(site, "late=1; Path=/; HttpOnly")
	if !slices.Equal(late.taken.Unlearned, []string{"late"}) {
		t.Errorf("unlearned: %q", late.taken.Unlearned)
	}
	late.wantsSent([]string{"late=1"}, "late=x; first=x; nonce-1=x")
	// The jar knows the name, if nobody else does.
	late.set(site, "late=2; Path=/")
	late.wantsPassed()
	late.wants(site, "late=2")
	v.other().wantsSent([]string{"late=x"}, "late=x; first=x; nonce-1=x")
	// Each host has room of its own, up to a sum.
	for host := range 30 {
		for i := range 490 {
			v.keeper.Take(http.Header{"Set-Cookie": {fmt.Sprintf("n%d=1; HttpOnly", i)}}, "", v.context(fmt.Sprintf("http://h%d.example.com/", host)), cookiejar.Incoming{})
		}
	}
	learned := func(host int) bool {
		return v.other().send(fmt.Sprintf("http://h%d.example.com/", host), "n7=x") == nil
	}
	if !learned(0) || !learned(10) || learned(29) {
		t.Errorf("learned of the hosts 0, 10, 29: %v, %v, %v", learned(0), learned(10), learned(29))
	}
}

// Many visitors at once, up to the bound.
func TestKeepHTTPOnlyConcurrently(t *testing.T) {
	v := byAttribute(t)
	c := v.context(site)
	var unlearned atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 501 {
				v.keeper.Receive(http.Header{"Cookie": {fmt.Sprintf("n%d=x", i)}}, c, "")
				taken := v.keeper.Take(http.Header{"Set-Cookie": {fmt.Sprintf("n%d=1; HttpOnly", i)}}, "", c, cookiejar.Incoming{})
				unlearned.Add(int64(len(taken.Unlearned)))
			}
		})
	}
	wg.Wait()
	if n := unlearned.Load(); n != 8 { // each of them the last one
		t.Errorf("%d names were not learned, want 8", n)
	}
}

// BenchmarkReceiveByAttribute is a request with a jar and ten cookies that pass.
func BenchmarkReceiveByAttribute(b *testing.B) {
	v := byAttribute(b)
	v.set(site, "PHPSESSID=0123456789abcdef; Path=/; HttpOnly")
	jar, c := v.text(), v.context(site)
	var line strings.Builder
	for i := range 10 {
		fmt.Fprintf(&line, "cookie-%d=value; ", i)
	}
	h := http.Header{}
	lines := []string{strings.TrimSuffix(line.String(), "; ")}
	b.ReportAllocs()
	for b.Loop() {
		h["Cookie"] = lines
		v.keeper.Receive(h, c, jar)
	}
}
