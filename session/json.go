package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what an application may store, beside max_data.
const (
	maxDepth = 32   // the outer object is 1
	maxKeys  = 1024 // in one object
	maxKey   = 256  // bytes of a key
)

var errNotUTF8 = errors.New(`not valid UTF-8: send other characters than ASCII as \uXXXX in JSON or percent-encoded in a form`)

// decodeObjects decodes one JSON object, or several joined by commas, as
// proxies join header lines. It is stricter than encoding/json: duplicate
// keys, invalid UTF-8, and anything over the bounds are errors. Numbers keep their
// text. Half of a surrogate pair becomes U+FFFD: JavaScript has strings with such.
func decodeObjects(text string) ([]map[string]any, error) {
	if !utf8.ValidString(text) {
		return nil, errNotUTF8
	}
	var objects []map[string]any
	for rest := []byte(text); ; {
		dec := json.NewDecoder(bytes.NewReader(rest))
		dec.UseNumber()
		v, err := decodeValue(dec, 1)
		if err != nil {
			return nil, fmt.Errorf("%w (at byte %d)", jsonError(err), len(text)-len(rest)+int(dec.InputOffset()))
		}
		object, ok := v.(map[string]any)
		if !ok {
			return nil, errors.New("not a JSON object")
		}
		objects = append(objects, object)

		rest = bytes.TrimLeft(rest[dec.InputOffset():], " \t\r\n")
		if len(rest) == 0 {
			return objects, nil
		}
		if rest[0] != ',' {
			return nil, fmt.Errorf("something follows the JSON object (at byte %d)", len(text)-len(rest))
		}
		rest = rest[1:]
	}
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	if delim == '[' {
		array := []any{}
		for dec.More() {
			v, err := decodeValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			array = append(array, v)
		}
		_, err = dec.Token()
		return array, err
	}
	object := map[string]any{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key := t.(string) // the decoder accepts nothing else here
		if err := checkKey(key); err != nil {
			return nil, err
		}
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("key %q twice", key)
		}
		if len(object) == maxKeys {
			return nil, tooManyKeys(maxKeys + 1)
		}
		if object[key], err = decodeValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = dec.Token()
	return object, err
}

func checkKey(key string) error {
	if len(key) > maxKey {
		return fmt.Errorf("key %q... has %d bytes, more than %d", key[:32], len(key), maxKey)
	}
	return nil
}

func tooManyKeys(n int) error {
	return fmt.Errorf("%d keys or more in one object, %d are allowed", n, maxKeys)
}

// jsonError makes the end of the input an error of its text, not of a stream.
func jsonError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON ends too early")
	}
	return err
}

// EncodeJSON encodes a value compactly in printable ASCII, as it is fit for
// terminals and headers.
func EncodeJSON(v any) ([]byte, error) { return encodeASCII(v) }

// encodeASCII encodes a decoded value in the form in which it is stored and
// sent: compact, keys sorted, every byte printable ASCII.
func encodeASCII(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	compact := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	i := slices.IndexFunc(compact, func(c byte) bool { return c >= 0x7f })
	if i < 0 {
		return compact, nil
	}
	// Such bytes occur in strings only, where an escape may stand for them.
	ascii := append(make([]byte, 0, len(compact)*2), compact[:i]...)
	for _, r := range string(compact[i:]) {
		switch {
		case r < 0x7f:
			ascii = append(ascii, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			ascii = fmt.Appendf(ascii, `\u%04x\u%04x`, high, low)
		default:
			ascii = fmt.Appendf(ascii, `\u%04x`, r)
		}
	}
	return ascii, nil
}

// lookup returns the text of a top-level key's value in an object that
// encodeASCII made, without decoding the rest.
func lookup(object []byte, key string) (value []byte, ok bool) {
	for i := 1; i < len(object) && object[i] == '"'; i++ {
		colon := skipValue(object, i)
		end := skipValue(object, colon+1)
		if isQuoted(object[i:colon], key) {
			return object[colon+1 : end], true
		}
		i = end // at the comma or the closing brace
	}
	return nil, false
}

// lookupValue is lookup where null is no value: applications may keep it, and
// nobody else tells it from a key that is not there.
func lookupValue(object []byte, key string) (value []byte, ok bool) {
	value, ok = lookup(object, key)
	return value, ok && string(value) != "null"
}

// skipValue returns the index behind the value that starts at i.
func skipValue(object []byte, i int) int {
	for depth := 0; i < len(object); i++ {
		switch object[i] {
		case '"':
			i = skipString(object, i+1)
			if depth == 0 {
				return min(i+1, len(object))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of the object around a number or word
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// skipString returns the index of the quote that ends the string which goes on
// at i. Most have no escapes, and long ones are skipped fast.
func skipString(object []byte, i int) int {
	for i < len(object) {
		end := bytes.IndexByte(object[i:], '"')
		if end < 0 {
			break
		}
		escape := bytes.IndexByte(object[i:i+end], '\\')
		if escape < 0 {
			return i + end
		}
		i += escape + 2
	}
	return len(object)
}

// isQuoted is unquote(quoted) == s without an allocation in the common case.
func isQuoted(quoted []byte, s string) bool {
	if bytes.IndexByte(quoted, '\\') >= 0 {
		return unquote(quoted) == s
	}
	return string(quoted[1:len(quoted)-1]) == s
}

// unquote returns the characters of a quoted string.
func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var plain string
	// What encodeASCII wrote is valid.
	json.Unmarshal(quoted, &plain)
	return plain
}
