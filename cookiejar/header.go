package cookiejar

import (
	"net/http"
	"strings"
)

// editHeader gives each line of the header called name, in any spelling of it,
// to edit, which returns what becomes of the line, and false to remove it. A
// header that changes gets a new slice of lines, as a shallow copy of h may
// share the old one; a header without lines goes.
func editHeader(h http.Header, name string, edit func(line string) (string, bool)) {
	for key := range h {
		if isHeader(key, name) {
			editKey(h, key, edit) // safe in a range
		}
	}
}

// editKey is editHeader for one spelling of the header's name, which need not be
// there.
func editKey(h http.Header, key string, edit func(line string) (string, bool)) {
	var left []string
	lines, changed := h[key], false
	for i, line := range lines {
		edited, stays := edit(line)
		if !changed && (!stays || edited != line) {
			changed = true
			left = append(left, lines[:i]...)
		}
		if changed && stays {
			left = append(left, edited)
		}
	}
	switch {
	case !changed:
	case len(left) == 0:
		delete(h, key)
	default:
		h[key] = left
	}
}

// editPairs gives each pair of a Cookie line to edit, which returns what becomes
// of the pair, and false to remove it. Every other byte of the line stays as it
// is, except for the spaces, tabs and empty pairs before the new first pair if
// the old one goes. editPairs returns false if that leaves nothing of the line.
//
// It allocates only if what is left is more than one piece of the line, and then
// once.
func editPairs(line string, edit func(pair string) (string, bool)) (left string, ok bool) {
	changed := false
	first, last := 0, 0 // what is left is line[first:last], or in b
	var b strings.Builder
	start, end := 0, 0
	for pair := range strings.SplitSeq(line, ";") {
		start, end = end, end+len(pair)
		edited, stays := edit(pair)
		same := stays && edited == pair
		if !changed && !same {
			changed = true
			last = max(start-1, 0)
		}
		switch {
		case !changed || !stays:
		case b.Len() == 0 && first == last && same:
			first, last = end-len(trimSeparator(pair)), end
		case b.Len() == 0 && first == last:
			b.Grow(len(line))
			b.WriteString(trimSeparator(edited))
		case b.Len() == 0 && last == start-1 && same:
			last = end
		default:
			if b.Len() == 0 {
				b.Grow(len(line))
				b.WriteString(line[first:last])
			}
			b.WriteByte(';')
			b.WriteString(edited)
		}
		end++ // the ';'
	}
	switch {
	case !changed:
		return line, true
	case b.Len() > 0:
		return b.String(), true
	}
	return line[first:last], first < last
}

// isHeader reports whether key names the header called name, in any case.
func isHeader(key, name string) bool {
	// The lengths first: this runs for every header of every request.
	return len(key) == len(name) && strings.EqualFold(key, name)
}

// trimSeparator drops the spaces and tabs that part a pair from the ';' before
// it.
func trimSeparator(pair string) string {
	for pair != "" && (pair[0] == ' ' || pair[0] == '\t') {
		pair = pair[1:]
	}
	return pair
}

// trimBlank drops the white space of RFC 6265bis 5.6, spaces and tabs.
func trimBlank(s string) string { return strings.Trim(s, " \t") }

// trim drops what any server might take for white space around a name: all
// bytes up to the space, and DEL.
func trim(s string) string {
	blank := func(c byte) bool { return c <= ' ' || c == 0x7f }
	for s != "" && blank(s[0]) {
		s = s[1:]
	}
	for s != "" && blank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}
