package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/caddy-session/caddy-session/internal/percent"
)

// fields reads space-separated fields one by one. After the first error bad is
// set and the results mean nothing.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) next() []byte {
	field, rest, _ := bytes.Cut(f.rest, []byte(" "))
	f.rest = rest
	f.bad = f.bad || len(field) == 0
	return field
}

func (f *fields) number() uint64 { return f.decimal(f.next()) }

func (f *fields) decimal(field []byte) uint64 {
	n, err := strconv.ParseUint(string(field), 10, 63)
	f.bad = f.bad || err != nil || len(field) > 1 && field[0] == '0'
	return n
}

func (f *fields) millis() time.Time {
	n := f.number()
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(n))
}

// word returns the one of the words that comes next.
func (f *fields) word(words ...string) string {
	field := f.next()
	for _, word := range words {
		if string(field) == word {
			return word
		}
	}
	f.bad = true
	return ""
}

// form returns the form of the body, and the length of its first part if it has two.
func (f *fields) form() (sealed, parted bool, split int) {
	form, length, parted := bytes.Cut(f.next(), []byte(","))
	sealed = string(form) == "sealed"
	f.bad = f.bad || !sealed && string(form) != "plain"
	if !parted {
		return sealed, false, 0
	}
	n := f.decimal(length)
	f.bad = f.bad || n > maxPrivate+sealOverhead || sealed && n < sealOverhead
	return sealed, true, int(n)
}

func (f *fields) verifier(dst *[sha256.Size]byte) { f.decodeVerifier(dst, f.next()) }

// verifiers reads up to most of them, nil for "-".
func (f *fields) verifiers(most int) [][sha256.Size]byte {
	field := f.next()
	if string(field) == "-" {
		return nil
	}
	list := make([][sha256.Size]byte, bytes.Count(field, []byte(","))+1)
	if f.bad = f.bad || len(list) > most; f.bad {
		return nil
	}
	for i := range list {
		var one []byte
		one, field, _ = bytes.Cut(field, []byte(","))
		f.decodeVerifier(&list[i], one)
	}
	return list
}

func (f *fields) decodeVerifier(dst *[sha256.Size]byte, field []byte) {
	if len(field) != base64.RawURLEncoding.EncodedLen(len(dst)) {
		f.bad = true
		return
	}
	n, err := base64url.Decode(dst[:], field)
	f.bad = f.bad || err != nil || n != len(dst)
}

func (f *fields) text() string {
	field := f.next()
	if string(field) == "-" {
		return ""
	}
	if bytes.IndexByte(field, '%') < 0 {
		// The common case needs no second encoding to prove it canonical.
		for _, c := range field {
			f.bad = f.bad || c <= ' ' || c >= 0x7f
		}
		return string(field)
	}
	text := percent.Decode(field)
	f.bad = f.bad || !bytes.Equal(appendText(nil, text), field)
	return text
}

func appendMillis(b []byte, t time.Time) []byte {
	b = append(b, ' ')
	if t.IsZero() {
		return append(b, '0')
	}
	return strconv.AppendInt(b, t.UnixMilli(), 10)
}

func appendText(b []byte, text string) []byte {
	switch text {
	case "":
		return append(b, '-')
	case "-":
		return append(b, "%2D"...)
	}
	for i := range len(text) {
		if c := text[i]; c == ' ' || mustEncode(text, i) {
			b = percent.Append(b, c)
		} else {
			b = append(b, c)
		}
	}
	return b
}
