package session

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// data500 is a data object of 500 bytes.
func data500() string {
	var pairs []string
	for i := range 20 {
		pairs = append(pairs, fmt.Sprintf(`"key%02d":"value %05d"`, i, i))
	}
	object := "{" + strings.Join(pairs, ",") + `,"user":"`
	return object + strings.Repeat("u", 500-len(object)-2) + `"}`
}

func benchRecord(b *testing.B, sealed bool) (Token, []byte) {
	token, r := golden(b)
	r.data, r.private, r.sealed = []byte(data500()), nil, sealed
	if len(r.data) != 500 {
		b.Fatal(len(r.data))
	}
	return token, r.encode(token)
}

func BenchmarkRecordDecode(b *testing.B) {
	for _, sealed := range []bool{true, false} {
		b.Run(ifElse(sealed, "sealed", "plain"), func(b *testing.B) {
			token, value := benchRecord(b, sealed)
			b.ReportAllocs()
			for b.Loop() {
				r, header, body, err := decodeRecord(value)
				if err == nil {
					err = r.openBody(token, header, body)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	token := NewToken()
	plain, header := []byte(data500()), make([]byte, 250)
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		token.seal(dst, plain, header)
	}
}

func BenchmarkParseToken(b *testing.B) {
	bearer := NewToken().Bearer()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := ParseToken(bearer); !ok {
			b.Fatal("it is no token")
		}
	}
}

// Of a response that asks for nothing, as most do.
func BenchmarkTake(b *testing.B) {
	pr := protocol(b, "")
	h := http.Header{"Content-Type": {"text/html"}, "Content-Length": {"5"}, "Date": {"x"}, "Server": {"Caddy"}}
	b.ReportAllocs()
	for b.Loop() {
		if p, err := pr.Take(h, 1000); p != nil || err != nil {
			b.Fatal(p, err)
		}
	}
}

func BenchmarkPatchApply(b *testing.B) {
	p := Patch{Set: objects(b, `{"key03":"new","cart":{"sku1":2}}`)}
	was := content{data: []byte(data500()), subject: "u"}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := p.apply(was, DefaultPolicy()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStripRequest(b *testing.B) {
	for name, forward := range map[string][]Forward{"prefix": nil, "custom": {{"role", "X-Remote-Role"}}} {
		b.Run(name, func(b *testing.B) {
			pr := protocol(b, "", forward...)
			h := http.Header{}
			for _, name := range []string{
				"Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Length", "Content-Type", "Cookie", "Dnt",
				"Origin", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "User-Agent", "X-Forwarded-For", "X-Requested-With",
			} {
				h.Set(name, "value")
			}
			b.ReportAllocs()
			for b.Loop() {
				pr.StripRequest(h)
			}
			if len(h) != 15 {
				b.Fatal(h)
			}
		})
	}
}

func BenchmarkInject(b *testing.B) {
	for name, forward := range map[string][]Forward{"whole": nil, "forward": {{"key00", ""}, {"user", "X-Remote-User"}}} {
		b.Run(name, func(b *testing.B) {
			pr := protocol(b, "", forward...)
			s := sample(data500(), "uuuuuuuu")
			h := http.Header{}
			b.ReportAllocs()
			for b.Loop() {
				if err := pr.Inject(h, s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
