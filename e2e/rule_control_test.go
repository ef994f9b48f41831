package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// control are header lines that say something to us, or look like it. The
// Unset and the Control lines ask for nothing that would be noticed.
const control = "X-Session-Set: user=alice\r\nx-session-unset: nothing\r\nX-SESSION-CONTROL: no-touch\r\n" + lookalikes

// lookalikes fold to names of ours, but are not the names.
const lookalikes = "X_Session_Set: user=mallory\r\nX.Session.Set: user=mallory\r\nX~Session~Set: user=mallory\r\n" +
	"X-Session_Control: destroy\r\nX-Session Set: user=mallory\r\nX-Session-Set : user=mallory\r\n" +
	"X-Session-User: mallory\r\nX-Session-Data: {}\r\nX-Session-Whatever: 1\r\nX-Session-: 1\r\n"

func chunked(status, lines, trailers string) string {
	return "HTTP/1.1 " + status + "\r\n" + lines + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + trailers + "\r\n"
}

func TestRule2ControlHeadersStayInside(t *testing.T) {
	const own = "X-App: 1\r\n"
	tests := []struct {
		name     string
		response string
		method   string   // default GET
		keeps    []string // what the client must get of the application's own
		signsIn  bool
	}{
		{name: "200", response: saying("200 OK", own+control), keeps: []string{"X-App: 1", "hello"}, signsIn: true},
		{name: "302", response: saying("302 Found", "Location: /home\r\n"+control), keeps: []string{"Location: /home"}, signsIn: true},
		{name: "404", response: saying("404 Not Found", own+control), keeps: []string{"X-App: 1", "hello"}, signsIn: true},
		{name: "500", response: saying("500 Internal Server Error", own+control), keeps: []string{"X-App: 1", "hello"}, signsIn: true},
		{name: "204", response: "HTTP/1.1 204 No Content\r\n" + own + control + "\r\n", keeps: []string{"204 No Content", "X-App: 1"}, signsIn: true},
		{name: "304", response: "HTTP/1.1 304 Not Modified\r\n" + own + control + "\r\n", keeps: []string{"304 Not Modified", "X-App: 1"}, signsIn: true},
		{name: "HEAD", method: "HEAD", response: "HTTP/1.1 200 OK\r\n" + own + control + "Content-Length: 5\r\n\r\n", keeps: []string{"X-App: 1", "Content-Length: 5"}, signsIn: true},
		{name: "to the end of the connection", response: "HTTP/1.1 200 OK\r\n" + own + control + "\r\nhello", keeps: []string{"X-App: 1", "hello"}, signsIn: true},
		{name: "HTTP/1.0", response: "HTTP/1.0 200 OK\r\n" + own + control + "\r\nhello", keeps: []string{"X-App: 1", "hello"}, signsIn: true},
		{name: "empty chunked body", response: "HTTP/1.1 200 OK\r\n" + own + control + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", keeps: []string{"X-App: 1"}, signsIn: true},
		{name: "event stream", response: chunked("200 OK", own+"Content-Type: text/event-stream\r\n"+control, ""), keeps: []string{"X-App: 1", "hello"}, signsIn: true},
		{name: "only lookalikes", response: saying("200 OK", own+lookalikes), keeps: []string{"X-App: 1", "hello"}},
		{name: "named by Connection", response: saying("200 OK", "Connection: X-Session-Set, X_Session_Set\r\n"+lookalikes), keeps: []string{"hello"}},

		{name: "103", response: "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n" + control + "\r\n" + saying("200 OK", own),
			keeps: []string{"103 Early Hints", "Link: </a.css>", "X-App: 1", "hello"}},
		{name: "103 twice, then 200", response: strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n"+lookalikes+"X-Session-Set: user=mallory\r\n\r\n", 2) + saying("200 OK", own+control),
			keeps: []string{"103 Early Hints", "X-App: 1", "hello"}, signsIn: true},
		{name: "102", response: "HTTP/1.1 102 Processing\r\n" + control + "\r\n" + saying("200 OK", own), keeps: []string{"X-App: 1", "hello"}},
		{name: "100", response: "HTTP/1.1 100 Continue\r\n" + control + "\r\n" + saying("200 OK", own), keeps: []string{"X-App: 1", "hello"}},
		{name: "199", response: "HTTP/1.1 199 Odd\r\n" + control + "\r\n" + saying("200 OK", own), keeps: []string{"X-App: 1", "hello"}},

		{name: "announced trailers", response: chunked("200 OK", "Trailer: X-Session-Set, X_Session_Set, X-Checksum\r\nTrailer: x-session-control\r\n", "X-Checksum: 1234\r\n"+control),
			keeps: []string{"Trailer: X-Checksum", "X-Checksum: 1234", "hello"}},
		{name: "only ours announced", response: chunked("200 OK", "Trailer: X-Session-Set\r\n", "X-Session-Set: user=mallory\r\n"), keeps: []string{"hello"}},
		{name: "unannounced trailers", response: chunked("200 OK", "", "X-Checksum: 1234\r\n"+control), keeps: []string{"X-Checksum: 1234", "hello"}},
		{name: "header and trailers", response: chunked("200 OK", own+control+"Trailer: X-Checksum\r\n", "X-Checksum: 1234\r\nX-Session-Control: destroy\r\nX-Session-Set: user=mallory\r\n"),
			keeps: []string{"X-App: 1", "X-Checksum: 1234", "hello"}, signsIn: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := upstream(t, numbered(tt.response))
			see := app(t, scripted)
			s := serve(t, probed, "log\nsession\nhandle /see {\nreverse_proxy "+see.host()+"\n}\nreverse_proxy "+u.addr)
			method := tt.method
			if method == "" {
				method = "GET"
			}
			raw := s.raw(s.request(method, "/0", "", "TE: trailers"))
			noSessionHeaders(t, raw)
			if strings.Contains(strings.ToLower(raw), "x-session") {
				t.Errorf("the client sees our names: %q", raw)
			}
			for _, text := range tt.keeps {
				if !strings.Contains(raw, text) {
					t.Errorf("the client does not get %q: %q", text, raw)
				}
			}
			if n := strings.Count(raw, "Set-Cookie:"); n > 1 || (n == 1) != tt.signsIn {
				t.Errorf("%d cookies: %q", n, raw)
			}
			if tt.signsIn {
				before, line, _ := strings.Cut(raw, "Set-Cookie: ")
				if strings.Count(before, "HTTP/1.1 ") != strings.Count(raw, "HTTP/1.1 ") {
					t.Errorf("the cookie is not on the final header: %q", raw)
				}
				cookie, _, _ := strings.Cut(line, ";")
				if r := s.get("/see", cookie); !strings.Contains(r.body, `user=alice data={"user":"alice"} version=1`) {
					t.Errorf("the application sees %q", r.body)
				}
			}
			eventually(t, "access log", func() bool { return s.logged("handled request") != nil })
			for _, line := range s.logged("handled request") {
				if strings.Contains(strings.ToLower(line), "session-") || strings.Contains(line, "mallory") {
					t.Errorf("access log: %s", line)
				}
			}
		})
	}
}

