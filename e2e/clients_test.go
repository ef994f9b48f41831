package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-session/caddy-session/internal/selfsigned"
)

// client speaks one version of HTTP over TLS.
type client struct {
	t      *testing.T
	addr   string
	proto  string // what its responses must be in
	cookie string // sent with every request, unless empty
	http.RoundTripper
}

// eachClient runs a test with a client for each version of HTTP, all of them
// with the same server: site is the inside of its block.
func eachClient(t *testing.T, site string, run func(t *testing.T, c *client)) {
	s := serve(t, storeOption("memory"), "respond OK")
	cert, key, pool := selfsigned.Localhost(t)
	_, port, _ := net.SplitHostPort(freeAddr(t))
	addr := "localhost:" + port
	if err := s.try(storeOption("memory"), fmt.Sprintf("https://%s {\ntls %s %s\n%s\n}", addr, cert, key, site)); err != nil {
		t.Fatal(err)
	}
	config := func(protocol string) *tls.Config {
		return &tls.Config{RootCAs: pool, NextProtos: []string{protocol}}
	}
	h1 := &http.Transport{TLSClientConfig: config("http/1.1")}
	h2 := &http.Transport{TLSClientConfig: config("h2"), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: config("h3")}
	t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		h3.Close()
	})
	for _, c := range []struct {
		proto     string
		transport http.RoundTripper
	}{
		{"HTTP/1.0", oldTransport{config("http/1.1")}},
		{"HTTP/1.1", h1},
		{"HTTP/2.0", h2},
		{"HTTP/3.0", h3},
	} {
		t.Run(c.proto, func(t *testing.T) {
			run(t, &client{t: t, addr: addr, proto: c.proto, RoundTripper: c.transport})
		})
	}
}

// start sends a request and returns the response when its head has arrived,
// with the heads of 1xx responses before it.
func (c *client) start(method, target string, header http.Header) (r *http.Response, interim []http.Header) {
	c.t.Helper()
	r, interim, err := c.send(method, target, header, nil)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	if r.Proto != c.proto {
		c.t.Errorf("%s %s was answered in %s", method, target, r.Proto)
	}
	return r, interim
}

// send is start with a body. A CONNECT is for a WebSocket (RFC 8441, RFC 9220).
func (c *client) send(method, target string, header http.Header, body io.Reader) (r *http.Response, interim []http.Header, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	c.t.Cleanup(cancel)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			interim = append(interim, http.Header(h).Clone())
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, method, "https://"+c.addr+target, body)
	if err != nil {
		return nil, nil, err
	}
	if method == http.MethodConnect {
		if c.proto == "HTTP/2.0" {
			req.Header[":protocol"] = []string{"websocket"}
		} else {
			req.Proto = "websocket"
		}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if c.cookie != "" {
		req.Header.Set("Cookie", c.cookie)
	}
	r, err = c.RoundTrip(req)
	return r, interim, err
}

// do sends a request and returns the response with its body read.
func (c *client) do(method, target string, header http.Header) *response {
	c.t.Helper()
	r, _ := c.start(method, target, header)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatalf("%s %s: reading the body: %v", method, target, err)
	}
	noManagedNames(c.t, r.Header, r.Trailer)
	return &response{Response: r, body: string(body)}
}

// noManagedNames is noSessionHeaders for a response that was parsed.
func noManagedNames(t testing.TB, headers ...http.Header) {
	t.Helper()
	for _, h := range headers {
		for name, values := range h {
			noSessionHeaders(t, name+": "+strings.Join(values, ", "))
			if name == "Trailer" && strings.Contains(strings.ToLower(fmt.Sprint(values)), "session") {
				t.Errorf("the client sees the announcement %q", values)
			}
		}
	}
}

// oldTransport speaks HTTP/1.0, which net/http does as a server only.
type oldTransport struct{ config *tls.Config }

func (o oldTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	c, err := tls.Dial("tcp", r.URL.Host, o.config)
	if err != nil {
		return nil, err
	}
	deadline, _ := r.Context().Deadline()
	c.SetDeadline(deadline)
	fmt.Fprintf(c, "%s %s HTTP/1.0\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), r.URL.Host)
	r.Header.Write(c)
	io.WriteString(c, "\r\n")
	in := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(in, r)
		if err != nil {
			c.Close()
			return nil, err
		}
		if res.StatusCode >= 200 {
			res.Body = closer{res.Body, c}
			return res, nil
		}
		httptrace.ContextClientTrace(r.Context()).Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header))
	}
}

// closer closes the connection with the body.
type closer struct {
	io.Reader
	io.Closer
}
