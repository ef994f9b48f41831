package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"strings"
	"testing"
	"time"
)

// Who signs out ends an event stream, whatever the client does on the
// connection besides reading.
func TestStreamsEndWhateverTheClientSends(t *testing.T) {
	over := make(chan struct{})
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			scripted(w, r)
			return
		}
		c := http.NewResponseController(w)
		if err := c.EnableFullDuplex(); err != nil { // like most servers: answers before it has read the body
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: hello\n\n")
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
		select { // silent from now on
		case <-r.Context().Done():
		case <-over:
		}
	})
	t.Cleanup(func() { close(over) })
	for _, tt := range []struct {
		name, request, then string
		times               int
	}{
		{"nothing", "GET /events HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n", "", 0},
		{"the next request", "GET /events HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 1},
		{"a body that nobody reads", "POST /events HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nContent-Length: 100000000\r\n\r\n", strings.Repeat("x", 1<<20), 95},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, storeOption("memory"), "session\nreverse_proxy "+a.host())
			cookie := s.signIn("alice")
			c := s.dial()
			defer c.Close()
			fmt.Fprintf(c, tt.request, s.addr, cookie)
			go func() {
				for range tt.times {
					if _, err := io.WriteString(c, tt.then); err != nil {
						return
					}
				}
			}()
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond) // for what the client sends then
			start := time.Now()
			s.get("/?control=destroy", cookie)
			t.Logf("%v", closes(t, "the event stream", r.Body, start))
		})
	}
}

// Pages have no context of their own, so a silent one ends when its application
// says something: nothing of that goes out.
func TestPagesEndAtTheNextWrite(t *testing.T) {
	speak := make(chan struct{})
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" {
			scripted(w, r)
			return
		}
		io.WriteString(w, "begin")
		http.NewResponseController(w).Flush()
		<-speak
		io.WriteString(w, "secret")
		http.NewResponseController(w).Flush()
	})
	for _, protocol := range []string{"HTTP/1.1", "HTTP/1.0"} {
		t.Run(protocol, func(t *testing.T) {
			s := serve(t, storeOption("memory"), "session\nreverse_proxy "+a.host()+" {\n\tflush_interval -1\n}")
			cookie := s.signIn("alice")
			c := s.dial()
			defer c.Close()
			fmt.Fprintf(c, "GET /slow %s\r\nHost: %s\r\nCookie: %s\r\nSec-Fetch-Dest: document\r\n\r\n", protocol, s.addr, cookie)
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r.Body, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			s.get("/?control=destroy", cookie)
			time.Sleep(3 * time.Second) // pages get 1.5 s
			speak <- struct{}{}
			rest, err := io.ReadAll(r.Body)
			if len(rest) > 0 {
				t.Errorf("after the end of the session came %q", rest)
			}
			if protocol == "HTTP/1.1" && err == nil {
				t.Error("the page that was cut off looks complete")
			}
		})
	}
}

// An application may have sent all of a page and go on working, when the session
// ends: a proxy in front of Caddy has the connection for other users too.
func TestConnectionIsGoodForTheNextRequest(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" {
			scripted(w, r)
			return
		}
		w.Header().Set("Content-Length", "2")
		io.WriteString(w, "ok")
		w.(http.Flusher).Flush()
		time.Sleep(2500 * time.Millisecond)
	}))
	s := serve(t, storeOption("memory"), "session\nreverse_proxy "+l.Addr().String()+" {\n\ttransport fastcgi\n\tflush_interval -1\n}")
	for _, destination := range []string{"", "Sec-Fetch-Dest: document\r\n"} {
		alice, bob := s.signIn("alice"), s.signIn("bob")
		c := s.dial()
		defer c.Close()
		in := bufio.NewReader(c)
		ask := func(target, cookie string) string {
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n%s\r\n", target, s.addr, cookie, destination)
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				return err.Error()
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err.Error()
			}
			return fmt.Sprint(r.StatusCode, " ", string(body))
		}
		if got := ask("/slow", alice); got != "200 ok" {
			t.Fatal(got)
		}
		s.get("/?control=destroy", alice)
		time.Sleep(2700 * time.Millisecond)
		for _, cookie := range []string{"", bob} {
			if got := ask("/", cookie); !strings.HasPrefix(got, "200 ") {
				t.Errorf("%q: the next request on the connection: %s", destination, got)
			}
		}
	}
}
