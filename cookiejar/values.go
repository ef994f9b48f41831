package cookiejar

import (
	"errors"
	"slices"
	"strings"
)

const (
	// MaxHeader is the largest Cookie header that [Values] reads, in bytes,
	// summed over the header's lines. Browsers send far less, and common
	// application servers refuse requests with half as much.
	MaxHeader = 16 << 10

	// MaxCandidates is the largest number of different well-formed values
	// that a caller should look at. An honest browser sends one; a few more
	// come from cookies of parent domains and other paths.
	MaxCandidates = 4
)

// ErrTooLarge is the error of Values for a Cookie header over MaxHeader. The
// fitting answer is 431 (Request Header Fields Too Large).
var ErrTooLarge = errors.New("cookiejar: Cookie header over 16 KiB")

// Values appends to dst the values of the cookie called name in the lines of a
// Cookie header, in order, and returns the extended slice. Only values that
// wellFormed accepts count, and equal ones count once.
//
// At most [MaxCandidates]+1 values are appended: more than MaxCandidates of them
// means too many, and the caller should trust none. A Cookie header over
// [MaxHeader] is [ErrTooLarge], with nothing appended. An absent cookie is no
// error.
//
// The header is split at ';' as user agents build it (RFC 6265bis 5.8.3) and
// read to the letter: spaces and tabs after the ';' are the separator's, the
// name is what comes before the first '=' and must equal name, and the value is
// all the rest, neither trimmed nor unquoted. Pairs without '=' have no name.
//
// Values allocates only if dst has too little room. Its work is linear in the
// size of the header; wellFormed is called at most once for each pair of the
// name.
func Values(dst, lines []string, name string, wellFormed func(value string) bool) ([]string, error) {
	size := 0
	for _, line := range lines {
		size += len(line)
	}
	if size > MaxHeader {
		return dst, ErrTooLarge
	}

	old := len(dst)
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			value, ok := valueOf(trimSeparator(pair), name)
			if !ok || slices.Contains(dst[old:], value) || !wellFormed(value) {
				continue
			}
			if dst = append(dst, value); len(dst)-old > MaxCandidates {
				return dst, nil
			}
		}
	}
	return dst, nil
}

// valueOf returns the value of pair if its name is exactly name.
func valueOf(pair, name string) (value string, ok bool) {
	if len(pair) <= len(name) || pair[len(name)] != '=' || pair[:len(name)] != name {
		return "", false
	}
	return pair[len(name)+1:], true
}
