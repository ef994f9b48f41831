package session

// IDSize is the length of an id.
const IDSize = idSize

// IndexKey returns the key of a subject's index entries.
func IndexKey(realm, subject string) string { return indexKey(realm, subject) }

// Renew returns a token with the same id and a new secret.
func (t Token) Renew() Token { return t.renew() }
