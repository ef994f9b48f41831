package session

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A record is what the store holds under a session's id: one line of ASCII
// fields, each preceded by a space but the first, a line feed, and the body.
//
//	cs1                               format
//	000000000000002a                  version, 16 hex digits
//	3                                 epoch, decimal: number of renewals
//	1790000000000                     created, in milliseconds since 1970
//	1790000100000                     when the subject appeared, 0 if there is none
//	1790000100000                     when the deadline began to count
//	1790086500000                     deadline
//	idle | remembered | replaced      does the idle limit apply? Or is it a tombstone?
//	<43 chars>                        verifier: base64url of a SHA-256, see token.go
//	<43 chars>[,<43 chars>...] | -    verifiers of the last secrets before, newest first
//	1790000100000                     when it was renewed, 0 if never
//	alice                             subject
//	example.com                       realm
//	__Host-sid example.com /          scope: cookie name, host, path
//	plain | sealed                    form of the body
//	plain,0 | sealed,28               form of a body of two parts, and the length of the first
//	192.0.2.1 Mozilla/5.0%20(...)     client at the creation: IP, user agent
//	192.0.2.1 Mozilla/5.0%20(...)     client when the subject appeared
//	Alice%20in%20Sales                label
//	2                                 commits that have changed nothing but the label
//
// The last two fields are there only if one of them is not "-" or 0, and the four
// before only if there are these or one of them is not "-".
//
// Texts (subject, realm, scope, clients, label) are percent-encoded as by EncodeValue, spaces
// too; an empty text is "-", and a text "-" is "%2D".
//
// The plain body is the data object as compact ASCII JSON, then, if there is a
// private object, a line feed and that. The sealed body is the plain one under
// AES-256-GCM, see seal.go; the header line is authenticated with it. Which of the
// two it is can't be changed without the secret, since the verifier depends on it.
//
// Where there is more data than may be forwarded, the body has two parts, so that who
// does not ask for the data needs the beginning of the record alone: the private
// object, if there is one, and the data. Each is sealed on its own, the second one
// together with all that is before it, so none fits another record.
//
// A tombstone is what is left for a minute of a session that was replaced. It has
// no subject, no body and a verifier of nobody's secret.
//
// Decoding is strict: what encode would not write is errCorrupt.
type record struct {
	version, epoch uint64
	created        time.Time
	signedIn       time.Time // zero without subject
	since          time.Time // when the deadline began to count
	deadline       time.Time
	remembered     bool
	replaced       bool // it is a tombstone
	verifier       [sha256.Size]byte
	old            [][sha256.Size]byte // of up to maxOld secrets before, newest first
	renewed        time.Time           // zero if never
	realm          string
	scope          Scope
	sealed         bool
	parted         bool   // the body has two parts
	split          int    // the bytes of the first part as it is stored
	client         Client // at the creation
	signInClient   Client // when the subject appeared
	label          string // for operators: see CleanLabel
	relabelled     uint64 // commits that have changed nothing but the label

	content
}

var (
	// errCorrupt: the value is not a record, or not one of this id.
	errCorrupt = errors.New("the stored value is not a session record")
	// errNewer: the value may be the record of a later release.
	errNewer = errors.New("the stored record has a newer format")
)

// Most bytes that the header line of a record may have.
const maxHeader = 16 << 10

// maxOld is how many secrets are remembered that were replaced in quick succession.
const maxOld = 4

const (
	recordFields = 17
	clientFields = 4 // more, if clients are recorded
	labelFields  = 2 // still more, if there is a label
)

