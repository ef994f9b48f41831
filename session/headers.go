package session

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// defaultPrefix begins the names of all headers between us and applications.
const defaultPrefix = "X-Session-"

// Forward sends the value of one data key upstream as a header of its own.
type Forward struct {
	// Key is the top-level data key.
	Key string `json:"key"`
	// Header is the name of the header. Default: the header prefix, then the
	// key with every byte but letters and digits replaced by "-".
	Header string `json:"header,omitempty"`
}

// Protocol is the header protocol between us and the application, under one
// prefix. Names under the prefix belong to us in both directions, whatever
// their spelling; the names of forward headers do so in requests. It is
// immutable.
type Protocol struct {
	prefix  string
	folded  string              // the prefix as fold writes it
	custom  map[string]struct{} // folded forward names outside the prefix
	forward []Forward           // with canonical header names
	names   map[string]string   // of all our headers, by what they fold to
	exposed int

	// To the upstream, "" for those that it does not want.
	id, user, version, data, expires, signedIn, newID string
	shown                                             int // how many of them it wants

	// Where the session API is: see [Protocol.WithAPI].
	api    string
	hasAPI bool

	put, set, unset, control string // from the upstream
}

// RequestHeaders returns what the headers are called that may show a session to the
// application.
func RequestHeaders() []string {
	return []string{"id", "user", "version", "data", "expires", "signed_in", "new_id"}
}

// NewProtocol returns the protocol for a prefix ("" for X-Session-). The limits and
// the subject's place come from policy, which must be valid. show has the
// [RequestHeaders] that the application wants: by default id, user, version and,
// without forward lines, data.
func NewProtocol(prefix string, forward []Forward, policy Policy, show ...string) (*Protocol, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	if prefix == "" {
		prefix = defaultPrefix
	}
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	name := func(suffix string) string { return textproto.CanonicalMIMEHeaderKey(prefix + suffix) }
	p := &Protocol{
		prefix: prefix, folded: fold(prefix), custom: map[string]struct{}{}, exposed: policy.Exposed,
		put: name("Put"), set: name("Set"), unset: name("Unset"), control: name("Control"), api: name("Api"),
	}
	p.names = map[string]string{}
	for _, ours := range []string{p.put, p.set, p.unset, p.control, p.api} {
		p.names[fold(ours)] = ours
	}
	if len(show) == 0 {
		show = []string{"id", "user", "version"}
		if len(forward) == 0 {
			show = append(show, "data")
		}
	}
	for i, to := range []*string{&p.id, &p.user, &p.version, &p.data, &p.expires, &p.signedIn, &p.newID} {
		word := RequestHeaders()[i]
		header := name(strings.ReplaceAll(word, "_", "-"))
		p.names[fold(header)] = header
		if slices.Contains(show, word) {
			*to = header
			p.shown++
		}
	}
	if p.shown < len(show) {
		return nil, fmt.Errorf("request_headers: write names out of %s, each at most once", strings.Join(RequestHeaders(), ", "))
	}
	for _, f := range forward {
		header := f.Header
		if header == "" {
			header = prefix + fold(f.Key)
		}
		if err := checkForward(f.Key, header); err != nil {
			return nil, err
		}
		f.Header = textproto.CanonicalMIMEHeaderKey(header)
		if user := name("User"); f.Key == policy.SubjectKey && f.Header == user {
			if p.user == "" {
				p.user = user
				p.shown++
			}
			continue
		}
		if err := p.add(f.Key, f.Header); err != nil {
			return nil, err
		}
		p.forward = append(p.forward, f)
	}
	return p, nil
}

// add makes a request header belong to us. Only constructors call it.
func (p *Protocol) add(key, header string) error {
	if other, clash := p.names[fold(header)]; clash {
		return fmt.Errorf("forward %s: the header %s can't be told from %s: name another header", key, header, other)
	}
	p.names[fold(header)] = header
	if !p.underPrefix(header) {
		p.custom[fold(header)] = struct{}{}
	}
	return nil
}

// HeaderName returns the canonical name of a request header that is asked for
// as header, or by default made of the prefix, kind, and the key as in [Forward].
func (p *Protocol) HeaderName(kind, key, header string) string {
	if header == "" {
		header = p.prefix + kind + fold(key)
	}
	return textproto.CanonicalMIMEHeaderKey(header)
}

// Reserve returns a protocol to which one more request header belongs, which the
// caller is to set. key says in errors what it is for.
func (p *Protocol) Reserve(key, header string) (*Protocol, error) {
	if err := checkForward(key, header); err != nil {
		return nil, err
	}
	reserved := *p
	reserved.names, reserved.custom = maps.Clone(p.names), maps.Clone(p.custom)
	if err := reserved.add(key, header); err != nil {
		return nil, err
	}
	return &reserved, nil
}

// WithAPI returns a protocol for applications that can ask for the session: data
// that would be more than may be exposed is not forwarded, and no error.
func (p *Protocol) WithAPI() *Protocol {
	with := *p
	with.hasAPI = true
	return &with
}

// APIHeader returns the name of the request header that says where the session can
// be asked for. The caller sets it.
func (p *Protocol) APIHeader() string { return p.api }

func (p *Protocol) underPrefix(name string) bool {
	if len(name) < len(p.folded) {
		return false
	}
	for i := range len(p.folded) {
		if foldByte(name[i]) != p.folded[i] {
			return false
		}
	}
	return true
}

