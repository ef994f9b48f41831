package cookiejar

import (
	"net/http"
	"slices"
	"strings"
)

// Keeper applies [Rules] to requests and responses. It may be used by many
// goroutines, and does not change but for the names that [Rules.KeepHTTPOnly] has it
// learn.
type Keeper struct {
	table    *table
	keys     []secrets
	harden   []hardening
	forward  []ForwardCookie
	fits     func(string) bool
	httpOnly *httpOnlyNames // nil without KeepHTTPOnly
}

// Compile returns the keeper for the rules, or the error of Validate. The keys
// must have their placeholders replaced. own is for Validate. fits says whether a value is small enough to be forwarded in a header:
// cookies of the names in Forward are ignored if theirs is not.
func (r Rules) Compile(own []string, fits func(value string) bool) (*Keeper, error) {
	if err := r.Validate(own); err != nil {
		return nil, err
	}
	k := &Keeper{table: newTable(r), harden: compileHarden(r.Harden), forward: r.Forward, fits: fits}
	if r.KeepHTTPOnly {
		k.httpOnly = new(httpOnlyNames)
	}
	for i, key := range r.Keys {
		if err := checkKey(i, key); err != nil {
			return nil, err
		}
		s, err := newSecrets(key)
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, s)
	}
	return k, nil
}

// Manages reports whether clients can't choose what the application reads under
// a name, in whatever case: a cookie that is kept, sealed, signed or dropped. What is
// kept only where it is HttpOnly is not: the first client could.
func (k *Keeper) Manages(name string) bool { return !k.table.passes(name) }

// Incoming is what the cookies of a request turned out to be.
type Incoming struct {
	// Forward are the values of the cookies in Rules.Forward, in that order;
	// nil where there is none.
	Forward []*string

	// Invalid are the cookies that were removed because they did not verify.
	Invalid []Ignored

	stale     []wrappedValue  // made under an old key
	unlearned map[string]bool // names that the jar has as HttpOnly and the keeper has no room for; nil for none
}

// Stale reports whether there are values under an old key, to be sent again.
func (in Incoming) Stale() bool { return len(in.stale) > 0 }

// Receive makes the Cookie header of a request what the application is to see:
// cookies of managed names go, whatever the client sent under them, in every
// spelling that some server could read; sealed and signed ones that verify are
// unwrapped in their place; and those of the jar, as its JSON text, are put in
// front. Everything else stays byte for byte, as with [Strip].
//
// The jar's cookies come first because most servers take the first of two, and
// since a quote that another cookie leaves open swallows what comes behind it.
func (k *Keeper) Receive(h http.Header, c Context, jar string) Incoming {
	r := receiver{Keeper: k, context: c, jar: jar}
	if len(k.forward) > 0 {
		r.in.Forward = make([]*string, len(k.forward))
	}
	var own string
	if jar != "" {
		own = r.jarPairs()
	}
	editHeader(h, "Cookie", func(line string) (string, bool) { return editPairs(line, r.pair) })
	if own == "" {
		return r.in
	}
	if others := h["Cookie"]; len(others) > 0 {
		others = slices.Clone(others)
		others[0] = own + "; " + trimSeparator(others[0])
		h["Cookie"] = others
	} else {
		h["Cookie"] = []string{own}
	}
	return r.in
}

// receiver is one Receive.
type receiver struct {
	*Keeper
	context Context
	jar     string
	kept    map[string]bool // the names in the jar, nil until smuggles asks
	in      Incoming
}

// jarPairs returns the part of the header that the jar makes.
func (r *receiver) jarPairs() string {
	var room [12]jarCookie
	var order [12]int
	all := readJar(room[:0], r.jar)
	if r.httpOnly != nil {
		r.learnJar(all)
	}
	chosen := selectCookies(order[:0], all, &r.context)
	size := 0
	for _, i := range chosen {
		one := &all[i]
		size += len(one.name) + len(one.value) + len("=; ")
	}
	var b strings.Builder
	b.Grow(size)
	for _, i := range chosen {
		one := &all[i]
		// The rules may have been others when it was stored.
		p, _ := r.table.lookup(one.name)
		kept := p == keep || one.httpOnly && r.byAttribute(one.name)
		if !kept || !r.see(one.name, one.value) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		if one.name != "" {
			b.WriteString(one.name)
			b.WriteByte('=')
		}
		b.WriteString(one.value)
	}
	return b.String()
}

