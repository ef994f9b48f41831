package cookiejar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Harden is which attributes cookies must have that an application sends to the
// browser.
type Harden struct {
	// Whether cookies are Secure. On plain HTTP nothing is added: browsers
	// would refuse the cookie.
	Secure bool `json:"secure,omitempty"`

	// Whether cookies are HttpOnly, out of reach of scripts.
	HTTPOnly bool `json:"http_only,omitempty"`

	// The weakest SameSite: "lax" or "strict".
	SameSite string `json:"same_site,omitempty"`

	// Cookies of which this is not asked. Names are exact, or end in "*".
	Except []string `json:"except,omitempty"`
}

func (h Harden) validate() error {
	switch h.SameSite {
	case "", "lax", "strict":
	case "none":
		return errors.New("harden same_site=none: there is nothing weaker; use lax or strict")
	default:
		return fmt.Errorf("harden same_site=%s: use lax or strict", h.SameSite)
	}
	if !h.Secure && !h.HTTPOnly && h.SameSite == "" {
		return errors.New("harden needs at least one attribute: use secure, http_only, same_site=lax or same_site=strict")
	}
	for i, name := range h.Except {
		prefix, pattern := strings.CutSuffix(name, "*")
		if pattern && prefix == "" {
			return errors.New("except * leaves nothing to harden: remove the line")
		}
		if err := checkCookieName(prefix); err != nil {
			return fmt.Errorf("except %w", err)
		}
		if slices.Contains(h.Except[:i], name) {
			return fmt.Errorf("except %s is given twice: remove one", name)
		}
	}
	return nil
}

// validateHarden returns an error if a rule is malformed, or if two of them ask for
// the same: what one of them excepts, the other would harden.
func validateHarden(all []Harden) error {
	var asked Harden
	for _, h := range all {
		if err := h.validate(); err != nil {
			return err
		}
		twice := ""
		switch {
		case h.Secure && asked.Secure:
			twice = "secure"
		case h.HTTPOnly && asked.HTTPOnly:
			twice = "http_only"
		case h.SameSite != "" && asked.SameSite != "":
			twice = "same_site"
		}
		if twice != "" {
			return fmt.Errorf("harden has %s in two lines: write it once, with all exceptions", twice)
		}
		asked.Secure, asked.HTTPOnly = asked.Secure || h.Secure, asked.HTTPOnly || h.HTTPOnly
		asked.SameSite += h.SameSite
	}
	return nil
}

// hardening is a Harden that serves requests.
type hardening struct {
	Harden
	except []rule
}

func compileHarden(all []Harden) (compiled []hardening) {
	for _, h := range all {
		compiled = append(compiled, hardening{h, Rules{Pass: h.Except}.rules()})
	}
	return compiled
}

// hardened returns a Set-Cookie line as the browser is to get it.
func (k *Keeper) hardened(line string, c Context) string {
	for _, h := range k.harden {
		name := setCookieName(line)
		if !slices.ContainsFunc(h.except, func(r rule) bool { return r.fits(name) }) {
			line = h.line(line, c.Secure, c.Now)
		}
	}
	return line
}

// line returns a Set-Cookie line with the attributes that are weaker than asked
// made stronger, and all other bytes as they were. Left alone altogether are
// lines that user agents ignore, and those that delete a cookie.
func (h Harden) line(line string, secure bool, now time.Time) string {
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