func TestRule2InterimToExpectation(t *testing.T) {
	u := upstream(t, func(c net.Conn, r *http.Request) {
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n"+control+"\r\n")
		io.Copy(io.Discard, r.Body)
		io.WriteString(c, saying("200 OK", "X-App: 1\r\n"))
	})
	s := serve(t, probed, "session\nreverse_proxy "+u.addr)
	raw := s.raw(s.request("POST", "/", "hello", "Expect: 100-continue", "Content-Length: 5"))
	noSessionHeaders(t, raw)
	if !strings.Contains(raw, "X-App: 1") || strings.Contains(raw, "Set-Cookie") {
		t.Errorf("the client gets %q", raw)
	}
}

func TestRule2WhateverTheRoutesDo(t *testing.T) {
	tests := []struct {
		name    string
		proxy   string // the block of reverse_proxy
		errors  string // the block of handle_errors
		signsIn bool
		aborts  bool
		silent  bool // so that there is nothing to log
	}{
		{name: "copy_response", proxy: "handle_response {\n\tcopy_response\n}", signsIn: true},
		{name: "copy_response with status", proxy: "handle_response {\n\tcopy_response 201\n}", signsIn: true},
		{name: "copy_response_headers, respond", proxy: "handle_response {\n\tcopy_response_headers\n\trespond own\n}", signsIn: true},
		{name: "copy_response_headers of ours", proxy: "handle_response {\n\tcopy_response_headers {\n\t\tinclude X-Session-Set X-Session-Whatever\n\t}\n\trespond own\n}", signsIn: true},
		{name: "copy_response_headers, nothing written", proxy: "handle_response {\n\tcopy_response_headers\n}", signsIn: true, silent: true},
		{name: "without the headers", proxy: "handle_response {\n\trespond own\n}"},
		{name: "copy_response_headers, error", proxy: "handle_response {\n\tcopy_response_headers\n\terror 418\n}"},
		{name: "copy_response_headers, error, error route", proxy: "handle_response {\n\tcopy_response_headers\n\terror 418\n}", errors: "respond own"},
		{name: "copy_response_headers, error, silent error route", proxy: "handle_response {\n\tcopy_response_headers\n\terror 418\n}", errors: "header X-Own 1"},
		{name: "copy_response_headers, abort", proxy: "handle_response {\n\tcopy_response_headers\n\tabort\n}", aborts: true},
		{name: "only the status", proxy: "@all status 200\nreplace_status @all 202", signsIn: true},
	}
	for _, matched := range []bool{true, false} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, matched %v", tt.name, matched), func(t *testing.T) {
				u := upstream(t, always(saying("200 OK", "X-App: 1\r\n"+control)))
				site := "log\nsession\nreverse_proxy " + u.addr + " {\n" + tt.proxy + "\n}\n"
				if !matched {
					site = "@never path /never\n" + strings.Replace(site, "session", "session @never", 1)
				}
				if tt.errors != "" {
					site += "handle_errors {\n" + tt.errors + "\n}\n"
				}
				s := serve(t, probed, site)
				raw := s.raw(s.request("GET", "/", ""))
				noSessionHeaders(t, raw)
				if (raw == "") != tt.aborts {
					t.Errorf("the client gets %q", raw)
				}
				if strings.Contains(raw, "Set-Cookie") != (tt.signsIn && matched) {
					t.Errorf("cookie: %q", raw)
				}
				eventually(t, "access log", func() bool { return tt.silent || s.logged("handled request") != nil })
				for _, line := range s.logged("handled request") {
					if strings.Contains(strings.ToLower(line), "session-") || strings.Contains(line, "mallory") {
						t.Errorf("access log: %s", line)
					}
				}
			})
		}
	}
}

