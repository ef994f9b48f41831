package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// ParseObject decodes one JSON object as strictly as a patch is decoded. Its
// numbers keep their text.
func ParseObject(text string) (map[string]any, error) {
	objects, err := decodeObjects(text)
	if err != nil {
		return nil, err
	}
	if len(objects) != 1 {
		return nil, errors.New("more than one JSON object")
	}
	return objects[0], nil
}

// Missing returns the members of a merge patch that would change the data. A
// nil s has no data.
func (s *Session) Missing(patch map[string]any) map[string]any {
	missing := map[string]any{}
	for key, value := range patch {
		var stored []byte
		there := false
		if s != nil {
			stored, there = lookup(s.Data(), key)
		}
		if value == nil && !there || there && value != nil && bytes.Equal(merged(stored, value), stored) {
			continue
		}
		missing[key] = value
	}
	return missing
}

// merged returns the JSON text of what a patch makes of a stored value, nil if
// it can't be told.
func merged(stored []byte, patch any) []byte {
	var target any
	if _, isObject := patch.(map[string]any); isObject {
		dec := json.NewDecoder(bytes.NewReader(stored))
		dec.UseNumber()
		if err := dec.Decode(&target); err != nil {
			return nil
		}
	}
	text, err := encodeASCII(mergePatch(target, patch))
	if err != nil {
		return nil
	}
	return text
}

// Text returns the value at a path in the data, and whether there is one. A
// path is a top-level key, or keys of nested objects joined by dots; where a
// key has dots itself, the longest key that fits wins. The text of a string is
// its characters, anything else is JSON. null is no value.
func (s *Session) Text(path string) (text string, ok bool) {
	value, ok := s.at(path)
	return plainText(value), ok
}

// Has reports whether there is a value at a path in the data and, if values
// are given, whether it is one of them. Strings are compared by their
// characters, numbers and words by their JSON text, and an array has the
// values of its elements. null is no value.
func (s *Session) Has(path string, values ...string) bool {
	value, ok := s.at(path)
	if !ok {
		return false
	}
	if len(values) == 0 || isOneOf(value, values) {
		return true
	}
	if value[0] != '[' {
		return false
	}
	for i := 1; i < len(value) && value[i] != ']'; i++ {
		end := skipValue(value, i)
		if isOneOf(value[i:end], values) {
			return true
		}
		i = end // at the comma or the closing bracket
	}
	return false
}

func isOneOf(value []byte, values []string) bool {
	if value[0] == '"' {
		return slices.ContainsFunc(values, func(s string) bool { return isQuoted(value, s) })
	}
	return value[0] != '{' && value[0] != '[' && slices.Contains(values, string(value))
}

// at returns the JSON text at a path. It decodes nothing.
func (s *Session) at(path string) (value []byte, ok bool) {
	if s == nil {
		return nil, false
	}
	return lookupPath(s.Data(), path)
}

// lookupPath returns the JSON text at a path in an object that encodeASCII made.
func lookupPath(object []byte, path string) (value []byte, ok bool) {
	if len(object) == 0 || object[0] != '{' {
		return nil, false
	}
	if value, ok = lookupValue(object, path); ok {
		return value, true
	}
	for dot := strings.LastIndexByte(path, '.'); dot > 0; dot = strings.LastIndexByte(path[:dot], '.') {
		if inner, found := lookupValue(object, path[:dot]); found {
			if value, ok = lookupPath(inner, path[dot+1:]); ok {
				return value, true
			}
		}
	}
	return nil, false
}
