package cookiejar_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/cookiejar"
)

func anyValue(string) bool { return true }

func TestValues(t *testing.T) {
	tests := []struct {
		why   string
		lines []string
		want  []string
	}{
		{"no header", nil, nil},
		{"an empty line", []string{""}, nil},
		{"alone", []string{"sid=a"}, []string{"a"}},
		{"among others", []string{"x=1; sid=a; y=2"}, []string{"a"}},
		{"no space after the separator", []string{"x=1;sid=a;y=2"}, []string{"a"}},
		{"several spaces and tabs after the separator", []string{"x=1; \t sid=a"}, []string{"a"}},
		{"spaces before the first pair", []string{" sid=a"}, []string{"a"}},
		{"HTTP/2 may send a line for each pair", []string{"x=1", "sid=a", "y=2"}, []string{"a"}},
		{"empty pairs", []string{";; sid=a;;"}, []string{"a"}},
		{"an empty value is a value", []string{"sid="}, []string{""}},
		{"the value is the rest, '=' included", []string{"sid=a=b=="}, []string{"a=b=="}},
		{"quotes are part of the value", []string{`sid="a"`}, []string{`"a"`}},
		{"quotes do not hide a separator", []string{`x="; sid=a; y"`}, []string{"a"}},
		{"the value is not trimmed", []string{"sid= a ; x=1"}, []string{" a "}},
		{"a comma separates nothing", []string{"x=1, sid=a"}, nil},
		{"space before '=' makes another name", []string{"sid =a"}, nil},
		{"case makes another name", []string{"SID=a; Sid=b"}, nil},
		{"a longer name", []string{"xsid=a; sidx=b; __Host-sid=c"}, nil},
		{"a control byte is no separator", []string{"\x0bsid=a; \u00a0sid=b"}, nil},
		{"no '=' means no name", []string{"sid; x=1"}, nil},
		{"nameless", []string{"=sid=a; =a"}, nil},
		{"equal duplicates count once", []string{"sid=a; sid=a", "sid=a"}, []string{"a"}},
		{"different values in order", []string{"sid=b; sid=a", "sid=b; sid=c"}, []string{"b", "a", "c"}},
		{"as many as are allowed", []string{"sid=1; sid=2; sid=3; sid=4"}, []string{"1", "2", "3", "4"}},
		{"one more tells of too many", []string{"sid=1; sid=2; sid=3; sid=4; sid=5; sid=6"}, []string{"1", "2", "3", "4", "5"}},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			got, err := cookiejar.Values(nil, tt.lines, "sid", anyValue)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestValuesWellFormed(t *testing.T) {
	// The malformed ones must not use up the room of the good one.
	h := http.Header{"Cookie": {strings.Repeat("sid=x; ", 100) + "sid=1; sid=2; sid=3; sid=4; sid=5; sid=good"}}
	got, err := cookiejar.Values(nil, h["Cookie"], "sid", func(v string) bool { return v == "good" })
	if err != nil || !slices.Equal(got, []string{"good"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestValuesAppends(t *testing.T) {
	// What is in dst already is the caller's, and hides no value.
	got, err := cookiejar.Values([]string{"a"}, []string{"sid=a; sid=a"}, "sid", anyValue)
	if err != nil || !slices.Equal(got, []string{"a", "a"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestValuesTooLarge(t *testing.T) {
	rest := cookiejar.MaxHeader - len("sid=a; ")
	tests := []struct {
		why   string
		lines []string
		err   error
	}{
		{"just fits", []string{"sid=a; " + strings.Repeat("x", rest)}, nil},
		{"one byte more", []string{"sid=a; " + strings.Repeat("x", rest+1)}, cookiejar.ErrTooLarge},
		{"lines are summed", []string{"sid=a; ", strings.Repeat("x", rest), "y"}, cookiejar.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			got, err := cookiejar.Values(nil, tt.lines, "sid", anyValue)
			if err != tt.err || (len(got) == 0) != (err != nil) {
				t.Errorf("got %q, %v; want error %v", got, err, tt.err)
			}
		})
	}
}

func TestValuesAllocates(t *testing.T) {
	for _, line := range []string{"", "x=1", typicalCookies, strings.Repeat("sid=x;", cookiejar.MaxHeader/6)} {
		h := http.Header{"Cookie": {line}}
		n := testing.AllocsPerRun(100, func() {
			var buf [cookiejar.MaxCandidates + 1]string
			if _, err := cookiejar.Values(buf[:0], h["Cookie"], "__Host-sid", isToken); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%.40q: %v allocations", line, n)
		}
	}
}
