package cookiejar

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-session/caddy-session/internal/framed"
)

// minKey is the least length of a secret in bytes: as text has less than eight
// bits of chance in a byte, less would not be worth 256-bit algorithms.
const minKey = 32

func checkKey(i int, key string) error {
	if len(key) < minKey {
		return fmt.Errorf("keys: number %d has %d bytes, fewer than %d: use a random one, such as from openssl rand -base64 32", i+1, len(key), minKey)
	}
	return nil
}

// secrets are the keys derived from one configured secret, each for one purpose.
type secrets struct {
	sign []byte
	seal cipher.AEAD
	raw  []byte // as cookie-parser uses it
}

const (
	signLabel = "caddy-session cookie sign 1"
	sealLabel = "caddy-session cookie seal 1"
)

// newSecrets derives the keys with both steps of HKDF-SHA256 (RFC 5869), never
// the second alone: that is an HMAC under the secret itself, as is a signature
// of cookie-parser, so one of those could be a key here.
func newSecrets(secret string) (secrets, error) {
	s := secrets{raw: []byte(secret)}
	var err error
	if s.sign, err = hkdf.Key(sha256.New, s.raw, nil, signLabel, 32); err != nil {
		return s, err
	}
	key, err := hkdf.Key(sha256.New, s.raw, nil, sealLabel, 32)
	if err != nil {
		return s, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return s, err
	}
	s.seal, err = cipher.NewGCMWithRandomNonce(block)
	return s, err
}

// wrappedValue is a value in the form in which the browser holds it:
//
//	signed  VALUE.ATTRIBUTES.SIGNATURE   base64url but for the value
//	sealed  SEALED                       base64url of nonce, ciphertext, tag
//
// The attributes are those that the application has set, so that a value under
// an old key can be sent anew with them, and so that the scope and the expiry
// hold whatever the browser does. They are a line of text: the expiry in seconds
// since 1970 (0 ends with the browser), and the rest of the Set-Cookie line as it
// came, without expiry and with the path.
//
//	1790000000; Path=/; HttpOnly; SameSite=Lax
//
// The signature is the HMAC-SHA256 of name, scope (the host or the Domain), session
// (empty if not bound), attributes and value, each preceded by its length. Sealed
// are scope, attributes and value; name and session are authenticated with them.
type wrappedValue struct {
	name       string
	session    string // "" if not bound
	attributes string
	value      string
}

var (
	errForged  = errors.New("it does not verify")
	errExpired = errors.New("it has expired")
	errScope   = errors.New("it belongs to another host or path")
	errUnbound = errors.New("it is bound, and there is no session to bind it to")
	errUTF8    = errors.New("it is not UTF-8, as the format cookie-parser asks for")
	errWrapped = errors.New("its name and value would have more than 4096 bytes")
)

// signed returns the signed form under a key, for a host or Domain.
func (w wrappedValue) signed(s secrets, scope string) string {
	return w.value + "." + base64.RawURLEncoding.EncodeToString([]byte(w.attributes)) + "." +
		base64.RawURLEncoding.EncodeToString(w.signature(s, scope))
}

func (w wrappedValue) signature(s secrets, scope string) []byte {
	mac := hmac.New(sha256.New, s.sign)
	mac.Write(framed.Append(nil, w.name, scope, w.session, w.attributes, w.value))
	return mac.Sum(nil)
}

// sealed is signed for the sealed form.
func (w wrappedValue) sealed(s secrets, scope string) string {
	plain := framed.Append(nil, scope, w.attributes, w.value)
	return base64.RawURLEncoding.EncodeToString(s.seal.Seal(nil, nil, plain, framed.Append(nil, w.name, w.session)))
}

