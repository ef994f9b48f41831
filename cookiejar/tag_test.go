package cookiejar_test

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/cookiejar"
)

func TestTag(t *testing.T) {
	const site = "https://app.example.com/"
	v := keeping(t)
	tag := func() string { return cookiejar.Tag(v.text(), "salt", v.now) }
	if got := tag(); got != "" || cookiejar.Tag("{}", "salt", v.now) != "" || cookiejar.Tag("junk", "salt", v.now) != "" {
		t.Errorf("an empty jar has the tag %q", got)
	}
	all := map[string]string{"": "nothing"}
	step := func(what string, lines ...string) string {
		t.Helper()
		v.now = v.now.Add(time.Minute)
		v.set(site, lines...)
		got := tag()
		if before, ok := all[got]; ok {
			t.Errorf("%s has the tag of %s", what, before)
		}
		all[got] = what
		return got
	}
	same := func(what, want string, lines ...string) {
		t.Helper()
		v.now = v.now.Add(time.Minute)
		v.set(site, lines...)
		if got := tag(); got != want {
			t.Errorf("%s: the tag becomes %q, was %q", what, got, want)
		}
	}
	first := step("one", "a=1; Path=/")
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{8}$`).MatchString(first) {
		t.Errorf("the tag is %q", first)
	}
	if other := cookiejar.Tag(v.text(), "other", v.now); other == first {
		t.Error("the salt is of no effect")
	}
	same("set again", first, "a=1; Path=/")
	same("with an expiry", first, "a=1; Path=/; Max-Age=3600")
	same("which moves", first, "a=1; Path=/; Max-Age=7200")
	same("with other attributes", first, "a=1; Path=/; HttpOnly; Secure")
	step("another value", "a=2; Path=/")
	same("the old value", first, "a=1; Path=/")
	two := step("another path", "a=1; Path=/x")
	step("two cookies whose values change places", "a=2; Path=/", "b=1; Path=/", "a=; Path=/x; Max-Age=0")
	same("back again", two, "a=1; Path=/", "b=; Max-Age=0; Path=/", "a=1; Path=/x")
	same("what has gone", first, "a=; Max-Age=0; Path=/x")
	step("what will expire", "c=1; Path=/; Max-Age=60")
	v.now = v.now.Add(time.Minute)
	same("has expired", first)
	same("the last one", "", "a=; Max-Age=0; Path=/")
	// The order in which a jar stands in its text means nothing.
	a, b := `"k1":"h - / a 1 1 0 1 d"`, `"k2":"h - / b 2 1 0 1 d"`
	if x, y := cookiejar.Tag("{"+a+","+b+"}", "", v.now), cookiejar.Tag("{"+b+","+a+"}", "", v.now); x != y || x == "" {
		t.Errorf("the order matters: %q, %q", x, y)
	}
	seen := map[string]bool{}
	for i := range 1000 {
		seen[cookiejar.Tag(fmt.Sprintf(`{"k1":"h - / a %d 1 0 1 d"}`, i), "", v.now)] = true
	}
	if len(seen) != 1000 {
		t.Errorf("1000 jars have %d tags", len(seen))
	}
}

func TestPersistentUntil(t *testing.T) {
	const site = "https://app.example.com/"
	v := keeping(t)
	until := func(want time.Duration) {
		t.Helper()
		got := cookiejar.PersistentUntil(v.text(), v.now)
		if want == 0 && !got.IsZero() || want != 0 && got.Sub(v.now) != want {
			t.Errorf("persistent for %v, want %v", got.Sub(v.now), want)
		}
	}
	until(0)
	v.set(site, "a=1")
	until(0)
	v.set(site, "b=1; Max-Age=3600", "c=1; Max-Age=7200; Path=/x")
	until(2 * time.Hour)
	v.set(site, "c=; Max-Age=0; Path=/x")
	until(time.Hour)
	v.set(site, "b=1")
	until(0)
	v.set(site, "b=1; Max-Age=60")
	v.now = v.now.Add(59 * time.Second)
	until(time.Second)
	v.now = v.now.Add(time.Second)
	until(0)
}
