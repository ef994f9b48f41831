package operator

import (
	"strings"
	"testing"
)

func TestClientLine(t *testing.T) {
	const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
	for _, test := range []struct{ agent, list, show string }{
		{"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox 140, Linux",
			"Firefox 140, Linux (Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0)"},
		{chrome, "Chrome 138, Windows", "Chrome 138, Windows (" + chrome + ")"},
		{chrome + " Edg/138.0.0.0", "Edge 138, Windows", "Edge 138, Windows (" + chrome + " Edg/138.0.0.0)"},
		{"curl/8.14.1", "curl/8.14.1", "curl/8.14.1"},
		{"", "", ""},
		{"a \u202e\u009bphone", "a \ufffd\ufffdphone", "a \ufffd\ufffdphone"},
		{strings.Repeat("x", 50), strings.Repeat("x", 26) + "...", strings.Repeat("x", 50)},
	} {
		c := &adminClient{IP: "192.0.2.1", UserAgent: test.agent}
		if got, want := c.line(39), strings.TrimSpace("192.0.2.1 "+test.list); got != want {
			t.Errorf("list: %q, want %q", got, want)
		}
		if got, want := c.line(0), strings.TrimSpace("192.0.2.1 "+test.show); got != want {
			t.Errorf("show: %q, want %q", got, want)
		}
	}
}