// ManagesRequest reports whether a request header of this name belongs to us,
// in any spelling.
func (p *Protocol) ManagesRequest(name string) bool {
	if p.underPrefix(name) {
		return true
	}
	if len(p.custom) == 0 {
		return false
	}
	_, ok := p.custom[fold(name)]
	return ok
}

// ManagesResponse is [Protocol.ManagesRequest] for response headers and trailers.
func (p *Protocol) ManagesResponse(name string) bool {
	return p.underPrefix(strings.TrimPrefix(name, http.TrailerPrefix))
}

// needsData reports whether the application is always sent data, or an error in its
// place.
func (p *Protocol) needsData() bool { return len(p.forward) > 0 || p.data != "" && !p.hasAPI }

// errExposed says that a session is larger than what may be forwarded.
var errExposed = errors.New("more session data than the limit of exposed")

// exposure returns an error that wraps errExposed if the values that Inject
// would set have more bytes than allowed.
func (p *Protocol) exposure(c content) error {
	size := p.promised(c)
	if p.data != "" && !p.hasAPI {
		size += len(c.data)
	}
	if size > p.exposed {
		return fmt.Errorf("%w: %d bytes of headers, %d are allowed", errExposed, size, p.exposed)
	}
	return nil
}

// promised returns how many bytes the values have that are never left out: a
// missing one would be taken for a key that is not there.
func (p *Protocol) promised(c content) (size int) {
	if p.user != "" {
		size = encodedLen(c.subject)
	}
	for _, f := range p.forward {
		if value, ok := lookupValue(c.data, f.Key); ok {
			size += encodedLen(plainText(value))
		}
	}
	return size
}

// NewID returns the id that a session is to have which the response to a request
// begins, if the application wants to know, else "".
func (p *Protocol) NewID() string {
	if p.newID == "" {
		return ""
	}
	return newID()
}

// inject sets the headers that show s to the application, and a new id unless that
// is ""; a nil s sets none. expires is when s ends, if that is wanted.
func (p *Protocol) inject(h http.Header, s *Session, expires time.Time, newID string) error {
	if s != nil {
		if err := p.exposure(s.content); err != nil {
			return fmt.Errorf("forwarding session %s: %w", s.ID(), err)
		}
	}
	if p.newID != "" && newID != "" {
		h[p.newID] = []string{newID}
	}
	if s == nil {
		return nil
	}
	values := make([]string, 0, p.shown) // one allocation for all lists of one
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if p.id != "" {
		set(p.id, s.ID())
	}
	if p.version != "" {
		set(p.version, strconv.FormatUint(s.Version(), 10))
	}
	if p.expires != "" {
		set(p.expires, strconv.FormatInt(expires.Unix(), 10))
	}
	if s.subject != "" && p.user != "" {
		set(p.user, EncodeValue(s.subject))
	}
	if s.subject != "" && p.signedIn != "" {
		set(p.signedIn, strconv.FormatInt(s.signedIn.Unix(), 10))
	}
	if p.data != "" && !s.unread && (!p.hasAPI || p.promised(s.content)+len(s.data) <= p.exposed) {
		text := s.text
		if text == "" {
			text = string(s.data)
		}
		set(p.data, text)
	}
	for _, f := range p.forward {
		if value, ok := lookupValue(s.data, f.Key); ok {
			h[f.Header] = []string{EncodeValue(plainText(value))}
		}
	}
	return nil
}

// StripRequest removes every managed name from request headers.
func (p *Protocol) StripRequest(h http.Header) {
	Strip(h, p.ManagesRequest)
}

// StripResponse removes every managed name from response headers, trailers
// that are kept under [http.TrailerPrefix], and announcements of trailers.
func (p *Protocol) StripResponse(h http.Header) {
	Strip(h, p.ManagesResponse)
	StripList(h, "Trailer", p.ManagesResponse)
}

// Take removes the control headers from a response and returns what they ask
// for, nil if there are none. Only the exact names are obeyed. limit bounds
// their size in bytes. Errors are [*MalformedError].
func (p *Protocol) Take(h http.Header, limit int) (*Patch, error) {
	put, set, unset, control := h[p.put], h[p.set], h[p.unset], h[p.control]
	p.StripResponse(h)
	if len(put)+len(set)+len(unset)+len(control) == 0 {
		return nil, nil
	}
	return parsePatch(put, set, unset, control, limit)
}

// Strip removes every header for whose name managed is true.
func Strip(h http.Header, managed func(string) bool) {
	for name := range h {
		if managed(name) {
			delete(h, name)
		}
	}
}

// StripList removes the elements for which managed is true from a header that
// is a comma-separated list of names, such as Connection or Trailer. Without
// such elements the header stays byte for byte as it is.
func StripList(h http.Header, header string, managed func(string) bool) {
	lines := h[header]
	found := false
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			found = found || managed(strings.Trim(element, " \t"))
		}
	}
	if !found {
		return
	}
	var kept []string
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			if element = strings.Trim(element, " \t"); element != "" && !managed(element) {
				kept = append(kept, element)
			}
		}
	}
	if kept == nil {
		delete(h, header)
		return
	}
	h[header] = []string{strings.Join(kept, ", ")}
}