// appendHeader appends the header line, without the line feed.
func (r *record) appendHeader(b []byte) []byte {
	b = AppendHead(b, r.version)
	b = strconv.AppendUint(b, r.epoch, 10)
	b = appendMillis(b, r.created)
	b = appendMillis(b, r.signedIn)
	b = appendMillis(b, r.since)
	b = appendMillis(b, r.deadline)
	b = append(b, ifElse(r.replaced, " replaced ", ifElse(r.remembered, " remembered ", " idle "))...)
	b = base64url.AppendEncode(b, r.verifier[:])
	if len(r.old) == 0 {
		b = append(b, " -"...)
	}
	for i := range r.old {
		b = append(b, ifElse(i == 0, " ", ",")...)
		b = base64url.AppendEncode(b, r.old[i][:])
	}
	b = appendMillis(b, r.renewed)
	for _, text := range []string{r.subject, r.realm, r.scope.Name, r.scope.Host, r.scope.Path} {
		b = append(b, ' ')
		b = appendText(b, text)
	}
	b = append(b, ifElse(r.sealed, " sealed", " plain")...)
	if r.parted {
		b = strconv.AppendInt(append(b, ','), int64(r.split), 10)
	}
	labelled := r.label != "" || r.relabelled != 0
	if !labelled && r.client == (Client{}) && r.signInClient == (Client{}) {
		return b
	}
	for _, text := range []string{r.client.IP, r.client.UserAgent, r.signInClient.IP, r.signInClient.UserAgent} {
		b = append(b, ' ')
		b = appendText(b, text)
	}
	if !labelled {
		return b
	}
	b = append(b, ' ')
	b = appendText(b, r.label)
	b = append(b, ' ')
	return strconv.AppendUint(b, r.relabelled, 10)
}

