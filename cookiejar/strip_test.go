package cookiejar_test

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-session/caddy-session/cookiejar"
)

func TestStrip(t *testing.T) {
	tests := []struct {
		why   string
		lines []string
		want  []string // nil: the header is gone
	}{
		{"no header", nil, nil},
		{"alone", []string{"csid=a"}, nil},
		{"first", []string{"csid=a; x=1; y=2"}, []string{"x=1; y=2"}},
		{"in the middle", []string{"x=1; csid=a; y=2"}, []string{"x=1; y=2"}},
		{"last", []string{"x=1; y=2; csid=a"}, []string{"x=1; y=2"}},
		{"several", []string{"csid=a; x=1; csid=b; csid=c; y=2; csid=d"}, []string{"x=1; y=2"}},
		{"every name", []string{"csid=a; __Host-csid=b; __Secure-csid=c; x=1"}, []string{"x=1"}},
		{"odd spacing stays", []string{"x=1 ;\t y = 2 ;csid=a;  z=3 "}, []string{"x=1 ;\t y = 2 ;  z=3 "}},
		{"whatever is in other pairs stays", []string{"x; =1; y=\"a, b\"; csid=a; \xff\u00e4=\x80; z=csid"}, []string{"x; =1; y=\"a, b\"; \xff\u00e4=\x80; z=csid"}},
		{"empty pairs in the middle stay", []string{"x=1;; csid=a;;y=2;"}, []string{"x=1;;;y=2;"}},
		{"empty pairs in front of the new first pair go", []string{"csid=a; ;; x=1"}, []string{"x=1"}},
		{"only empty pairs left", []string{"csid=a; ;"}, nil},
		{"white space before the line's own first pair stays", []string{" x=1; csid=a"}, []string{" x=1"}},
		{"space before '='", []string{"x=1; csid =a"}, []string{"x=1"}},
		{"tab before '='", []string{"x=1; csid\t=a"}, []string{"x=1"}},
		{"control bytes around the name", []string{"x=1; \x0b\x00csid\x7f\r\n=a"}, []string{"x=1"}},
		{"no value", []string{"x=1; csid="}, []string{"x=1"}},
		{"separators around the name", []string{"x=1; <csid=a;(csid)=b; \"csid\"=c; =csid=d;{[=\\csid/ =e"}, []string{"x=1"}},
		{"other white space around the name", []string{"x=1;\xa0csid=a;\u3000csid\u2003=b;\x85csid=c; csid\ufeff=d"}, []string{"x=1"}},
		{"a name that ends early", []string{"x=1; csid[a]=b; csid/c=d"}, []string{"x=1"}},
		{"behind a comma or white space", []string{"x=1,csid=a; y=2, <csid =b; z=3 csid=c; v=\xa0csid=d", "w=a,b c=d"}, []string{"w=a,b c=d"}},
		{"not behind another name", []string{"x=csid=a; y=/b?csid=c; z=\"csid=d\""}, []string{"x=csid=a; y=/b?csid=c; z=\"csid=d\""}},
		{"case makes another name", []string{"x=1; CSID=a"}, []string{"x=1; CSID=a"}},
		{"a longer name", []string{"xcsid=1; csidx=2; cs id=3"}, []string{"xcsid=1; csidx=2; cs id=3"}},
		{"no '=' means no name", []string{"x=1; csid"}, []string{"x=1; csid"}},
		{"a line of its own goes", []string{"x=1", "csid=a", "y=2"}, []string{"x=1", "y=2"}},
		{"an empty line of others stays", []string{"", "csid=a", "", "y=2"}, []string{"", "", "y=2"}},
		{"all lines go", []string{"csid=a", "csid=b; csid=c"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			h := http.Header{"Accept": {"csid=a"}}
			if tt.lines != nil {
				h["Cookie"] = tt.lines
			}
			before := slices.Clone(tt.lines)
			cookiejar.Strip(h, compile(t, cookiejar.Cookie{}).Names()...)

			got, ok := h["Cookie"]
			if !slices.Equal(got, tt.want) || ok != (tt.want != nil) {
				t.Errorf("got %q, %v; want %q", got, ok, tt.want)
			}
			if !slices.Equal(tt.lines, before) {
				t.Errorf("the old slice became %q", tt.lines)
			}
			if h.Get("Accept") != "csid=a" {
				t.Error("another header changed")
			}
		})
	}
}

