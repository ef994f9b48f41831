package session

import "github.com/caddy-session/caddy-session/internal/percent"

// plainText returns a string's characters for the JSON text of a string, and
// the text as it is for all other JSON.
func plainText(value []byte) string {
	if len(value) > 0 && value[0] == '"' {
		return unquote(value)
	}
	return string(value)
}

// EncodeValue returns s with all bytes outside printable ASCII, "%", and a
// leading or trailing space percent-encoded, so that it can stand in a header,
// a CGI variable or a log line and be decoded by any percent-decoder.
func EncodeValue(s string) string {
	n := encodedLen(s)
	if n == len(s) {
		return s
	}
	b := make([]byte, 0, n)
	for i := range len(s) {
		if c := s[i]; mustEncode(s, i) {
			b = percent.Append(b, c)
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func encodedLen(s string) int {
	n := len(s)
	for i := range len(s) {
		if mustEncode(s, i) {
			n += 2
		}
	}
	return n
}

func mustEncode(s string, i int) bool {
	c := s[i]
	return c < ' ' || c >= 0x7f || c == '%' || c == ' ' && (i == 0 || i == len(s)-1)
}
