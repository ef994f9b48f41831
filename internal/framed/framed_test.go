package framed

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"
)

func TestFramed(t *testing.T) {
	const golden = "00000002" + "6162" + "00000000" + "00000001" + "63"
	got := Append([]byte("x"), "ab", "", "c")
	if hex.EncodeToString(got[1:]) != golden || got[0] != 'x' {
		t.Errorf("got %x", got)
	}
	if Sum("ab", "", "c") != sha256.Sum256(got[1:]) {
		t.Error("the hash is that of something else")
	}
	joined := string(got[1:])
	if texts := Cut(joined, 3); !slices.Equal(texts, []string{"ab", "", "c"}) {
		t.Errorf("cut into %q", texts)
	}
	for _, test := range []struct {
		s string
		n int
	}{{joined, 2}, {joined, 4}, {joined[:len(joined)-1], 3}, {joined + "x", 3}, {"\xff\xff\xff\xffab", 1}, {"\x00\x00", 1}, {"x", 0}} {
		if texts := Cut(test.s, test.n); texts != nil {
			t.Errorf("%q is cut into %q", test.s, texts)
		}
	}
	if n := testing.AllocsPerRun(100, func() { Sum("a text", "and another one") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