// see notes the value of a cookie that the application gets in a header. It
// returns false if that would be too large.
func (r *receiver) see(name, value string) bool {
	for i, f := range r.forward {
		if f.Name != name {
			continue
		}
		if !r.fits(value) {
			r.in.Invalid = append(r.in.Invalid, Ignored{name, errForward})
			return false
		}
		if r.in.Forward[i] == nil {
			first := value // its own variable: not every call is to allocate
			r.in.Forward[i] = &first
		}
	}
	return true
}

// pair returns what becomes of a pair of the Cookie header, and false if that is
// nothing.
func (r *receiver) pair(pair string) (string, bool) {
	name, value, ok := strings.Cut(pair, "=")
	name = trim(name)
	if !ok {
		value = "" // PHP takes it for a cookie without value
	}
	if trimEdges(name) == "" {
		// A cookie without a name, or nothing. Servers that skip the "=" find
		// a name behind it.
		p, _ := r.table.lookup("")
		inner, _ := firstName(pair)
		return pair, trim(pair) == "" ||
			p == pass && !r.looksHeld("") && r.table.passes(inner) && !r.looksHeld(inner) && !r.smuggles(pair)
	}
	p, w := r.table.lookup(name)
	switch p {
	case pass:
		return pair, r.table.passes(name) && !r.looksHeld(name) && !r.smuggles(pair)
	case seal, sign:
		if !ok {
			return "", false
		}
		value, valid := r.open(p, w, name, trimBlank(value))
		if !valid {
			return "", false
		}
		blank := len(pair) - len(trimSeparator(pair))
		return pair[:blank] + name + "=" + value, true
	}
	return "", false
}

// looksHeld reports whether some server could take a cookie called name for one that
// the application has set HttpOnly: see table.passes. A rule for the very name comes
// first.
func (r *receiver) looksHeld(name string) bool {
	if !r.byAttribute(name) {
		return false
	}
	name = decodeName(name)
	return r.isHeld(name, r.context, r.in) || r.isHeld(name[:tokenLen(name)], r.context, r.in)
}

// smuggles reports whether a server would find one of ours behind the first name
// of a pair: a name that the rules have, that is in the session's jar, or that was
// set HttpOnly where that counts. Under a
// default, any other name would be managed too; but then, somebody has decided
// that this pair passes, and values may have commas, blanks and "=".
func (r *receiver) smuggles(pair string) bool {
	return hidesName(trim(pair), true, func(name string) bool {
		name = decodeName(name)
		return r.table.names(name) || r.isKept(name) || r.isHeld(name, r.context, r.in)
	})
}

// isKept reports whether the jar has a cookie called name.
func (r *receiver) isKept(name string) bool {
	if r.kept == nil {
		r.kept = map[string]bool{}
		for _, one := range readJar(nil, r.jar) {
			r.kept[one.name] = true
		}
	}
	return r.kept[name]
}

// open returns the value that the application gets for a wrapped one.
func (r *receiver) open(p policy, rule WrapRule, name, text string) (value string, valid bool) {
	session := ""
	if rule.Bound {
		session = r.context.Session
	}
	var w wrappedValue
	var key int
	var err error
	switch {
	case rule.Bound && session == "":
		err = errUnbound
	case rule.Format == FormatCookieParser:
		// Without attributes, it can't be sent anew under another key.
		w.value, _, err = openNode(r.keys, text)
	case p == sign:
		w, key, err = openSigned(r.keys, name, session, text, r.context)
	default:
		w, key, err = openSealed(r.keys, name, session, text, r.context)
	}
	if err != nil {
		r.in.Invalid = append(r.in.Invalid, Ignored{name, err})
		return "", false
	}
	if !r.see(name, w.value) {
		return "", false
	}
	if key > 0 {
		r.in.stale = append(r.in.stale, w)
	}
	return w.value, true
}
