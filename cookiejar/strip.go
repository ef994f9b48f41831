package cookiejar

import (
	"net/http"
	"slices"
	"strings"
)

// Strip removes the cookies called names from the Cookie header of h. It is
// meant for a request on its way to an application that must not see them.
//
// Every pair goes in which some server would find a cookie called one of names;
// case counts. Servers differ in what they skip around a name and in what they
// part cookies by, so each byte that a token can't have is an edge of the name:
// "sid =x", "<sid=x" and "a=b, sid=x" must not slip through as sid. A pair without
// '=' has no name, and no value to hide, and stays.
//
// Everything else stays byte for byte: odd spacing, quotes, non-ASCII, and the
// separators between the pairs that stay. Only the spaces and tabs (and empty
// pairs) before a line's new first pair go, a line that becomes empty goes, and
// a header that has no line left goes.
//
// A header that holds none of names is left untouched and costs no allocation.
// Otherwise h gets a new slice of lines; the old slice is not written to, as a
// shallow copy of h may share it. All spellings of the header's own name are
// searched, not only the canonical one that net/http makes.
func Strip(h http.Header, names ...string) {
	editHeader(h, "Cookie", func(line string) (string, bool) { return stripLine(line, names) })
}

// StripKey is Strip for the one spelling key of the header's name, which need
// not be there.
func StripKey(h http.Header, key string, names ...string) {
	editKey(h, key, func(line string) (string, bool) { return stripLine(line, names) })
}

// StripTokens is Strip for names that an application can share with us: only those
// pairs go that hold a token, as isToken has it, between any two edges.
func StripTokens(h http.Header, isToken func(string) bool, names ...string) {
	editHeader(h, "Cookie", func(line string) (string, bool) {
		return editPairs(line, func(pair string) (string, bool) { return pair, !isPairOf(pair, names) || !holds(pair, isToken) })
	})
}

func stripLine(line string, names []string) (left string, ok bool) {
	return editPairs(line, func(pair string) (string, bool) { return pair, !isPairOf(pair, names) })
}

// isPairOf reports whether some server would find in pair a cookie called one of
// names.
func isPairOf(pair string, names []string) bool {
	ours := func(name string) bool { return slices.Contains(names, name) }
	name, assigned := firstName(pair)
	return assigned && (ours(name) || ours(name[:tokenLen(name)])) || hidesName(trimSeparator(pair), false, ours)
}

// holds reports whether text has a word between edges that is a token.
func holds(text string, isToken func(string) bool) bool {
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return c >= 0x7f || isEdge[c] }) {
		if isToken(word) {
			return true
		}
	}
	return false
}
