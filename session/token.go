package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/caddy-session/caddy-session/internal/framed"
)

const (
	idBytes     = 16
	secretBytes = 32
	tagBytes    = 6

	// idSize is the length of a session id: 16 random bytes in base64url.
	idSize = (idBytes*8 + 5) / 6
	// tokenSize is the length of a token in bearer form.
	tokenSize = idSize + 1 + (secretBytes*8+5)/6
	// taggedSize is the length of one with a tag.
	taggedSize = tokenSize + 1 + (tagBytes*8+5)/6
)

var base64url = base64.RawURLEncoding.Strict()

// Token is the split token (selector and verifier) that a cookie carries:
// "<id>.<secret>", see ParseCookie for what may follow. The id is public. The secret is known to the browser only:
// the store holds a hash of it, and no formatting verb prints it.
// The zero Token belongs to no session.
type Token struct {
	ID     string
	secret [secretBytes]byte
}

// NewToken returns a token with a new id and a new secret.
func NewToken() Token { return Token{ID: newID()}.renew() }

func newID() string {
	var id [idBytes]byte
	rand.Read(id[:]) // never fails, see crypto/rand
	return base64url.EncodeToString(id[:])
}

// renew returns a token with the same id and a new secret.
func (t Token) renew() Token {
	rand.Read(t.secret[:])
	return t
}

// ParseToken reads the bearer form. It accepts what [Token.Bearer] returns and
// nothing else: exact lengths and canonical unpadded base64url.
func ParseToken(s string) (t Token, ok bool) {
	if len(s) != tokenSize || s[idSize] != '.' || !ValidID(s[:idSize]) {
		return Token{}, false
	}
	// The decoder skips CR and LF, so the length has to be checked too.
	n, err := base64url.Decode(t.secret[:], []byte(s[idSize+1:]))
	if err != nil || n != secretBytes {
		return Token{}, false
	}
	t.ID = s[:idSize]
	return t, true
}

// ParseCookie reads the value of a cookie: a token in bearer form, and perhaps "."
// and a tag of 8 characters of base64url. The tag tells caches apart what requests
// with the same token get. It is no secret, and what it says is not checked.
func ParseCookie(value string) (t Token, tag string, ok bool) {
	if len(value) == taggedSize && value[tokenSize] == '.' {
		value, tag = value[:tokenSize], value[tokenSize+1:]
		var b [tagBytes]byte
		if n, err := base64url.Decode(b[:], []byte(tag)); err != nil || n != tagBytes {
			return Token{}, "", false
		}
	}
	if t, ok = ParseToken(value); !ok {
		tag = ""
	}
	return t, tag, ok
}

// IsCookie reports whether ParseCookie reads value.
func IsCookie(value string) bool {
	_, _, ok := ParseCookie(value)
	return ok
}

// Cookie returns the value of a cookie that carries the token and a tag, ""
// for none. It is as secret as [Token.Bearer].
func (t Token) Cookie(tag string) string {
	if tag == "" {
		return t.Bearer()
	}
	return t.Bearer() + "." + tag
}

// ValidID reports whether s is the canonical form of a session id.
func ValidID(s string) bool {
	if len(s) != idSize {
		return false
	}
	var id [idBytes]byte
	n, err := base64url.Decode(id[:], []byte(s))
	return err == nil && n == idBytes
}

// Bearer returns the token as the cookie carries it. Whoever has it has the
// session: it belongs in a Set-Cookie line and nowhere else.
func (t Token) Bearer() string {
	b := make([]byte, 0, tokenSize)
	b = append(b, t.ID...)
	b = append(b, '.')
	return string(base64url.AppendEncode(b, t.secret[:]))
}

// String returns the id and hides the secret.
func (t Token) String() string { return t.ID + ".REDACTED" }

// Format keeps the secret out of every verb, %x and %#v included.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprint(f, t.String()) }

// Scope is where a token is valid. It is part of the verifier, so a token of
// one site is worth nothing on another site that shares the store.
type Scope struct {
	Name string // name of the cookie
	Host string // its Domain, else the canonical host of the request
	Path string // path of the cookie
}

// overlaps reports whether browsers send cookies of one scope to sites of the
// other one, too: below its path, or below the host that is its Domain. They
// never do with the prefix __Host- (RFC 6265bis, section 4.1.3.2).
func (s Scope) overlaps(o Scope) bool {
	return s.Name == o.Name && !strings.HasPrefix(s.Name, "__Host-") &&
		(s.Host == o.Host || strings.HasSuffix(s.Host, "."+o.Host) || strings.HasSuffix(o.Host, "."+s.Host))
}

// What a verifier is for. Each use has verifiers of its own, so that whoever
// writes to the store can't have one taken for another.
const (
	forSealed = "sealed" // the secret of a record with a sealed body
	forPlain  = "plain"  // the secret of one that stores can read and edit
	forOld    = "old"    // a secret that was replaced
)

// verifier returns what the store holds in place of the secret.
func (t Token) verifier(s Scope, use string) [sha256.Size]byte {
	return framed.Sum("caddy-session verifier 1", t.ID, use, s.Name, s.Host, s.Path, string(t.secret[:]))
}

// indexKey returns the key of a subject's index entries.
func indexKey(realm, subject string) string {
	sum := framed.Sum("caddy-session subject 1", realm, subject)
	return base64url.EncodeToString(sum[:])
}
