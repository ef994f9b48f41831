package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/caddy-session/caddy-session/internal/framed"
)

const (
	keyLabel  = "caddy-session body key 1 "
	bodyLabel = "caddy-session body 1" // of the first part, where there are two
	dataLabel = "caddy-session data 1" // of the second part

	// sealOverhead is how many bytes more a sealed text has: a nonce and a tag.
	sealOverhead = 12 + 16
)

// seal appends the plain text under AES-256-GCM to dst: a random nonce, the
// ciphertext, the tag. The key comes from the secret that only the browser has,
// so there is no key to manage, and who holds the store can't read it. The id
// and the header line are authenticated too.
//
// A nonce is 96 random bits. One secret seals as many records as there are
// commits until its renewal, or twice as many texts, far fewer than the 2^32 that
// are safe.
func (t Token) seal(dst, plain, header []byte) []byte {
	return t.aead().Seal(dst, nil, plain, t.additional(bodyLabel, header))
}

func (t Token) unseal(sealed, header []byte) ([]byte, error) {
	return t.aead().Open(nil, nil, sealed, t.additional(bodyLabel, header))
}

// sealData is seal for the second part of a body. before is all that is before it in
// the record: the first part has a nonce, so it fits that one alone.
func (t Token) sealData(dst, plain, before []byte) []byte {
	return t.aead().Seal(dst, nil, plain, t.additional(dataLabel, before))
}

func (t Token) unsealData(sealed, header, first []byte) ([]byte, error) {
	return t.aead().Open(nil, nil, sealed, t.additional(dataLabel, header, []byte("\n"), first))
}

func (t Token) aead() cipher.AEAD {
	// HKDF-SHA256 without its first step, which is for secrets that are not
	// uniformly random (RFC 5869, section 3.3). Nothing here can fail with
	// these sizes.
	key, err := hkdf.Expand(sha256.New, t.secret[:], keyLabel+t.ID, 32)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func (t Token) additional(label string, texts ...[]byte) []byte {
	b := framed.Append(make([]byte, 0, 512), label, t.ID)
	for _, text := range texts {
		b = append(b, text...)
	}
	return b
}
