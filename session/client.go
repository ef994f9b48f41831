package session

import (
	"strings"
	"unicode/utf8"
)

// Client is where a request came from, as people tell their devices apart. The
// zero value is unknown.
type Client struct {
	IP        string
	UserAgent string // as the client says, so anything
}

// Bounds of what a record keeps of a client, in bytes.
const (
	maxIP        = 64
	maxUserAgent = 256
)

// clipped returns the client as records keep it: cut off, in valid UTF-8.
func (c Client) clipped() Client {
	return Client{IP: clipText(c.IP, maxIP), UserAgent: clipText(c.UserAgent, maxUserAgent)}
}

func clipText(text string, limit int) string {
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit]
	}
	return strings.ToValidUTF8(text, "?")
}

// valid reports whether a record can say so.
func (c Client) valid() bool { return c == c.clipped() }
