package cookiejar

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-session/caddy-session/internal/framed"
	"github.com/caddy-session/caddy-session/internal/percent"
)

// MaxKept is how many cookies a jar holds.
const MaxKept = 50

// A jar is the cookie store of RFC 6265bis 5.7 for one session: a compact JSON
// object with one string for each cookie. Its key is a hash of what makes a
// cookie the same one, so that merge patches of parallel responses touch
// different members:
//
//	{"Zx3…22 chars":"app.example.com - / PHPSESSID 8c1f… 1790000000000000 0 1790000000 SHl"}
//
// The fields are parted by one space each: the host of the request that set the
// cookie, its domain ("-" for a cookie of the very host), path, name, value, when
// it was created (in microseconds since 1970), when it expires and when it was
// last written (in seconds; 0 expires with the session), and flags: S Secure, H
// HttpOnly, then n, l, s or d for SameSite None, Lax, Strict and default. Texts are
// percent-encoded so far that none has a space, a quote or a backslash: JSON has
// nothing to escape.
//
// The host comes first because jars are partitioned by it: what one host has set
// is shown to no other, though they share the session, not even if the cookie
// has their common Domain.
type jarCookie struct {
	key      string
	host     string
	domain   string // "" is host-only
	path     string
	name     string
	value    string
	created  int64 // microseconds since 1970
	expires  int64 // seconds since 1970, 0 with the session
	written  int64 // seconds since 1970
	secure   bool
	httpOnly bool
	sameSite SameSite

	stored bool // the jar has one of the same key
}

func (k *jarCookie) expired(now time.Time) bool { return k.expires != 0 && k.expires <= now.Unix() }

// matches reports whether the cookie goes with a request (RFC 6265bis 5.8.3).
// It has been set by the same host, so that its domain matches.
func (k *jarCookie) matches(c *Context) bool {
	return k.host == c.Host && pathMatch(c.Path, k.path) && (c.Secure || !k.secure) &&
		!k.expired(c.Now) && c.sends(k.sameSite)
}

// same reports whether two cookies of a host have the same identity
// (RFC 6265bis 5.7: name, domain, host-only-flag, path).
func (k *jarCookie) same(other *jarCookie) bool {
	return k.host == other.host && k.name == other.name && k.domain == other.domain && k.path == other.path
}

// PersistentUntil returns when the last of the persistent cookies of a jar expires,
// those that a user agent has after it was closed and opened again; the zero time if
// there are none, or all have expired. jar is its JSON text.
func PersistentUntil(jar string, now time.Time) time.Time {
	if jar == "" {
		return time.Time{}
	}
	var room [12]jarCookie
	all := readJar(room[:0], jar)
	last := int64(0)
	for i := range all {
		last = max(last, all[i].expires)
	}
	if last <= now.Unix() {
		return time.Time{}
	}
	return time.Unix(last, 0)
}

// readJar appends the cookies of a jar to dst. What can't be read is left out.
func readJar(dst []jarCookie, jar string) []jarCookie {
	old := len(dst)
	rest, ok := strings.CutPrefix(jar, "{")
	for ok && strings.HasPrefix(rest, `"`) {
		var key, record string
		key, rest, ok = strings.Cut(rest[1:], `":"`)
		if !ok {
			break
		}
		record, rest, ok = strings.Cut(rest, `"`)
		if !ok || strings.IndexByte(record, '\\') >= 0 {
			ok = false
			break
		}
		dst = appendRecord(dst, key, record)
		rest = strings.TrimPrefix(rest, ",")
	}
	if ok && rest == "}" || jar == "" {
		return dst
	}
	// Somebody else has written it, who escapes or spaces in another way.
	var object map[string]any
	if json.Unmarshal([]byte(jar), &object) != nil {
		return dst[:old]
	}
	dst = dst[:old]
	for key, value := range object {
		if record, ok := value.(string); ok {
			dst = appendRecord(dst, key, record)
		}
	}
	return dst
}

func appendRecord(dst []jarCookie, key, record string) []jarCookie {
	k := jarCookie{key: key, stored: true}
	var fields [9]string
	for i := range fields {
		var more bool
		fields[i], record, more = strings.Cut(record, " ")
		if more != (i < len(fields)-1) {
			return dst
		}
	}
	k.host, k.domain = fields[0], fields[1]
	if k.domain == "-" {
		k.domain = ""
	}
	for i, text := range [...]*string{&k.path, &k.name, &k.value} {
		if *text = percent.Decode(fields[2+i]); hasControl(*text) || strings.IndexByte(*text, ';') >= 0 {
			return dst // written by a worker: it must not end a header
		}
	}
	var errs [3]error
	k.created, errs[0] = strconv.ParseInt(fields[5], 10, 64)
	k.expires, errs[1] = strconv.ParseInt(fields[6], 10, 64)
	k.written, errs[2] = strconv.ParseInt(fields[7], 10, 64)
	if errs != [3]error{} || !k.setFlags(fields[8]) {
		return dst
	}
	return append(dst, k)
}

func (k *jarCookie) setFlags(flags string) bool {
	if flags == "" {
		return false
	}
	for _, c := range flags[:len(flags)-1] {
		switch c {
		case 'S':
			k.secure = true
		case 'H':
			k.httpOnly = true
		default:
			return false
		}
	}
	i := strings.IndexByte(sameSiteFlags, flags[len(flags)-1])
	k.sameSite = SameSite(max(i, 0))
	return i >= 0
}

// sameSiteFlags are the flags of the values of SameSite.
const sameSiteFlags = "dnls"

func (k *jarCookie) record() string {
	b := make([]byte, 0, 96+len(k.host)+len(k.domain)+len(k.path)+len(k.name)+len(k.value))
	b = append(b, k.host...)
	b = append(b, ' ')
	if k.domain == "" {
		b = append(b, '-')
	}
	b = append(b, k.domain...)
	for _, text := range [...]string{k.path, k.name, k.value} {
		b = append(b, ' ')
		b = appendText(b, text)
	}
	for _, n := range [...]int64{k.created, k.expires, k.written} {
		b = append(b, ' ')
		b = strconv.AppendInt(b, n, 10)
	}
	b = append(b, ' ')
	if k.secure {
		b = append(b, 'S')
	}
	if k.httpOnly {
		b = append(b, 'H')
	}
	return string(append(b, sameSiteFlags[k.sameSite]))
}

func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '%' || c == '"' || c == '\\' {
			b = percent.Append(b, c)
		} else {
			b = append(b, c)
		}
	}
	return b
}

// jarKey is the key of a cookie in its jar: 128 bits of a hash of its identity.
func (k *jarCookie) jarKey() string {
	sum := framed.Sum(k.host, k.name, k.domain, k.path)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// selectCookies appends to dst the indexes of the cookies that go with a request, in
// their order (RFC 6265bis 5.8.3): the longest path first, then the oldest.
func selectCookies(dst []int, all []jarCookie, c *Context) []int {
	for i := range all {
		if all[i].matches(c) {
			dst = append(dst, i)
		}
	}
	if len(dst) > 1 {
		slices.SortFunc(dst, func(i, j int) int {
			if a, b := len(all[i].path), len(all[j].path); a != b {
				return b - a
			}
			return cmp.Compare(all[i].created, all[j].created)
		})
	}
	return dst
}
