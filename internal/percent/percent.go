// Package percent encodes and decodes bytes as URLs do (RFC 3986, section 2.1).
// Which bytes are encoded is for the caller to say.
package percent

// Append appends "%" and the two upper-case digits of c.
func Append(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

// Decode decodes every escape in s, and leaves alone what is none.
func Decode[T string | []byte](s T) string {
	first := 0
	for first < len(s) && s[first] != '%' {
		first++
	}
	if first == len(s) {
		return string(s)
	}
	b := append(make([]byte, 0, len(s)), s[:first]...)
	for i := first; i < len(s); i++ {
		c := s[i]
		if decoded, ok := escape(s, i); ok {
			c = decoded
			i += 2
		}
		b = append(b, c)
	}
	return string(b)
}

// Valid reports whether every "%" in s begins an escape.
func Valid(s string) bool {
	for i := range len(s) {
		if s[i] == '%' {
			if _, ok := escape(s, i); !ok {
				return false
			}
		}
	}
	return true
}

// escape returns the byte of the escape at i, if there is one.
func escape[T string | []byte](s T, i int) (c byte, ok bool) {
	if s[i] != '%' || i+2 >= len(s) {
		return 0, false
	}
	high, low := digit(s[i+1]), digit(s[i+2])
	return byte(high<<4 | low), high >= 0 && low >= 0
}

func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