// What Caddy itself answers for an application that fails commits nothing and
// shows nothing.
func TestRule2FailingApplications(t *testing.T) {
	for name, response := range map[string]string{
		"nothing":           "",
		"half a head":       "HTTP/1.1 200 OK\r\n" + control,
		"half a line":       "HTTP/1.1 200 OK\r\nX-Session-Set: user=al",
		"only interim":      "HTTP/1.1 103 Early Hints\r\n" + control + "\r\n",
		"not HTTP":          "X-Session-Set: user=alice\r\n\r\n",
		"a broken line":     "HTTP/1.1 200 OK\r\n" + control + "no colon here\r\n\r\n",
		"a broken length":   "HTTP/1.1 200 OK\r\n" + control + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"a strange upgrade": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n" + control + "\r\n",
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(method+"/"+name, func(t *testing.T) {
				u := upstream(t, func(c net.Conn, _ *http.Request) {
					io.WriteString(c, response)
					c.Close()
				})
				see := app(t, scripted)
				s := serve(t, probed, "session\nhandle /see {\nreverse_proxy "+see.host()+"\n}\nreverse_proxy "+u.addr)
				cookie := s.get("/see?set=user%3Dbob", "").cookie()
				for _, cookie := range []string{"", cookie} {
					raw := s.raw(s.request(method, "/", "", "Cookie: "+cookie, "Content-Length: 0"))
					noSessionHeaders(t, raw)
					if strings.Contains(raw, "Set-Cookie") {
						t.Errorf("the client gets %q", raw)
					}
				}
				if r := s.get("/see", cookie); !strings.Contains(r.body, `user=bob data={"user":"bob"} version=1`) {
					t.Errorf("the session has become %q", r.body)
				}
			})
		}
	}
}

// A body that breaks off does not take back what its head has said: that was
// committed before the first byte of it.
func TestRule2BrokenBody(t *testing.T) {
	u := upstream(t, func(c net.Conn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\n"+control+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense")
		c.Close()
	})
	see := app(t, scripted)
	s := serve(t, probed, "log\nsession\nhandle /see {\nreverse_proxy "+see.host()+"\n}\nreverse_proxy "+u.addr)
	raw := s.raw(s.request("GET", "/", ""))
	noSessionHeaders(t, raw)
	_, line, _ := strings.Cut(raw, "Set-Cookie: ")
	cookie, _, _ := strings.Cut(line, ";")
	if r := s.get("/see", cookie); !strings.Contains(r.body, "user=alice") {
		t.Errorf("after %q the application sees %q", raw, r.body)
	}
}
