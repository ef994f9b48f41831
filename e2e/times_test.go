package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A lowered lifetime or remember is for sessions that exist, too.
func TestLoweredTimes(t *testing.T) {
	eachStore(t, func(t *testing.T, option string) {
		a := app(t, scripted)
		site := func(times string) string { return "session {\n" + times + "\n}\nreverse_proxy " + a.host() }
		s := serve(t, option, site(""))
		born := time.Now()
		plain := signInEventually(t, s, "alice")
		remembered := s.get("/?set=user%3Dbob&control=max-age%3D86400", "").cookie()
		s.load(option, site("idle 1s\nlifetime 1s\nremember 1h"))
		time.Sleep(time.Until(born.Add(1100 * time.Millisecond)))
		if r := s.get("/", plain); !strings.Contains(r.body, "id=\n") {
			t.Errorf("after its lifetime: %q", r.body)
		}
		if r := s.get("/", remembered); !strings.Contains(r.body, "user=bob") {
			t.Errorf("remembered: %q", r.body)
		}
		s.load(option, site("remember 1s"))
		if r := s.get("/", remembered); !strings.Contains(r.body, "id=\n") {
			t.Errorf("remembered for too long: %q", r.body)
		}
	})
}

// A request is a use of its session as long as it lasts.
func TestLongRequestsAreUse(t *testing.T) {
	const idle = time.Second
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/drip" {
			for start := time.Now(); time.Since(start) < 5*idle; time.Sleep(50 * time.Millisecond) {
				fmt.Fprint(w, ".")
				if r.URL.Query().Has("flush") {
					http.NewResponseController(w).Flush()
				}
			}
			fmt.Fprint(w, "end")
			return
		}
		scripted(w, r)
	})
	eachStore(t, func(t *testing.T, option string) {
		s := serve(t, option, "session {\n\tidle 1s\n}\nreverse_proxy "+a.host()+" {\n\tflush_interval -1\n}")
		type drip struct {
			target, cookie string
			answer         chan *response
		}
		var drips []drip
		for _, target := range []string{"/drip", "/drip?flush"} {
			d := drip{target, signInEventually(t, s, "bob"), make(chan *response, 1)}
			drips = append(drips, d)
			go func() {
				defer close(d.answer) // also when get has failed the test
				d.answer <- s.get(d.target, d.cookie)
			}()
		}

		// Sent for longer than idle.
		cookie := s.signIn("alice")
		c := s.dial()
		defer c.Close()
		fmt.Fprintf(c, "POST /?set=done%%3D1 HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nContent-Length: 30\r\nConnection: close\r\n\r\n", s.addr, cookie)
		for range 30 {
			time.Sleep(idle / 10)
			if _, err := io.WriteString(c, "x"); err != nil {
				t.Fatal(err)
			}
		}
		answer, err := io.ReadAll(c)
		if err != nil || !strings.Contains(string(answer), "200 OK") {
			t.Errorf("the answer: %q, %v", answer, err)
		}
		if r := s.get("/", cookie); !strings.Contains(r.body, `"done":"1"`) {
			t.Errorf("after the upload: %q", r.body)
		}

		// Answered for longer than idle, and than it takes to look for sessions that have ended.
		for _, d := range drips {
			if r := s.await(d.answer); !strings.HasSuffix(r.body, "end") {
				t.Errorf("%s is cut: %q", d.target, r.body)
			}
			if r := s.get("/", d.cookie); !strings.Contains(r.body, "user=bob") {
				t.Errorf("after %s: %q", d.target, r.body)
			}
		}
	})
}
