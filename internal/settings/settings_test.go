package settings

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestBlock(t *testing.T) {
	for _, tt := range []struct{ text, want, err string }{
		{"x", "", ""},
		{"x {\n}", "", ""},
		{"x {\na 1\nb 2\n}", "a1 b2", ""},
		{"x {\nb 2\na 1\n}", "b2 a1", ""},
		{"x {\nmany 1\nmany 2\n}", "many1 many2", ""},
		{"x {\na 1\na 2\n}", "", "a is set twice"},
		{"x {\nc 1\n}", "", `unknown setting "c"`},
		{"x {\nmnay 1\n}", "", `did you mean many?`},
		{"x {\ndeep 1\n}", "", "deep belongs into the inner block; here are a, b, inner and many"},
		{"x {\ninner {\na 1\n}\nb 2\n}", "inner a1 b2", ""},
		{"x {\ninner {\na 1\na 2\n}\n}", "", "a is set twice"},
		{"x {\na 1\ninner {\na 2\n}\n}", "a1 inner a2", ""},
	} {
		d := caddyfile.NewTestDispenser(tt.text)
		d.Next()
		var got []string
		one := func() error {
			word := d.Val()
			var value string
			if err := String(d, &value); err != nil {
				return err
			}
			got = append(got, word+value)
			return nil
		}
		inner := NewBlock("the inner block", func(any, *caddyfile.Dispenser) Words { return Words{"a": one, "deep": one} })
		outer := NewBlock("the outer block", func(any, *caddyfile.Dispenser) Words {
			return Words{"a": one, "b": one, "many": one, "inner": func() error {
				got = append(got, "inner")
				return inner.Parse(nil, d)
			}}
		}, "many")
		err := outer.Parse(nil, d)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "Testfile:") {
				t.Errorf("%q: %v", tt.text, err)
			}
		} else if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%q: %q, %v", tt.text, got, err)
		}
	}
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		kind, text string
		want       any // nil: an error
	}{
		{"string", "a", "a"},
		{"string", `"a b"`, "a b"},
		{"string", "", nil},
		{"string", `""`, nil},
		{"string", "a b", nil},
		{"flag", "", true},
		{"flag", "on", nil},
		{"duration", "90s", 90 * time.Second},
		{"duration", "1d", 24 * time.Hour},
		{"duration", "0", nil},
		{"duration", "-1s", nil},
		{"duration", "soon", nil},
		{"size", "65536", 65536},
		{"size", "4KiB", 4096},
		{"size", "4KB", 4000},
		{"size", "2147483647", 1<<31 - 1},
		{"size", "2GiB", nil},
		{"size", "0", nil},
		{"size", "-1", nil},
		{"number", "0", 0},
		{"number", "12", 12},
		{"number", "-1", nil},
		{"number", "1.5", nil},
	} {
		d := caddyfile.NewTestDispenser("setting " + tt.text)
		d.Next()
		var got any
		var err error
		switch tt.kind {
		case "string":
			var v string
			err = String(d, &v)
			got = v
		case "flag":
			var v bool
			err = Flag(d, &v)
			got = v
		case "duration":
			var v caddy.Duration
			err = Duration(d, &v)
			got = time.Duration(v)
		case "size":
			var v int
			err = Size(d, &v)
			got = v
		case "number":
			var v int
			err = Number(d, &v)
			got = v
		}
		switch {
		case tt.want == nil && err == nil:
			t.Errorf("%s %q: %v", tt.kind, tt.text, got)
		case tt.want == nil && (!strings.Contains(err.Error(), "Testfile:1") || tt.kind != "flag" && !strings.Contains(err.Error(), "setting")):
			t.Errorf("%s %q: the error does not say where: %v", tt.kind, tt.text, err)
		case tt.want != nil && (err != nil || got != tt.want):
			t.Errorf("%s %q: %v, %v", tt.kind, tt.text, got, err)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Setenv("SESSION_TEST_SECRET", "s3cret")
	t.Setenv("SESSION_TEST_EMPTY", "")
	for _, tt := range []struct {
		text, want string
		ok         bool
	}{
		{"", "", true},
		{"plain", "plain", true},
		{"a{env.SESSION_TEST_SECRET}b", "as3cretb", true},
		{"{env.SESSION_TEST_EMPTY}", "", false},
		{"a{env.SESSION_TEST_EMPTY}", "", false},
		{"{env.SESSION_TEST_NONE}", "", false},
		{"{env.SESSION_TEST_SECRET}{unknown}", "", false},
	} {
		got, err := Resolve("password", tt.text)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: %q, %v", tt.text, got, err)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || !strings.HasPrefix(err.Error(), "password: ")) {
			t.Errorf("%s: %v", tt.text, err)
		}
	}
}
