package cookiejar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Rules is the configuration of what becomes of an application's own cookies,
// name by name. The zero value passes them all. Names are exact, or end in "*"
// for all names that begin so; the most exact one that fits counts.
//
// Validate must have returned nil before the rest is used.
type Rules struct {
	// Cookies that are kept on the server, in the session: the browser never
	// sees them.
	Keep []string `json:"keep,omitempty"`

	// Cookies that the browser holds encrypted and authenticated
	// (AES-256-GCM), so that it can neither read nor change them.
	Seal []Wrapped `json:"seal,omitempty"`

	// Cookies that the browser holds readable and signed (HMAC-SHA256), so
	// that it can't change them.
	Sign []Wrapped `json:"sign,omitempty"`

	// Cookies that go in neither direction.
	Drop []string `json:"drop,omitempty"`

	// Cookies that go through untouched.
	Pass []string `json:"pass,omitempty"`

	// What becomes of all others: "pass" (the default), "keep" or "drop".
	Default string `json:"default,omitempty"`

	// Attributes that cookies have to have that still reach the browser.
	Harden Harden `json:"harden,omitzero"`

	// Secrets for seal and sign, of at least 32 bytes each; placeholders are
	// replaced. The first one makes new values, all are tried on values that
	// come back.
	Keys []string `json:"keys,omitempty"`

	// Cookies whose value the application gets in a header, beside Cookie.
	Forward []ForwardCookie `json:"forward,omitempty"`
}

// Wrapped is what is sealed or signed.
type Wrapped struct {
	// The cookies' names.
	Names []string `json:"names"`

	// Whether values are worth nothing in another session than the one in
	// which they were set, nor without one.
	Bound bool `json:"bound,omitempty"`

	// The form of a signed value: by default VALUE.ATTRIBUTES.SIGNATURE;
	// `cookie-parser` is that of the Node library (s:VALUE.SIGNATURE), which
	// is bound to no name.
	Format string `json:"format,omitempty"`
}

// FormatCookieParser is the form of signed values that Express applications
// know.
const FormatCookieParser = "cookie-parser"

// ForwardCookie sends the value of a cookie upstream in a header.
type ForwardCookie struct {
	// The cookie's name, which has to be kept, sealed or signed.
	Name string `json:"name"`
	// The header's name. Default: the header prefix, "Cookie-" and the
	// cookie's name, in which other bytes than letters and digits become "-".
	Header string `json:"header,omitempty"`
}

// policy is what becomes of cookies.
type policy byte

const (
	pass policy = iota
	keep
	seal
	sign
	drop
)

func (p policy) String() string { return [...]string{"pass", "keep", "seal", "sign", "drop"}[p] }

// rule is a name or pattern with its policy.
type rule struct {
	name    string // without the "*"
	pattern bool
	policy  policy
	wrapped Wrapped
}

func (r rule) String() string {
	if r.pattern {
		return r.name + "*"
	}
	return r.name
}

func (r *rule) fits(name string) bool {
	return r.name == name || r.pattern && strings.HasPrefix(name, r.name)
}

// rules returns all rules, the most exact ones first.
func (r Rules) rules() []rule {
	var all []rule
	add := func(p policy, w Wrapped) {
		for _, name := range w.Names {
			prefix, pattern := strings.CutSuffix(name, "*")
			all = append(all, rule{prefix, pattern, p, w})
		}
	}
	add(keep, Wrapped{Names: r.Keep})
	add(drop, Wrapped{Names: r.Drop})
	add(pass, Wrapped{Names: r.Pass})
	for _, w := range r.Seal {
		add(seal, w)
	}
	for _, w := range r.Sign {
		add(sign, w)
	}
	slices.SortStableFunc(all, func(a, b rule) int {
		if a.pattern != b.pattern {
			if a.pattern {
				return 1
			}
			return -1
		}
		return len(b.name) - len(a.name)
	})
	return all
}

func (r Rules) defaultPolicy() policy {
	switch r.Default {
	case "keep":
		return keep
	case "drop":
		return drop
	}
	return pass
}

// Validate returns an error if the rules have an unknown word or a malformed
// name, or contradict each other. own are the names of the session cookie.
func (r Rules) Validate(own []string) error {
	switch r.Default {
	case "", "pass", "keep", "drop":
	default:
		return fmt.Errorf("default %q: use pass, keep or drop", r.Default)
	}
	for _, w := range slices.Concat(r.Seal, r.Sign) {
		if len(w.Names) == 0 {
			return errors.New("seal and sign need the names of cookies")
		}
	}
	for _, w := range r.Seal {
		if w.Format != "" {
			return fmt.Errorf("seal %s: a format is for sign only", w.Names[0])
		}
	}
	for _, w := range r.Sign {
		switch {
		case w.Format != "" && w.Format != FormatCookieParser:
			return fmt.Errorf("sign %s: unknown format %q: use cookie-parser, or none", w.Names[0], w.Format)
		case w.Format != "" && w.Bound:
			return fmt.Errorf("sign %s: the format cookie-parser has no room for bound: remove one of the two", w.Names[0])
		}
	}
	if len(r.Keys) == 0 && len(r.Seal)+len(r.Sign) > 0 {
		return errors.New("seal and sign need keys: write keys {env.COOKIE_KEY}, with a secret of 32 bytes or more")
	}
	for i, key := range r.Keys {
		// One with a placeholder is known only later.
		if !strings.ContainsAny(key, "{}") {
			if err := checkKey(i, key); err != nil {
				return err
			}
		}
	}
	if err := r.validateNames(own); err != nil {
		return err
	}
	if err := r.Harden.validate(); err != nil {
		return err
	}
	for i, f := range r.Forward {
		if slices.ContainsFunc(r.Forward[:i], func(other ForwardCookie) bool { return other == f }) {
			return fmt.Errorf("forward %s is given twice: remove one", f.Name)
		}
		if err := checkCookieName(f.Name); err != nil {
			return fmt.Errorf("forward %w", err)
		}
		switch p, _ := newTable(r).lookup(f.Name); p {
		case keep, seal, sign:
		default:
			return fmt.Errorf("forward %s: anybody can send that cookie: keep, seal or sign it", f.Name)
		}
	}
	return nil
}