func ifElse(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// shownVersion is the version as applications and operators see it: a new label is
// no change to them.
func (r *record) shownVersion() uint64 { return r.version - r.relabelled }

// lastFor has the session end this long after now.
func (r *record) lastFor(now time.Time, d time.Duration, remembered bool) {
	r.since, r.deadline, r.remembered = now, now.Add(d), remembered
}

// form is what the verifier is for: it takes the secret to change the form of the
// body.
func (r *record) form() string { return ifElse(r.sealed, forSealed, forPlain) }

// encode returns the record of the session that t belongs to.
func (r *record) encode(t Token) []byte {
	if r.split = 0; r.parted {
		r.split = len(r.private)
		if r.sealed {
			r.split += sealOverhead
		}
	}
	b := r.appendHeader(make([]byte, 0, 512+len(r.data)+len(r.private)))
	header := b
	b = append(b, '\n')
	switch {
	case r.parted && r.sealed:
		b = t.seal(b, r.private, header)
		return t.sealData(b, r.data, b)
	case r.parted:
		return append(append(b, r.private...), r.data...)
	case !r.sealed:
		return r.appendBody(b)
	}
	body := r.appendBody(make([]byte, 0, len(r.data)+len(r.private)+1))
	return t.seal(b, body, header)
}

func (r *record) appendBody(b []byte) []byte {
	b = append(b, r.data...)
	if len(r.private) > 0 {
		b = append(b, '\n')
		b = append(b, r.private...)
	}
	return b
}

// decodeRecord reads the header line. The body stays closed until openBody.
func decodeRecord(value []byte) (r record, header, body []byte, err error) {
	if newerFormat(value) {
		return r, nil, nil, errNewer
	}
	line := value[:min(len(value), maxHeader)]
	end := bytes.IndexByte(line, '\n')
	if end < 0 {
		return r, nil, nil, errCorrupt
	}
	header, body = value[:end], value[end+1:]
	version, ok := ParseHead(header)
	if !ok || version == 0 {
		return r, nil, nil, errCorrupt
	}
	r.version = version
	f := fields{rest: header[HeadSize:]}
	r.epoch = f.number()
	r.created = f.millis()
	r.signedIn = f.millis()
	r.since = f.millis()
	r.deadline = f.millis()
	switch f.word("idle", "remembered", "replaced") {
	case "remembered":
		r.remembered = true
	case "replaced":
		r.replaced = true
	}
	f.verifier(&r.verifier)
	r.old = f.verifiers(maxOld)
	r.renewed = f.millis()
	r.subject = f.text()
	r.realm = f.text()
	r.scope = Scope{Name: f.text(), Host: f.text(), Path: f.text()}
	r.sealed, r.parted, r.split = f.form()
	want := recordFields
	if len(f.rest) > 0 {
		want += clientFields
		r.client = Client{IP: f.text(), UserAgent: f.text()}
		r.signInClient = Client{IP: f.text(), UserAgent: f.text()}
		if labelled := len(f.rest) > 0; labelled {
			want += labelFields
			r.label, r.relabelled = f.text(), f.number()
			f.bad = f.bad || r.label == "" && r.relabelled == 0 || r.label != CleanLabel(r.label) || r.relabelled >= r.version
		} else {
			f.bad = f.bad || r.client == (Client{}) && r.signInClient == (Client{})
		}
		f.bad = f.bad || !r.client.valid() || !r.signInClient.valid()
	}
	if f.bad || bytes.Count(header, []byte(" ")) != want-1 ||
		(r.old == nil) != r.renewed.IsZero() || r.replaced && (r.old == nil || r.subject != "" || r.parted || len(body) > 0) || r.created.IsZero() || r.since.IsZero() || r.deadline.IsZero() ||
		(r.subject == "") != r.signedIn.IsZero() || len(r.subject) > maxSubject {
		return record{}, nil, nil, errCorrupt
	}
	return r, header, body, nil
}

// outdated returns the old verifiers of a record whose secret, which is t's, is
// replaced.
func (r *record) outdated(t Token, now time.Time) [][sha256.Size]byte {
	old := append(make([][sha256.Size]byte, 0, maxOld+1), t.verifier(r.scope, forOld))
	if now.Sub(r.renewed) < staleFor {
		old = append(old, r.old...)
	}
	return old[:min(len(old), maxOld)]
}

// tombstone returns what takes the place of a record whose session, which is t's,
// is replaced: a renewed one that nobody has the secret of. No two are equal.
func (r *record) tombstone(t Token, now time.Time) Entry {
	next := record{
		version: r.version + 1, epoch: r.epoch + 1, created: r.created, since: now, deadline: now.Add(staleFor), replaced: true,
		old: r.outdated(t, now), renewed: now, realm: r.realm, scope: r.scope,
	}
	rand.Read(next.verifier[:]) // never fails, see crypto/rand
	return Entry{Version: next.version, Value: next.encode(Token{}), TTL: staleFor, Durable: true}
}

// isTombstone reports whether a stored value is that of a session which was
// replaced a moment ago and is no more.
func isTombstone(value []byte) bool {
	r, _, _, err := decodeRecord(value)
	return err == nil && r.replaced
}

// newerFormat recognises "cs2 ", "cs10 " and so on.
func newerFormat(value []byte) bool {
	name, _, ok := bytes.Cut(value[:min(len(value), 8)], []byte(" "))
	number, cs := bytes.CutPrefix(name, []byte("cs"))
	if !ok || !cs {
		return false
	}
	n, err := strconv.ParseUint(string(number), 10, 32)
	return err == nil && n > 1
}

// openBody reads the body into r with the token that the browser sent.
func (r *record) openBody(t Token, header, body []byte) (err error) {
	if r.parted {
		if err = r.openPrivate(t, header, body); err != nil {
			return err
		}
		data := body[r.split:]
		if r.sealed {
			if data, err = t.unsealData(data, header, body[:r.split]); err != nil {
				return errSealed
			}
		}
		r.data, err = r.object(data)
		return err
	}
	if r.sealed {
		if body, err = t.unseal(body, header); err != nil {
			return errSealed
		}
	}
	data, private, both := bytes.Cut(body, []byte("\n"))
	if data, err = r.object(data); err == nil && both {
		private, err = r.object(private)
	}
	if err != nil {
		return err
	}
	r.data, r.private = data, private
	return nil
}

// openPrivate is openBody for the first part of a body that has two, of which no
// more need be there.
func (r *record) openPrivate(t Token, header, body []byte) (err error) {
	if len(body) < r.split {
		return fmt.Errorf("%w: the body is cut off", errCorrupt)
	}
	private := body[:r.split]
	if r.sealed {
		if private, err = t.unseal(private, header); err != nil {
			return errSealed
		}
	}
	if len(private) == 0 {
		return nil
	}
	r.private, err = r.object(private)
	return err
}

var errSealed = fmt.Errorf("%w: the body can't be opened", errCorrupt)

// object returns an object of the body in the form that lookup needs.
func (r *record) object(text []byte) ([]byte, error) {
	if !printable(text) {
		return nil, fmt.Errorf("%w: the body is not ASCII JSON", errCorrupt)
	}
	if !r.sealed { // a worker may have edited it
		text = compacted(text)
	}
	// Whoever has the secret can seal anything.
	if !compactObject(text) {
		return nil, fmt.Errorf("%w: the body is not JSON", errCorrupt)
	}
	return text, nil
}

// compacted returns JSON without white space, and nil for what is none.
func compacted(text []byte) []byte {
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil
	}
	return compact.Bytes()
}

// printable reports whether text can stand in a header.
func printable(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// compactObject reports whether text is an object in the form that lookup needs.
func compactObject(text []byte) bool {
	return len(text) > 0 && text[0] == '{' && compactJSON(text)
}
