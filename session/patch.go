package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Patch is what one response asks to change. The zero Patch asks for nothing.
type Patch struct {
	// First holds JSON Merge Patches (RFC 7396), to be applied in order before
	// Put: what the site itself sets, over which the application has its way.
	First []map[string]any
	// Replace drops all data first, and keeps everything else, the id too.
	Replace bool
	// Put holds objects whose top-level keys become exactly the values that they
	// have there, null included.
	Put []map[string]any
	// Set holds JSON Merge Patches, to be applied in order after Put.
	Set []map[string]any
	// Unset names top-level keys to remove after that.
	Unset []string
	// Edit, if it is not nil, returns a JSON Merge Patch for the private
	// object, which no header reaches, as it is when the patch is applied: nil
	// if it is empty. nil changes nothing. What else it returns comes back as
	// Edited of the [Result]. The patch may be applied several times, so Edit must be
	// quick and change nothing itself.
	Edit func(private []byte) (changes map[string]any, edited any)

	Renew        bool           // a new secret
	Clear        bool           // drop all data first, and take a new id
	Destroy      bool           // end the session; wins over everything else
	RevokeOthers bool           // end the subject's other sessions
	NoTouch      bool           // do not keep the session alive
	MaxAge       *time.Duration // end after this long, without idle limit; 0: back to idle and lifetime
	IfVersion    *uint64        // only if the session has this version; 0: if there is none
	NoCookie     bool           // the browser can't be sent a cookie any more: [ErrCookie] instead of what needs one

	// Label is what operators see beside the session from now on: see
	// [CleanLabel]. It begins no session, applications see neither it nor a change
	// of the version for it, and it does not go with a session to another id,
	// whose user is another one. nil leaves it.
	Label *string
}

// sets reports whether the patch is enough to create a session.
func (p *Patch) sets() bool { return p.setsData() || p.Edit != nil }

func (p *Patch) setsData() bool { return p.Replace || len(p.First)+len(p.Put)+len(p.Set) > 0 }

// malformed says that what the patch sets can't be done.
func (p *Patch) malformed(err error) error {
	if len(p.Set) == 0 && len(p.Put) > 0 {
		return malformed("Put", err)
	}
	return malformed("Set", err)
}

// changes reports whether there is anything to commit on a session.
func (p *Patch) changes() bool { return p.Label != nil || p.changesMore() }

// changesMore is changes but for the label.
func (p *Patch) changesMore() bool {
	return p.sets() || len(p.Unset) > 0 || p.Renew || p.Clear || p.MaxAge != nil
}

// Writes reports whether the patch asks for anything that needs the store.
func (p *Patch) Writes() bool {
	return p.Label != nil || p.writesMore()
}

// OnlyLabels reports whether the patch asks for a label and nothing else.
func (p *Patch) OnlyLabels() bool { return p.Label != nil && !p.writesMore() }

// writesMore is Writes but for the label.
func (p *Patch) writesMore() bool {
	return p.changesMore() || p.Destroy || p.RevokeOthers || p.IfVersion != nil
}

// content is the part of a session that applications change.
type content struct {
	data    []byte // as X-Session-Data sends it
	private []byte // like data; nil if there is nothing
	subject string // empty if nobody is signed in
}

// apply returns what the content becomes, and what Edit returns. Errors are *MalformedError: the
// patch can't be applied to any session, or not within the policy's limits.
//
// The private object goes with the subject, as the id does: what is in it is
// not for the next user of the browser.
func (p *Patch) apply(c content, policy Policy) (next content, edited any, err error) {
	if p.Clear {
		c = content{}
	}
	next = c
	if p.Clear || p.setsData() || len(p.Unset) > 0 || len(c.data) == 0 && p.sets() {
		if next, err = p.applyData(c, policy); err != nil {
			return content{}, nil, err
		}
	}
	if c.subject != "" && next.subject != c.subject {
		next.private = nil
	}
	if p.Edit != nil {
		var changes map[string]any
		if changes, edited = p.Edit(next.private); changes != nil {
			if next.private, err = applyPrivate(next.private, changes); err != nil {
				return content{}, nil, err
			}
		}
	}
	return next, edited, nil
}

