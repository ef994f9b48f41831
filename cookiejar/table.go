package cookiejar

import (
	"slices"
	"strings"
)

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
	wrap    WrapRule
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
	add := func(p policy, w WrapRule) {
		for _, name := range w.Names {
			prefix, pattern := strings.CutSuffix(name, "*")
			all = append(all, rule{prefix, pattern, p, w})
		}
	}
	add(keep, WrapRule{Names: r.Keep})
	add(drop, WrapRule{Names: r.Drop})
	add(pass, WrapRule{Names: r.Pass})
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

// table finds the rule for a name.
type table struct {
	rules    []rule // the most exact ones first
	folded   []rule // the same with names without edges, as foldCookie writes them
	fallback policy
}

func newTable(r Rules) *table {
	t := &table{rules: r.rules(), fallback: r.defaultPolicy()}
	for _, one := range t.rules {
		if name := trimLeftEdges(one.name); !one.pattern {
			one.name = trimEdges(name)
		} else if name != "" {
			one.name = name
		}
		one.name = foldCookie(one.name)
		t.folded = append(t.folded, one)
	}
	return t
}

// ruleFor returns the rule for the cookie called name, nil if there is none.
func (t *table) ruleFor(name string) *rule {
	for i := range t.rules {
		if t.rules[i].fits(name) {
			return &t.rules[i]
		}
	}
	return nil
}

// lookup returns what becomes of the cookie called name, and how it is wrapped.
func (t *table) lookup(name string) (policy, WrapRule) {
	if r := t.ruleFor(name); r != nil {
		return r.policy, r.wrap
	}
	return t.fallback, WrapRule{}
}

// passes reports whether no server could take a cookie called name for one that
// we manage.
//
// PHP reads "a.b", "a b" and "a[b" as a_b, and "a[b]" as a member of a; PHP
// before 7.4 and others decode percent signs in names; ASP.NET knows no case;
// servers that read by RFC 2109 end a name at the first byte that a token can't
// have.
func (t *table) passes(name string) bool {
	name = decodeName(name)
	return t.findFolded(name) == pass && !t.names(name[:tokenLen(name)])
}

// names reports whether the rules name a cookie that is managed and whose name
// servers could take for name. What only "*" or the default says is no name.
func (t *table) names(name string) bool {
	for i := range t.folded {
		if r := &t.folded[i]; r.name != "" && r.fitsFolded(name) {
			return r.policy != pass
		}
	}
	return false
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
