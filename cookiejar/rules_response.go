package cookiejar

import (
	"net/http"
	"slices"
	"strings"
)

// Taken is what Take found in a response.
type Taken struct {
	// Kept are the cookies for the jar, in order.
	Kept []SetCookie
	// Lines is how many lines were for the jar, good or bad.
	Lines int
	// Ignored are those for the jar that user agents would ignore.
	Ignored []Ignored
	// Open are the names of cookies for the jar that the application has set
	// without HttpOnly: scripts may want them.
	Open []string
	// Unlearned are names that were set HttpOnly, and that the keeper has no room
	// to remember: clients can send them.
	Unlearned []string
	// Over is how many lines were removed unseen: those beyond MaxSetCookie.
	Over int
}

// MaxSetCookie is how many Set-Cookie lines of a response are looked at. What is
// beyond is removed: browsers must not see what nobody has looked at.
const MaxSetCookie = 100

// Take removes from a response the Set-Cookie lines that browsers must not see,
// those of kept and of dropped names. The lines that Send is to seal or sign stay.
// The line own is the session cookie's and stays, too; it may be "". in is what
// Receive has returned for the request.
//
// What is kept for being HttpOnly may have been the browser's before, and who deletes
// a cookie often leaves the attribute out: lines that delete one of these stay, too.
func (k *Keeper) Take(h http.Header, own string, c Context, in Incoming) (t Taken) {
	t.Over = editSetCookie(h, own, func(line string) (string, bool) {
		p, _ := k.policyOf(line, c, in)
		if p != keep {
			return line, p != drop
		}
		t.Lines++
		cookie, err := ParseSetCookie(line, c.Now)
		deletes, open, byAttribute := err == nil && cookie.Deletes(c.Now), !isHTTPOnly(line), k.byAttribute(setCookieName(line))
		switch {
		case deletes:
		case open:
			t.Open = append(t.Open, setCookieName(line))
		case byAttribute && !k.httpOnly.learn(c.Host, setCookieName(line)):
			t.Unlearned = append(t.Unlearned, setCookieName(line))
		}
		cookie.HTTPOnly = cookie.HTTPOnly || byAttribute // it is what keeps it
		if err == nil && k.isForwarded(cookie.Name) && !k.fits(cookie.Value) {
			err = errForward
		}
		if err != nil {
			t.Ignored = append(t.Ignored, Ignored{setCookieName(line), err})
		} else {
			t.Kept = append(t.Kept, cookie)
		}
		return line, deletes && byAttribute && k.table.fallback == pass
	})
	return t
}

// Clean removes the Set-Cookie lines of all managed names, without regard to
// what they say: for 1xx responses and for those that come to nothing.
func (k *Keeper) Clean(h http.Header, own string, c Context, in Incoming) {
	editSetCookie(h, own, func(line string) (string, bool) {
		p, _ := k.policyOf(line, c, in)
		return line, p == pass
	})
}

// Send seals and signs what has to be in the Set-Cookie lines of a response,
// hardens them, and adds what the request showed to be under an old key, unless
// the response sets it itself. again allows to add lines. It returns what could
// not be sent, and how many lines were added.
func (k *Keeper) Send(h http.Header, c Context, in Incoming, own string, again bool) (ignored []Ignored, added int) {
	var set []string
	editSetCookie(h, own, func(line string) (string, bool) {
		p, w := k.policyOf(line, c, in)
		if p == seal || p == sign {
			name := setCookieName(line)
			set = append(set, name)
			wrapped, err := k.wrap(line, p, w, c)
			if err != nil {
				ignored = append(ignored, Ignored{name, err})
				return "", false
			}
			line = wrapped
		}
		return k.hardened(line, c), true
	})
	if !again {
		return ignored, 0
	}
	for _, w := range in.stale {
		if slices.Contains(set, w.name) || w.session != "" && w.session != c.Session {
			continue
		}
		p, _ := k.table.lookup(w.name)
		h.Add("Set-Cookie", k.hardened(w.again(k.text(p, w, w.scope(c)), c.Now), c))
		added++
	}
	return ignored, added
}

// editSetCookie is editHeader for the Set-Cookie lines of h but own. It returns
// how many were removed because there are more than MaxSetCookie.
func editSetCookie(h http.Header, own string, edit func(line string) (string, bool)) (over int) {
	looked := 0
	editHeader(h, "Set-Cookie", func(line string) (string, bool) {
		if own != "" && line == own {
			return line, true
		}
		if looked++; looked > MaxSetCookie {
			over++
			return "", false
		}
		return edit(line)
	})
	return over
}

// policyOf returns what becomes of a Set-Cookie line. A nameless cookie comes
// back as its bare value, in which servers may find a name: one of ours goes.
func (k *Keeper) policyOf(line string, c Context, in Incoming) (policy, WrapRule) {
	name, value := splitSetCookie(line)
	if k.byAttribute(name) && (isHTTPOnly(line) || k.isHeld(decodeName(name), c, in)) {
		return keep, WrapRule{}
	}
	p, w := k.table.lookup(name)
	if inner, _ := firstName(value); name == "" && p == pass && (!k.table.passes(inner) || k.isHeld(decodeName(inner), c, in)) {
		return drop, w
	}
	return p, w
}

func (k *Keeper) isForwarded(name string) bool {
	return slices.ContainsFunc(k.forward, func(f ForwardCookie) bool { return f.Name == name })
}

// wrap returns a Set-Cookie line with its value sealed or signed. One that
// deletes loses its value.
func (k *Keeper) wrap(line string, p policy, rule WrapRule, c Context) (string, error) {
	cookie, err := ParseSetCookie(line, c.Now)
	if err == nil && cookie.Name == "" {
		err = errNoName
	}
	if err != nil {
		return "", err
	}
	// Who has the line need not be a browser, which would refuse it: it could
	// take the value to the other host.
	if _, ok := cookieDomain(c.Host, cookie.Domain); !ok {
		return "", errDomain
	}
	_, _, attributes := cutSetCookie(line)
	head := line[:strings.IndexByte(line, '=')+1]
	if cookie.Deletes(c.Now) {
		return head + attributes, nil
	}
	if k.isForwarded(cookie.Name) && !k.fits(cookie.Value) {
		return "", errForward
	}
	w := wrappedValue{name: cookie.Name, value: cookie.Value}
	if rule.Bound {
		if w.session = c.Session; w.session == "" {
			return "", errUnbound
		}
	}
	var text string
	if rule.Format == FormatCookieParser {
		if text = signNode(k.keys[0], w.value); text == "" {
			return "", errUTF8
		}
	} else {
		var scope string
		w.attributes, scope = wrappedAttributes(cookie, line, c)
		text = k.text(p, w, scope)
	}
	if len(cookie.Name)+len(text) > maxPair {
		return "", errWrapped
	}
	return head + text + attributes, nil
}

// text returns a value in the form in which the browser gets it.
func (k *Keeper) text(p policy, w wrappedValue, scope string) string {
	if p == sign {
		return w.signed(k.keys[0], scope)
	}
	return w.sealed(k.keys[0], scope)
}
