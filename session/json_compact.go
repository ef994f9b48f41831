package session

import "bytes"

// maxNesting keeps a stored text from exhausting the stack. It is far above
// what applications may nest.
const maxNesting = 1000

// compactJSON reports whether text is one JSON value without white space between
// its parts. What encodeASCII makes is, and lookup relies on it. json.Valid takes
// three times as long, and this runs for each session that is read.
func compactJSON(text []byte) bool { return endOfValue(text, 0, 0) == len(text) }

// endOfValue returns the index behind the value that begins at i, or -1.
func endOfValue(text []byte, i, depth int) int {
	if i >= len(text) || depth > maxNesting {
		return -1
	}
	switch c := text[i]; c {
	case '{', '[':
		shut := c + 2 // in ASCII
		if i++; i < len(text) && text[i] == shut {
			return i + 1
		}
		for {
			if c == '{' {
				if i = endOfString(text, i); i < 0 || i >= len(text) || text[i] != ':' {
					return -1
				}
				i++
			}
			if i = endOfValue(text, i, depth+1); i < 0 || i >= len(text) {
				return -1
			}
			if text[i] == shut {
				return i + 1
			}
			if text[i] != ',' {
				return -1
			}
			i++
		}
	case '"':
		return endOfString(text, i)
	case 't':
		return endOfWord(text, i, "true")
	case 'f':
		return endOfWord(text, i, "false")
	case 'n':
		return endOfWord(text, i, "null")
	}
	return endOfNumber(text, i)
}

func endOfWord(text []byte, i int, word string) int {
	if bytes.HasPrefix(text[i:], []byte(word)) {
		return i + len(word)
	}
	return -1
}

func endOfString(text []byte, i int) int {
	if i >= len(text) || text[i] != '"' {
		return -1
	}
	for i++; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c != '\\':
		case i+1 < len(text) && bytes.IndexByte([]byte(`"\/bfnrt`), text[i+1]) >= 0:
			i++
		case i+5 < len(text) && text[i+1] == 'u' && isHex(text[i+2]) && isHex(text[i+3]) && isHex(text[i+4]) && isHex(text[i+5]):
			i += 5
		default:
			return -1
		}
	}
	return -1
}

// endOfNumber is the grammar of RFC 8259, section 6.
func endOfNumber(text []byte, i int) int {
	if text[i] == '-' {
		i++
	}
	end := endOfDigits(text, i)
	if end < 0 || text[i] == '0' && end > i+1 {
		return -1
	}
	if i = end; i < len(text) && text[i] == '.' {
		if i = endOfDigits(text, i+1); i < 0 {
			return -1
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		i = endOfDigits(text, i)
	}
	return i
}

func endOfDigits(text []byte, i int) int {
	start := i
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
