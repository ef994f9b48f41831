package session

import (
	"strings"
	"unicode"
)

// maxLabel bounds a label in bytes.
const maxLabel = 256

// CleanLabel returns a text as the label of a session: printable characters in
// valid UTF-8, with U+FFFD for others and one space for each run of white space,
// none at the ends; cut off at 256 bytes. Much of it may be of a visitor, so it
// must not upset a terminal, nor look like another column of a table.
func CleanLabel(text string) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, strings.Join(strings.Fields(clipText(text, maxLabel)), " "))
	return strings.TrimSuffix(clipText(clean, maxLabel), " ")
}
