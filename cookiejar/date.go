package cookiejar

import (
	"strings"
	"time"
)

// parseDate is the algorithm of RFC 6265bis 5.1.1, which takes the date of an
// Expires attribute in about any form that servers have ever sent.
func parseDate(s string) (time.Time, bool) {
	var hour, minute, second, day, year int
	var month time.Month
	var hasTime, hasDay, hasMonth, hasYear bool
	for token := range strings.FieldsFuncSeq(s, isDateDelimiter) {
		if !hasTime {
			if hour, minute, second, hasTime = clock(token); hasTime {
				continue
			}
		}
		if !hasDay {
			if day, hasDay = leadingNumber(token, 1, 2); hasDay {
				continue
			}
		}
		if !hasMonth {
			if month, hasMonth = monthOf(token); hasMonth {
				continue
			}
		}
		if !hasYear {
			year, hasYear = leadingNumber(token, 2, 4)
		}
	}
	switch {
	case 70 <= year && year <= 99:
		year += 1900
	case 0 <= year && year <= 69:
		year += 2000
	}
	if !hasTime || !hasDay || !hasMonth || !hasYear ||
		day < 1 || year < 1601 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, month, day, hour, minute, second, 0, time.UTC)
	return t, t.Day() == day // else the month has no such day
}

// isDateDelimiter is the delimiter of RFC 6265bis 5.1.1.
func isDateDelimiter(r rune) bool {
	return r == '\t' || ' ' <= r && r <= '/' || ';' <= r && r <= '@' || '[' <= r && r <= '`' || '{' <= r && r <= '~'
}

// clock reads hms-time, after which anything but a digit may follow.
func clock(token string) (hour, minute, second int, ok bool) {
	first, rest, ok1 := strings.Cut(token, ":")
	next, rest, ok2 := strings.Cut(rest, ":")
	if !ok1 || !ok2 || !isNumber(first) || !isNumber(next) {
		return 0, 0, 0, false
	}
	second, ok = leadingNumber(rest, 1, 2)
	if !ok {
		return 0, 0, 0, false
	}
	return decimal(first), decimal(next), second, true
}

// isNumber reports whether s is a time-field.
func isNumber(s string) bool { return (len(s) == 1 || len(s) == 2) && isDigits(s) }

// leadingNumber reads a number of least to most digits, after which anything
// but a digit may follow.
func leadingNumber(s string, least, most int) (int, bool) {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		if n++; n > most {
			return 0, false
		}
	}
	return decimal(s[:n]), n >= least
}

func decimal(digits string) (n int) {
	for i := range len(digits) {
		n = 10*n + int(digits[i]-'0')
	}
	return n
}

func monthOf(token string) (time.Month, bool) {
	if len(token) < 3 {
		return 0, false
	}
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(token[:3], m.String()[:3]) {
			return m, true
		}
	}
	return 0, false
}
