package cookiejar

// Rules is the configuration of what becomes of an application's own cookies,
// name by name. The zero value passes them all. Names are exact, or end in "*"
// for all names that begin so; the most exact one that fits counts.
//
// Compile makes a Keeper of them.
type Rules struct {
	// Cookies that are kept on the server, in the session: the browser never
	// sees them.
	Keep []string `json:"keep,omitempty"`

	// Whether cookies that the application sets HttpOnly are kept, too, of all
	// names that no other rule has. Once a name was set so, it is kept
	// whether it is HttpOnly or not.
	KeepHTTPOnly bool `json:"keep_http_only,omitempty"`

	// Cookies that the browser holds encrypted and authenticated
	// (AES-256-GCM), so that it can neither read nor change them.
	Seal []WrapRule `json:"seal,omitempty"`

	// Cookies that the browser holds readable and signed (HMAC-SHA256), so
	// that it can't change them.
	Sign []WrapRule `json:"sign,omitempty"`

	// Cookies that go in neither direction.
	Drop []string `json:"drop,omitempty"`

	// Cookies that go through untouched.
	Pass []string `json:"pass,omitempty"`

	// What becomes of all others: "pass" (the default), "keep" or "drop".
	Default string `json:"default,omitempty"`

	// Attributes that cookies have to have that still reach the browser.
	Harden []Harden `json:"harden,omitempty"`

	// Secrets for seal and sign, of at least 32 bytes each; placeholders are
	// replaced. The first one makes new values, all are tried on values that
	// come back.
	Keys []string `json:"keys,omitempty"`

	// Cookies whose value the application gets in a header, beside Cookie.
	Forward []ForwardCookie `json:"forward,omitempty"`
}

// WrapRule is which cookies are sealed or signed, and how.
type WrapRule struct {
	// The cookies' names.
	Names []string `json:"names"`

	// Whether values are worth nothing in another session than the one in
	// which they were set, nor without one.
	Bound bool `json:"bound,omitempty"`

	// The form of a signed value: by default VALUE.ATTRIBUTES.SIGNATURE;
	// `cookie-parser` is that of the Node library (s:VALUE.SIGNATURE), which
	// is bound to no name.
	Format string `json:"format,omitempty"`
}

// FormatCookieParser is the form of signed values that Express applications
// know.
const FormatCookieParser = "cookie-parser"

// ForwardCookie sends the value of a cookie upstream in a header.
type ForwardCookie struct {
	// The cookie's name, which has to be kept, sealed or signed.
	Name string `json:"name"`
	// The header's name. Default: the header prefix, "Cookie-" and the
	// cookie's name, in which other bytes than letters and digits become "-".
	Header string `json:"header,omitempty"`
}
