package cookiejar

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/caddy-session/caddy-session/internal/framed"
)

// tagBytes is how much of a hash a tag has: by accident, one in 2^48 changes of
// a jar leaves it as it was.
const tagBytes = 6

// Tag returns 8 characters of base64url that stand for what applications can see
// of a jar: the names, scopes and values of the cookies that have not expired, and
// not their times. It is "" if there are none. jar is its JSON text.
//
// A user agent that holds the tag in a cookie sends another Cookie header when
// kept cookies change, as it would if it held these. So caches that vary by
// Cookie (RFC 9111, section 4.1) do what the application relies upon.
//
// salt keeps who has the tag from trying values out.
func Tag(jar, salt string, now time.Time) string {
	if jar == "" {
		return ""
	}
	var room [12]jarCookie
	live := slices.DeleteFunc(readJar(room[:0], jar), func(k jarCookie) bool { return k.expired(now) })
	if len(live) == 0 {
		return ""
	}
	slices.SortFunc(live, func(a, b jarCookie) int { return strings.Compare(a.key, b.key) })
	b := framed.Append(make([]byte, 0, 1024), "caddy-session jar tag 1", salt)
	for i := range live {
		b = framed.Append(b, live[i].key, live[i].value)
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:tagBytes])
}
