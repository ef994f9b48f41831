package cookiejar

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/caddy-session/caddy-session/internal/percent"
)

// The signed cookies of Express, as the Node modules cookie-parser and
// cookie-signature make them: s:VALUE.SIGNATURE, where the signature is the
// HMAC-SHA256 of the value under the secret itself, in base64 without padding;
// and all of it percent-encoded as by encodeURIComponent. It is bound to
// nothing: the value of one cookie is good for another.

// signNode returns the signed form of a value as it stands in a Set-Cookie line,
// which is percent-encoded itself. What is not UTF-8 has none: it is "".
func signNode(s secrets, value string) string {
	if value = decodeComponent(value); !utf8.ValidString(value) {
		return ""
	}
	return encodeComponent("s:" + value + "." + base64.RawStdEncoding.EncodeToString(nodeSignature(s, value)))
}

// openNode reads the signed form under the first of the keys that made it, and
// returns the value as Express sends it without a signature.
func openNode(all []secrets, text string) (value string, key int, err error) {
	rest, ok := strings.CutPrefix(decodeComponent(text), "s:")
	value, encoded, ok2 := cutLast(rest, ".")
	signature, err := base64.RawStdEncoding.Strict().DecodeString(encoded)
	if !ok || !ok2 || err != nil {
		return "", 0, errForged
	}
	for i, s := range all {
		if hmac.Equal(signature, nodeSignature(s, value)) {
			return encodeComponent(value), i, nil
		}
	}
	return "", 0, errForged
}

func nodeSignature(s secrets, value string) []byte {
	mac := hmac.New(sha256.New, s.raw)
	mac.Write([]byte(value))
	return mac.Sum(nil)
}

// decodeComponent is the decodeURIComponent of ECMAScript, but leaves what is
// not encoded correctly as it is, as the module cookie does.
func decodeComponent(s string) string {
	if decoded := percent.Decode(s); percent.Valid(s) && utf8.ValidString(decoded) {
		return decoded
	}
	return s
}

// encodeComponent is the encodeURIComponent of ECMAScript.
func encodeComponent(s string) string {
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.!~*'()", c) >= 0 {
			b = append(b, c)
		} else {
			b = percent.Append(b, c)
		}
	}
	return string(b)
}
