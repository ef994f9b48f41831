package settings

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Replacer makes a value of a text; name is that of the setting, for errors.
// [Resolve] is one.
type Replacer func(name, text string) (string, error)

// ReplaceAll replaces the texts of some settings, in the order of their names.
func (replace Replacer) ReplaceAll(texts map[string]*string) error {
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		text, err := replace(name, *texts[name])
		if err != nil {
			return err
		}
		*texts[name] = text
	}
	return nil
}

// Static returns what resolve makes of texts as they are written, and reports whether
// that is what it will make of them: none of them has a placeholder.
func Static[T any](resolve func(Replacer) (T, error)) (made T, static bool) {
	static = true
	made, _ = resolve(func(_, text string) (string, error) {
		static = static && !strings.Contains(text, "{")
		return text, nil
	})
	return made, static
}

// Identity tells things of one kind apart by all that they are made of. What is secret
// among that does not show.
func Identity(kind string, madeOf ...any) (string, error) {
	text, err := json.Marshal(madeOf)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return kind + " " + hex.EncodeToString(sum[:]), nil
}
