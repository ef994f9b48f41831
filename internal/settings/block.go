package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Words are what may begin the lines of a block, with what parses the rest of
// each line.
type Words map[string]func() error

// Block is a kind of block in the Caddyfile, which fills in a T.
type Block[T any] struct {
	name       string
	words      func(T, *caddyfile.Dispenser) Words
	repeatable []string
}

// places has the names of the blocks, or other places, that a word may be in.
var places = map[string][]string{}

// NewBlock returns a kind of block. Name says where it is, as in "belongs into
// NAME". It is called to initialise a package; words must not look at what it
// gets before a line is parsed.
func NewBlock[T any](name string, words func(T, *caddyfile.Dispenser) Words, repeatable ...string) Block[T] {
	var nothing T
	for word := range words(nothing, nil) {
		Belongs(word, name)
	}
	return Block[T]{name, words, repeatable}
}

// Belongs tells where a word belongs, for those who write it elsewhere. It is
// called to initialise a package.
func Belongs(word, name string) { places[word] = append(places[word], name) }

// Parse reads the block that follows on this line, if there is one.
func (b Block[T]) Parse(to T, d *caddyfile.Dispenser) error {
	words, seen := b.words(to, d), map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		parse, ok := words[word]
		switch {
		case !ok && len(places[word]) > 0:
			return d.Errf("%s belongs into %s; here %s", word, placesOf(word), enumerate(slices.Collect(maps.Keys(words))))
		case !ok:
			return d.Err(Unknown("setting", word, slices.Collect(maps.Keys(words))))
		case seen[word] && !slices.Contains(b.repeatable, word):
			return d.Errf("%s is set twice", word)
		}
		seen[word] = true
		if err := parse(); err != nil {
			return err
		}
	}
	return nil
}

// Unknown says that a word of a kind is none of those that are known, and what
// may have been meant: one of these, or a setting that belongs elsewhere.
func Unknown(kind, word string, known []string) string {
	slices.Sort(known)
	meant := nearest(word, known)
	if meant == "" && kind == "setting" {
		if meant = nearest(word, slices.Sorted(maps.Keys(places))); meant != "" {
			meant += ", which belongs into " + placesOf(meant)
		}
	}
	if meant != "" {
		return fmt.Sprintf("unknown %s %q: did you mean %s? Here %s", kind, word, meant, enumerate(known))
	}
	return fmt.Sprintf("unknown %s %q: here %s", kind, word, enumerate(known))
}

func enumerate(words []string) string {
	switch slices.Sort(words); len(words) {
	case 0:
		return "is none"
	case 1:
		return "is " + words[0] + " only"
	}
	return "are " + strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func placesOf(word string) string {
	names := slices.Clone(places[word])
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", or ")
}

// nearest returns the known word that a misspelt one most likely stands for: with
// one slip in three characters at most. It is "" if there is none.
func nearest(word string, known []string) (meant string) {
	least := max(1, len(word)/3) + 1
	for _, k := range known {
		if slips := distance(strings.ToLower(word), k); slips < least {
			meant, least = k, slips
		}
	}
	return meant
}

// distance counts the slips that make b out of a: a character too many, missing
// or wrong, and two in the wrong order (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			if i == 0 || j == 0 {
				rows[i][j] = i + j
				continue
			}
			wrong := 1
			if a[i-1] == b[j-1] {
				wrong = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+wrong)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
