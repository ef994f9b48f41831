package cookiejar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Validate returns an error if the rules have an unknown word or a malformed
// name, or contradict each other. own are the names of the session cookie: a
// cookie of the application can have one of them only if it is kept, since then
// the browser has no other one of that name than ours.
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
	if err := validateHarden(r.Harden); err != nil {
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
	if r.KeepHTTPOnly && r.Default == "keep" {
		return errors.New("keep http_only and default keep contradict each other: remove one of them")
	}
	for i, one := range all {
		if !one.pattern || one.name != "" {
			if err := checkCookieName(one.name); err != nil {
				return fmt.Errorf("%s %w", one.policy, err)
			}
		}
		if !one.pattern && one.policy != keep && slices.Contains(own, one.name) {
			return fmt.Errorf("%s %s: that is the name of the session cookie: keep it, leave it out, or set another name with cookie { name ... }", one.policy, one)
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
		if one.pattern && one.name == "" && r.KeepHTTPOnly {
			return fmt.Errorf("keep http_only and %s * contradict each other: remove one of them", one.policy)
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
