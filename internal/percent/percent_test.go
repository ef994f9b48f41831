package percent

import (
	"net/url"
	"testing"
)

func TestPercent(t *testing.T) {
	for c := range 256 {
		escape := string(Append(nil, byte(c)))
		if got, err := url.PathUnescape(escape); err != nil || got != string([]byte{byte(c)}) {
			t.Errorf("byte %d is encoded as %s", c, escape)
		}
		if got := Decode("a" + escape + "b"); got != "a"+string([]byte{byte(c)})+"b" {
			t.Errorf("%s is decoded as %q", escape, got)
		}
	}
	for s, want := range map[string]string{
		"": "", "plain": "plain", "%c3%A9": "é", "%": "%", "%4": "%4", "%4g": "%4g", "%g4": "%g4", "%%41": "%A", "%2541": "%41", "%+1": "%+1", "a%41": "aA",
	} {
		if got := Decode(s); got != want || Decode([]byte(s)) != want {
			t.Errorf("%q is decoded as %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string]bool{"": true, "a": true, "%41%zz": false, "%": false, "a%4": false, "%41b%c3": true} {
		if Valid(s) != want {
			t.Errorf("Valid(%q) = %t", s, !want)
		}
	}
}