func (p *Patch) applyData(c content, policy Policy) (content, error) {
	data, err := decodeStored(c.data)
	if err != nil {
		return content{}, err
	}
	if p.Replace {
		data = map[string]any{}
	}
	data = mergeAll(data, p.First)
	for _, object := range p.Put {
		for key, value := range object {
			data[key] = ownCopy(value)
		}
	}
	data = mergeAll(data, p.Set)
	for _, key := range p.Unset {
		delete(data, key)
	}
	if c.data, err = encodeObject(data, policy.MaxData, "max_data"); err != nil {
		return content{}, p.malformed(err)
	}
	value, _ := lookupPath(c.data, policy.SubjectKey)
	if c.subject, err = subjectOf(value); err != nil {
		return content{}, p.malformed(fmt.Errorf("key %q: %w", policy.SubjectKey, err))
	}
	return c, nil
}

// maxPrivate bounds the private object in bytes. It has room for the largest
// cookie jar.
const maxPrivate = 1 << 20

func applyPrivate(stored []byte, changes map[string]any) ([]byte, error) {
	object, err := decodeStored(stored)
	if err != nil {
		return nil, err
	}
	encoded, err := encodeObject(mergePatch(object, changes).(map[string]any), maxPrivate, "private data")
	if err != nil {
		return nil, malformed("private", err)
	}
	return encoded, nil
}

func decodeStored(stored []byte) (map[string]any, error) {
	object := map[string]any{}
	if len(stored) > 0 {
		// Not by decodeObjects: what is over a bound here, because a bound was
		// lowered or somebody else wrote it, must stay possible to correct.
		dec := json.NewDecoder(bytes.NewReader(stored))
		dec.UseNumber()
		if err := dec.Decode(&object); err != nil {
			return nil, fmt.Errorf("reading stored data: %w", err)
		}
	}
	return object, nil
}

func mergeAll(object map[string]any, patches []map[string]any) map[string]any {
	for _, patch := range patches {
		object = mergePatch(object, patch).(map[string]any)
	}
	return object
}

// ownCopy copies what mergePatch may change of a value: the objects that are not
// in lists.
func ownCopy(value any) any {
	object, ok := value.(map[string]any)
	if !ok {
		return value
	}
	copied := make(map[string]any, len(object))
	for key, member := range object {
		copied[key] = ownCopy(member)
	}
	return copied
}

// mergePatch is the algorithm of RFC 7396, section 2. It changes target in
// place, so that a line of many small patches costs no more than one large,
// but never patch, which is applied again after a conflict: every object of
// patch that it would have to change later is copied into one of its own.
func mergePatch(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	for key, value := range changes {
		if value == nil {
			delete(object, key)
		} else {
			object[key] = mergePatch(object[key], value)
		}
	}
	return object
}

// subjectOf reads the subject from the JSON text at its place, which is nobody's
// unless it is a string or a number.
func subjectOf(value []byte) (string, error) {
	if odd(value) {
		return "", nil
	}
	subject := plainText(value)
	if len(subject) > maxSubject {
		return "", fmt.Errorf("the subject has %d bytes, more than %d", len(subject), maxSubject)
	}
	return subject, nil
}

// odd reports whether a value at the subject's place is an object, a list or a
// boolean.
func odd(value []byte) bool { return len(value) > 0 && bytes.IndexByte([]byte("{[tf"), value[0]) >= 0 }

// maxSubject bounds the subject, which stands in the clear in every record.
const maxSubject = 1 << 10

func encodeObject(object map[string]any, limit int, limitName string) ([]byte, error) {
	if err := checkCounts(object); err != nil {
		return nil, err
	}
	encoded, err := encodeASCII(object)
	if err != nil {
		return nil, err
	}
	if len(encoded) > limit {
		return nil, fmt.Errorf("the session would have %d bytes, more than the %d of %s", len(encoded), limit, limitName)
	}
	return encoded, nil
}

// checkCounts holds what merging can exceed; it can't nest deeper than its
// parts, nor make a key longer.
func checkCounts(value any) error {
	switch v := value.(type) {
	case map[string]any:
		if len(v) > maxKeys {
			return tooManyKeys(len(v))
		}
		for _, member := range v {
			if err := checkCounts(member); err != nil {
				return err
			}
		}
	case []any:
		for _, member := range v {
			if err := checkCounts(member); err != nil {
				return err
			}
		}
	}
	return nil
}
