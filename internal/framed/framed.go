// Package framed joins texts so that no two lists of texts give the same bytes.
// What is hashed or authenticated has to be joined like that, or one list could
// stand for another.
package framed

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Append appends the texts, each preceded by its length as four bytes, big end
// first.
func Append(b []byte, texts ...string) []byte {
	size := 4 * len(texts)
	for _, text := range texts {
		size += len(text)
	}
	b = slices.Grow(b, size)
	for _, text := range texts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
	}
	return b
}

// Sum returns the SHA-256 of the texts as Append joins them.
func Sum(texts ...string) [sha256.Size]byte {
	return sha256.Sum256(Append(make([]byte, 0, 256), texts...)) // stays on the stack for most
}

// Cut reverses Append for n texts. It returns nil for anything else.
func Cut(s string, n int) (texts []string) {
	for range n {
		if len(s) < 4 {
			return nil
		}
		size := binary.BigEndian.Uint32([]byte(s[:4]))
		if s = s[4:]; uint64(size) > uint64(len(s)) {
			return nil
		}
		texts, s = append(texts, s[:size]), s[size:]
	}
	if s != "" {
		return nil
	}
	return texts
}