// openSigned reads the signed form under the first of the keys that made it.
func openSigned(all []secrets, name, session, text string, c Context) (w wrappedValue, key int, err error) {
	rest, encoded, ok := cutLast(text, ".")
	value, attributes, ok2 := cutLast(rest, ".")
	signature, err := strict64.DecodeString(encoded)
	if !ok || !ok2 || err != nil {
		return w, 0, errForged
	}
	decoded, err := strict64.DecodeString(attributes)
	if err != nil {
		return w, 0, errForged
	}
	w = wrappedValue{name, session, string(decoded), value}
	l := readLimits(w.attributes, c)
	for i, s := range all {
		if hmac.Equal(signature, w.signature(s, l.scope)) {
			return w, i, l.check(c)
		}
	}
	return w, 0, errForged
}

// openSealed is openSigned for the sealed form.
func openSealed(all []secrets, name, session, text string, c Context) (w wrappedValue, key int, err error) {
	sealed, err := strict64.DecodeString(text)
	if err != nil {
		return w, 0, errForged
	}
	for i, s := range all {
		plain, err := s.seal.Open(nil, nil, sealed, framed.Append(nil, name, session))
		if err != nil {
			continue
		}
		parts := framed.Cut(string(plain), 3)
		if parts == nil {
			return w, 0, errForged
		}
		w = wrappedValue{name, session, parts[1], parts[2]}
		l := readLimits(w.attributes, c)
		if l.scope != parts[0] {
			return w, i, errScope
		}
		return w, i, l.check(c)
	}
	return w, 0, errForged
}

var strict64 = base64.RawURLEncoding.Strict()

// limits are what the attributes of a wrapped value say.
type limits struct {
	ok      bool
	expires int64
	scope   string
	path    string
}

// readLimits reads attributes that may be anybody's: they mean something once
// they are verified.
func readLimits(text string, c Context) (l limits) {
	expires, rest, _ := strings.Cut(text, ";")
	n, err := strconv.ParseInt(expires, 10, 64)
	cookie, parseErr := ParseSetCookie("x=;"+rest, c.Now)
	l = limits{err == nil && parseErr == nil, n, cookie.Domain, cookie.Path}
	if l.scope == "" {
		l.scope = c.Host
	}
	return l
}

// check holds a verified value to its scope, as the browser should.
func (l limits) check(c Context) error {
	switch {
	case !l.ok:
		return errForged
	case l.expires != 0 && l.expires <= c.Now.Unix():
		return errExpired
	case l.scope != c.Host && !domainMatch(c.Host, l.scope), !pathMatch(c.Path, l.path):
		return errScope
	}
	return nil
}

// wrappedAttributes returns the attributes of a Set-Cookie line in the form of
// wrappedValue, and their scope.
func wrappedAttributes(cookie SetCookie, line string, c Context) (text, scope string) {
	b := []byte("0")
	if !cookie.Expires.IsZero() {
		b = strconv.AppendInt(nil, cookie.expiry(), 10)
	}
	for a := range attributesOf(line) {
		switch {
		case a.name == "", strings.EqualFold(a.name, "Expires"), strings.EqualFold(a.name, "Max-Age"), strings.EqualFold(a.name, "Path"):
		default:
			b = append(b, ';')
			b = append(b, a.text...)
		}
	}
	path := cookie.Path
	if path == "" {
		path = defaultPath(c.Path)
	}
	b = append(b, "; Path="...)
	b = append(b, path...)
	if scope = cookie.Domain; scope == "" {
		scope = c.Host
	}
	return string(b), scope
}

// again returns the Set-Cookie line with a new value and the attributes of a
// verified one.
func (w wrappedValue) again(value string, now time.Time) string {
	expires, rest, _ := strings.Cut(w.attributes, ";")
	line := w.name + "=" + value + ";" + rest
	if n, _ := strconv.ParseInt(expires, 10, 64); n != 0 {
		line += "; Max-Age=" + strconv.FormatInt(n-now.Unix(), 10)
	}
	return line
}

// scope returns the host or domain that a verified value belongs to.
func (w wrappedValue) scope(c Context) string { return readLimits(w.attributes, c).scope }

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}
