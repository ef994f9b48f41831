package session

import (
	"fmt"
	"strings"
)

// unmanageable are names that carry the request itself: taking them over
// would break the connection to the upstream or the proxy's own headers.
var unmanageable = []string{
	"Host", "Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Te", "Trailer", "Upgrade",
	"Content-Length", "Content-Type", "Content-Encoding", "Expect", "Cookie", "Set-Cookie", "Location", "Cache-Control",
	"Accept", "Accept-Encoding", "Range", "If-None-Match", "Sec-Fetch-Site", "Sec-Websocket-Key",
	"Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Http-Proxy", "Proxy",
	"Proxy-Authorization", "Proxy-Authenticate", "Alt-Svc", "Strict-Transport-Security",
}

func checkPrefix(prefix string) error {
	if !headerName(prefix) || !strings.HasSuffix(prefix, "-") {
		return fmt.Errorf("header_prefix %q: use letters, digits and hyphens, with a hyphen at the end", prefix)
	}
	for _, name := range unmanageable {
		if strings.HasPrefix(fold(name), fold(prefix)) {
			return fmt.Errorf("header_prefix %q would take over the header %s: choose a longer prefix", prefix, name)
		}
	}
	return nil
}

func checkForward(key, header string) error {
	if key == "" || len(key) > maxKey {
		return fmt.Errorf("forward %q: a key has 1 to %d bytes", key, maxKey)
	}
	if !headerName(header) {
		return fmt.Errorf("forward %s: header %q: use letters, digits and hyphens", key, header)
	}
	for _, name := range unmanageable {
		if fold(name) == fold(header) {
			return fmt.Errorf("forward %s: the header %s can't be taken over: name another header", key, name)
		}
	}
	return nil
}

// headerName reports whether name is a header name that survives CGI, where
// all but letters and digits become "_": nothing but these and hyphens.
func headerName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isAlnum(c) && c != '-' {
			return false
		}
	}
	return name != "" && isAlnum(name[0])
}

// fold maps a header name to what backends can't tell apart: lower-case, and
// every byte but letters and digits becomes a hyphen.
func fold(name string) string {
	b := []byte(name)
	for i, c := range b {
		b[i] = foldByte(c)
	}
	return string(b)
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + ('a' - 'A')
	case isAlnum(c):
		return c
	}
	return '-'
}
