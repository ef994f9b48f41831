package cookiejar

import (
	"net/http"
	"slices"
	"strings"
)

// Strip removes the cookies called names from the Cookie header of h. It is
// meant for a request on its way to an application that must not see them.
//
// Every pair goes whose name, trimmed, is one of names; case counts. Trimmed
// means generously, of all control bytes and spaces, because servers differ in
// what they trim, and "sid =x" must not slip through as sid. A pair without
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
	for key := range h {
		if isHeader(key, "Cookie") {
			StripKey(h, key, names...) // safe in a range
		}
	}
}

// StripKey is Strip for the one spelling key of the header's name, which need
// not be there.
func StripKey(h http.Header, key string, names ...string) {
	if kept, changed := stripLines(h[key], names); !changed {
		return
	} else if len(kept) == 0 {
		delete(h, key)
	} else {
		h[key] = kept
	}
}

// stripLines returns lines without the pairs called names, and whether that
// changed anything. If so, the result is a new slice.
func stripLines(lines, names []string) (kept []string, changed bool) {
	for i, line := range lines {
		out, cut := stripLine(line, names)
		if cut && !changed {
			changed = true
			kept = append(kept, lines[:i]...)
		}
		if changed && !(cut && out == "") {
			kept = append(kept, out)
		}
	}
	return kept, changed
}

// stripLine is stripLines for one line. It allocates only if what is kept is
// more than one piece of the line, and then once.
func stripLine(line string, names []string) (kept string, changed bool) {
	first, last := 0, 0 // kept is line[first:last], or in b
	var b strings.Builder
	for start, end := 0, 0; start <= len(line); start = end + 1 {
		end = len(line)
		if i := strings.IndexByte(line[start:], ';'); i >= 0 {
			end = start + i
		}
		pair := line[start:end]
		switch {
		case isPairOf(pair, names):
			if !changed {
				changed = true
				last = max(start-1, 0)
			}
		case !changed:
			// Nothing has gone yet: the line's beginning is kept as one piece.
		case first == last:
			first, last = end-len(trimSeparator(pair)), end
		case b.Len() == 0 && last == start-1:
			last = end
		default:
			if b.Len() == 0 {
				b.Grow(len(line))
				b.WriteString(line[first:last])
			}
			b.WriteByte(';')
			b.WriteString(pair)
		}
	}
	switch {
	case !changed:
		return line, false
	case b.Len() > 0:
		return b.String(), true
	}
	return line[first:last], true
}

// isPairOf reports whether some server would take pair for a cookie called one
// of names.
func isPairOf(pair string, names []string) bool {
	name, _, ok := strings.Cut(pair, "=")
	return ok && slices.Contains(names, trim(name))
}

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

// isHeader reports whether key names the header called name, in any case.
func isHeader(key, name string) bool {
	// The lengths first: this runs for every header of every request.
	return len(key) == len(name) && strings.EqualFold(key, name)
}