func TestStripTokens(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"csid=x; a=1", "csid=x; a=1"},
		{"csid=" + testToken + "; a=1", "a=1"},
		{"csid=x; csid=" + testToken, "csid=x"},
		{"<csid =\"" + testToken + "\"; a=1", "a=1"},
		{"a=1, csid=" + testToken + "; b=2", "b=2"},
		{"csid=" + testToken + "x; csid=s%3A" + testToken, "csid=" + testToken + "x; csid=s%3A" + testToken},
		{"other=" + testToken, "other=" + testToken},
	} {
		h := http.Header{"Cookie": {tt.line}}
		if cookiejar.StripTokens(h, isToken, "csid"); h.Get("Cookie") != tt.want {
			t.Errorf("%q: %q, want %q", tt.line, h.Get("Cookie"), tt.want)
		}
	}
}

func TestStripEverySpelling(t *testing.T) {
	// Code before us may have set the map's keys directly.
	h := http.Header{"Cookie": {"csid=a"}, "cookie": {"csid=b; x=1"}, "COOKIE": {"csid=c"}, "Cookie2": {"csid=d"}}
	cookiejar.Strip(h, "csid")
	if want := (http.Header{"cookie": {"x=1"}, "Cookie2": {"csid=d"}}); !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, want %v", h, want)
	}
}

func TestStripLeavesOthersAlone(t *testing.T) {
	lines := []string{"x=1; y=2", " ; z"}
	h := http.Header{"Cookie": lines}
	n := testing.AllocsPerRun(100, func() { cookiejar.Strip(h, "csid", "__Host-csid") })
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if &h["Cookie"][0] != &lines[0] {
		t.Error("the slice was replaced")
	}
}

func TestStripManyPairs(t *testing.T) {
	// One allocation for the line and one for the slice, however many pairs go.
	line := strings.Repeat("x=1; csid=a; ", 10000)
	h := http.Header{}
	n := testing.AllocsPerRun(10, func() {
		h["Cookie"] = append(h["Cookie"][:0], line)
		cookiejar.Strip(h, "csid")
	})
	if n > 2 {
		t.Errorf("%v allocations", n)
	}
}

// TestStripIsExact builds headers pair by pair, so that it knows what is to be
// left without parsing anything.
func TestStripIsExact(t *testing.T) {
	sep := rapid.StringMatching(`[ \t]{0,2}`)
	blank := rapid.StringMatching(`[\x00-\x20\x7f]{0,2}`)
	value := rapid.StringMatching(`[^;]{0,6}`)
	ours := rapid.Custom(func(t *rapid.T) string {
		name := rapid.SampledFrom([]string{"csid", "__Host-csid"}).Draw(t, "name")
		return blank.Draw(t, "before") + name + blank.Draw(t, "after") + "=" + value.Draw(t, "value")
	})
	// Begins with a byte that no server trims, so it is not empty, not ours, and
	// its leading spaces are the separator's.
	theirs := rapid.StringMatching(`[!-9A-Za-z<>-~"=][^;=]{0,5}(= ?"?[^;]{0,6})?`).Filter(func(s string) bool {
		return !strings.Contains(s, ";") && !strings.HasPrefix(s, "csid") && !strings.HasPrefix(s, "__")
	})

	rapid.Check(t, func(t *rapid.T) {
		var lines, want []string
		for range rapid.IntRange(0, 3).Draw(t, "lines") {
			var in, out []string
			for i := range rapid.IntRange(1, 6).Draw(t, "pairs") {
				if rapid.Bool().Draw(t, "ours") {
					in = append(in, ours.Draw(t, "our pair"))
					continue
				}
				pair := theirs.Draw(t, "their pair")
				lead := sep.Draw(t, "separator")
				in = append(in, lead+pair)
				if len(out) > 0 || i == 0 {
					pair = lead + pair
				}
				out = append(out, pair)
			}
			lines = append(lines, strings.Join(in, ";"))
			if len(out) > 0 {
				want = append(want, strings.Join(out, ";"))
			}
		}
		h := http.Header{"Cookie": slices.Clone(lines)}
		cookiejar.Strip(h, "csid", "__Host-csid")
		if got := h["Cookie"]; !slices.Equal(got, want) {
			t.Fatalf("%q became %q, want %q", lines, got, want)
		}
	})
}
