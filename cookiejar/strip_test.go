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
		{"alone", []string{"sid=a"}, nil},
		{"first", []string{"sid=a; x=1; y=2"}, []string{"x=1; y=2"}},
		{"in the middle", []string{"x=1; sid=a; y=2"}, []string{"x=1; y=2"}},
		{"last", []string{"x=1; y=2; sid=a"}, []string{"x=1; y=2"}},
		{"several", []string{"sid=a; x=1; sid=b; sid=c; y=2; sid=d"}, []string{"x=1; y=2"}},
		{"every name", []string{"sid=a; __Host-sid=b; __Secure-sid=c; x=1"}, []string{"x=1"}},
		{"odd spacing stays", []string{"x=1 ;\t y = 2 ;sid=a;  z=3 "}, []string{"x=1 ;\t y = 2 ;  z=3 "}},
		{"whatever is in other pairs stays", []string{"x; =1; y=\"a, b\"; sid=a; \xff\u00e4=\x80; z=sid"}, []string{"x; =1; y=\"a, b\"; \xff\u00e4=\x80; z=sid"}},
		{"empty pairs in the middle stay", []string{"x=1;; sid=a;;y=2;"}, []string{"x=1;;;y=2;"}},
		{"empty pairs in front of the new first pair go", []string{"sid=a; ;; x=1"}, []string{"x=1"}},
		{"only empty pairs left", []string{"sid=a; ;"}, nil},
		{"white space before the line's own first pair stays", []string{" x=1; sid=a"}, []string{" x=1"}},
		{"space before '='", []string{"x=1; sid =a"}, []string{"x=1"}},
		{"tab before '='", []string{"x=1; sid\t=a"}, []string{"x=1"}},
		{"control bytes around the name", []string{"x=1; \x0b\x00sid\x7f\r\n=a"}, []string{"x=1"}},
		{"no value", []string{"x=1; sid="}, []string{"x=1"}},
		{"separators around the name", []string{"x=1; <sid=a;(sid)=b; \"sid\"=c; =sid=d;{[=\\sid/ =e"}, []string{"x=1"}},
		{"other white space around the name", []string{"x=1;\xa0sid=a;\u3000sid\u2003=b;\x85sid=c; sid\ufeff=d"}, []string{"x=1"}},
		{"a name that ends early", []string{"x=1; sid[a]=b; sid/c=d"}, []string{"x=1"}},
		{"behind a comma or white space", []string{"x=1,sid=a; y=2, <sid =b; z=3 sid=c; v=\xa0sid=d", "w=a,b c=d"}, []string{"w=a,b c=d"}},
		{"not behind another name", []string{"x=sid=a; y=/b?sid=c; z=\"sid=d\""}, []string{"x=sid=a; y=/b?sid=c; z=\"sid=d\""}},
		{"case makes another name", []string{"x=1; SID=a"}, []string{"x=1; SID=a"}},
		{"a longer name", []string{"xsid=1; sidx=2; s id=3"}, []string{"xsid=1; sidx=2; s id=3"}},
		{"no '=' means no name", []string{"x=1; sid"}, []string{"x=1; sid"}},
		{"a line of its own goes", []string{"x=1", "sid=a", "y=2"}, []string{"x=1", "y=2"}},
		{"an empty line of others stays", []string{"", "sid=a", "", "y=2"}, []string{"", "", "y=2"}},
		{"all lines go", []string{"sid=a", "sid=b; sid=c"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			h := http.Header{"Accept": {"sid=a"}}
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
			if h.Get("Accept") != "sid=a" {
				t.Error("another header changed")
			}
		})
	}
}

func TestStripEverySpelling(t *testing.T) {
	// Code before us may have set the map's keys directly.
	h := http.Header{"Cookie": {"sid=a"}, "cookie": {"sid=b; x=1"}, "COOKIE": {"sid=c"}, "Cookie2": {"sid=d"}}
	cookiejar.Strip(h, "sid")
	if want := (http.Header{"cookie": {"x=1"}, "Cookie2": {"sid=d"}}); !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, want %v", h, want)
	}
}

func TestStripLeavesOthersAlone(t *testing.T) {
	lines := []string{"x=1; y=2", " ; z"}
	h := http.Header{"Cookie": lines}
	n := testing.AllocsPerRun(100, func() { cookiejar.Strip(h, "sid", "__Host-sid") })
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if &h["Cookie"][0] != &lines[0] {
		t.Error("the slice was replaced")
	}
}

func TestStripManyPairs(t *testing.T) {
	// One allocation for the line and one for the slice, however many pairs go.
	line := strings.Repeat("x=1; sid=a; ", 10000)
	h := http.Header{}
	n := testing.AllocsPerRun(10, func() {
		h["Cookie"] = append(h["Cookie"][:0], line)
		cookiejar.Strip(h, "sid")
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
		name := rapid.SampledFrom([]string{"sid", "__Host-sid"}).Draw(t, "name")
		return blank.Draw(t, "before") + name + blank.Draw(t, "after") + "=" + value.Draw(t, "value")
	})
	// Begins with a byte that no server trims, so it is not empty, not ours, and
	// its leading spaces are the separator's.
	theirs := rapid.StringMatching(`[!-9A-Za-z<>-~"=][^;=]{0,5}(= ?"?[^;]{0,6})?`).Filter(func(s string) bool {
		return !strings.Contains(s, ";") && !strings.HasPrefix(s, "sid") && !strings.HasPrefix(s, "__")
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
		cookiejar.Strip(h, "sid", "__Host-sid")
		if got := h["Cookie"]; !slices.Equal(got, want) {
			t.Fatalf("%q became %q, want %q", lines, got, want)
		}
	})
}
