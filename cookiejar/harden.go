package cookiejar

import (
	"fmt"
	"strings"
	"time"
)

// Harden is which attributes cookies must have that an application sends to the
// browser. The zero value asks for none.
type Harden struct {
	// Whether cookies are Secure. On plain HTTP nothing is added: browsers
	// would refuse the cookie.
	Secure bool `json:"secure,omitempty"`

	// Whether cookies are HttpOnly, out of reach of scripts.
	HTTPOnly bool `json:"http_only,omitempty"`

	// The weakest SameSite: "lax" or "strict".
	SameSite string `json:"same_site,omitempty"`
}

func (h Harden) validate() error {
	switch h.SameSite {
	case "", "lax", "strict":
		return nil
	case "none":
		return fmt.Errorf("harden same_site=none: there is nothing weaker; use lax or strict")
	}
	return fmt.Errorf("harden same_site=%s: use lax or strict", h.SameSite)
}

// line returns a Set-Cookie line with the attributes that are weaker than asked
// made stronger, and all other bytes as they were. Left alone altogether are
// lines that user agents ignore, and those that delete a cookie.
func (h Harden) line(line string, secure bool, now time.Time) string {
	if h == (Harden{}) {
		return line
	}
	c, err := ParseSetCookie(line, now)
	if err != nil || c.Deletes(now) {
		return line
	}
	if want := parseSameSite(h.SameSite); c.SameSite < want {
		line = withSameSite(line, h.SameSite)
	}
	if h.Secure && secure && !c.Secure {
		line += "; Secure"
	}
	if h.HTTPOnly && !c.HTTPOnly {
		line += "; HttpOnly"
	}
	return line
}

// withSameSite replaces the value of the SameSite attribute that counts, the
// last one, or adds one.
func withSameSite(line, word string) string {
	word = strings.ToUpper(word[:1]) + word[1:]
	var last attribute
	for a := range attributesOf(line) {
		if a.is("SameSite") {
			last = a
		}
	}
	if last.start == 0 {
		return line + "; SameSite=" + word
	}
	before, after := line[:last.start], line[last.start+len(last.text):]
	name, value, ok := strings.Cut(last.text, "=")
	if !ok {
		return before + strings.TrimRight(name, " \t") + "=" + word + after
	}
	lead := len(value) - len(strings.TrimLeft(value, " \t"))
	rest := value[lead:]
	tail := len(rest) - len(strings.TrimRight(rest, " \t"))
	return before + name + "=" + value[:lead] + word + rest[len(rest)-tail:] + after
}