func (r Rules) validateNames(own []string) error {
	all := r.rules()
	for i, one := range all {
		if !one.pattern || one.name != "" {
			if err := checkCookieName(one.name); err != nil {
				return fmt.Errorf("%s %w", one.policy, err)
			}
		}
		if !one.pattern && slices.Contains(own, one.name) {
			return fmt.Errorf("%s %s: that is the name of the session cookie: leave it out, or set another name in cookie { ... }", one.policy, one)
		}
		for _, other := range all[:i] {
			switch {
			case one.pattern != other.pattern:
			case one.name == other.name && one.policy == other.policy:
				return fmt.Errorf("%s %s is given twice: remove one", one.policy, one)
			case one.name == other.name:
				return fmt.Errorf("%s is to be %s and %s: decide for one of them", one, verb(other.policy), verb(one.policy))
			case one.policy != other.policy && foldCookie(one.name) == foldCookie(other.name):
				return fmt.Errorf("%s %s and %s %s: some servers take these names for the same: use one policy for both",
					other.policy, other, one.policy, one)
			}
		}
		if one.pattern && one.name == "" && r.Default != "" && r.Default != one.policy.String() {
			return fmt.Errorf("%s * and default %s contradict each other: remove one of them", one.policy, r.Default)
		}
	}
	return nil
}

// verb is what is done to a cookie, for error messages.
func verb(p policy) string {
	return [...]string{"passed", "kept", "sealed", "signed", "dropped"}[p]
}

// checkCookieName holds a configured name to what user agents and servers can
// agree on.
func checkCookieName(name string) error {
	if name == "" || len(name) > maxCookieName {
		return fmt.Errorf("%q: a name has 1 to %d bytes", name, maxCookieName)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`=;,"*`, c) >= 0 {
			return fmt.Errorf("%q: a cookie's name has no %q; a * stands at the end", name, c)
		}
	}
	return nil
}

// table finds the rule for a name.
type table struct {
	rules    []rule // the most exact ones first
	folded   []rule // the same with names as foldCookie writes them
	fallback policy
}

func newTable(r Rules) *table {
	t := &table{rules: r.rules(), fallback: r.defaultPolicy()}
	for _, one := range t.rules {
		one.name = foldCookie(one.name)
		t.folded = append(t.folded, one)
	}
	return t
}

// lookup returns what becomes of the cookie called name, and how it is wrapped.
func (t *table) lookup(name string) (policy, Wrapped) {
	for i := range t.rules {
		if t.rules[i].fits(name) {
			return t.rules[i].policy, t.rules[i].wrapped
		}
	}
	return t.fallback, Wrapped{}
}

// passes reports whether no server could take a cookie called name for one that
// we manage.
//
// PHP reads "a.b", "a b" and "a[b" as a_b, and "a[b]" as a member of a; PHP
// before 7.4 and others decode percent signs in names; ASP.NET knows no case;
// Python trims all that Unicode has of white space.
func (t *table) passes(name string) bool {
	name = decodeName(name)
	if t.findFolded(name) != pass {
		return false
	}
	i := strings.IndexByte(name, '[')
	return i <= 0 || t.findFolded(name[:i]) == pass
}

// findFolded is lookup for a name in any of the spellings that fold to the same.
func (t *table) findFolded(name string) policy {
	for i := range t.folded {
		if t.folded[i].fitsFolded(name) {
			return t.folded[i].policy
		}
	}
	return t.fallback
}

// fitsFolded is fits(foldCookie(name)) without an allocation: this runs for every
// cookie of every request.
func (r *rule) fitsFolded(name string) bool {
	if len(name) < len(r.name) || len(name) > len(r.name) && !r.pattern {
		return false
	}
	for i := range len(r.name) {
		if foldByte(name[i]) != r.name[i] {
			return false
		}
	}
	return true
}

// decodeName decodes percent signs and plus signs, as some servers do in names;
// some then stop at a zero byte. At the ends, it drops what may be white space to
// any, or a quote: all that is not ASCII, as no configured name has it.
func decodeName(name string) string {
	if strings.ContainsAny(name, "%+") {
		name = percentDecode(strings.ReplaceAll(name, "+", " "))
		name, _, _ = strings.Cut(name, "\x00")
	}
	for name != "" && isEdge(name[0]) {
		name = name[1:]
	}
	for name != "" && isEdge(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	return name
}

func isEdge(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' }

// foldCookie maps a name to what servers can't tell apart.
func foldCookie(name string) string {
	b := []byte(name)
	for i, c := range b {
		b[i] = foldByte(c)
	}
	return string(b)
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + ('a' - 'A')
	case c == ' ', c == '.', c == '[':
		return '_'
	}
	return c
}

// percentDecode decodes what is an escape and leaves the rest alone.
func percentDecode(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i] == '%' {
			if high, low := unhex(s[i+1]), unhex(s[i+2]); high >= 0 && low >= 0 {
				b = append(b, byte(high<<4|low))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(c byte) int {
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
