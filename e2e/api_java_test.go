package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// What the adapter for Java does with the API.
func TestAPIJava(t *testing.T) {
	c := newTomcat(t, "jakarta")
	if c.start(); c.problem != nil {
		t.Fatalf("%v\n%s", c.problem, c)
	}
	other := app(t, scripted)
	site := withAPISite(fmt.Sprintf(`session {
			cookie {
				name visitor
			}
			request_headers id user version data expires new_id
		}
		handle_path /jakarta/* {
			reverse_proxy %s
		}
		handle {
			reverse_proxy %s
		}`, c.addr, other.host()))
	globals := apiSocket(t)
	s := serve(t, globals, site)
	says := func(t *testing.T, target, cookie, want string) *response {
		t.Helper()
		r := c.page(s, target, cookie, http.StatusOK)
		if r.body != want {
			t.Errorf("%s: %q, want %q", target, r.body, want)
		}
		return r
	}

	t.Run("save", func(t *testing.T) {
		cookie := c.page(s, "set?key=a", "", http.StatusOK).cookie()
		saved := make(chan *response, 1)
		go func() { saved <- s.get("/jakarta/pages/save", cookie) }()
		eventually(t, "another request sees it", func() bool { return strings.Contains(javaData(s, cookie), `"saved":1`) })
		select {
		case r := <-saved:
			t.Errorf("its own response came first: %q", r.raw)
		default:
			says(t, "seen", cookie, "true")
		}
		if r := <-saved; r.body != "true" || r.cookie() != "" {
			t.Errorf("saved: %q", r.raw)
		}
	})

	t.Run("late", func(t *testing.T) {
		cookie := says(t, "late", "", "first last").cookie()
		if data := javaData(s, cookie); data != `{"cart":{"late":1},"early":1,"late":1}` {
			t.Errorf("kept: %s", data)
		}
		c.page(s, "end", cookie, http.StatusOK)
		if data := javaData(s, cookie); data != "" {
			t.Errorf("ended: %s", data)
		}
	})

	t.Run("moved", func(t *testing.T) {
		cookie := c.page(s, "set?key=a", "", http.StatusOK).cookie()
		c.page(s, "moved", cookie, http.StatusFound)
		if data := javaData(s, cookie); data != `{"a":1,"cart":{"a":1},"moved":1}` {
			t.Errorf("kept: %s", data)
		}
	})

	// What a WebSocket is to the adapter.
	t.Run("upgrade", func(t *testing.T) {
		cookie := c.page(s, "set?key=a", "", http.StatusOK).cookie()
		conn := s.dial()
		defer conn.Close()
		fmt.Fprintf(conn, "GET /jakarta/pages/upgrade HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", s.addr, cookie)
		answer := bufio.NewReader(conn)
		if r, err := http.ReadResponse(answer, nil); err != nil || r.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("no upgrade: %v, %+v", err, r)
		}
		for _, step := range "12" {
			fmt.Fprintf(conn, "%c", step)
			if b, err := answer.ReadByte(); err != nil || rune(b) != step {
				t.Fatalf("step %c: %c, %v", step, b, err)
			}
			if data, want := javaData(s, cookie), fmt.Sprintf(`{"a":1,"cart":{"a":1},"step":"%c"}`, step); data != want {
				t.Errorf("kept: %s, want %s", data, want)
			}
		}
	})

	t.Run("large", func(t *testing.T) {
		cookie := says(t, "big?size="+mebibyte, "", "4").cookie() // "null"
		says(t, "big?size="+mebibyte, cookie, mebibyte)
		c.page(s, "set?key=a", cookie, http.StatusOK)
		says(t, "big?size=1", cookie, mebibyte)
		if data := javaData(s, cookie); data != `{"a":1,"big":"x","cart":{"a":1}}` {
			t.Errorf("kept: %s", data)
		}
		c.page(s, "big?size=3000000", cookie, http.StatusInternalServerError)
		if line := "the session API answers PATCH / of /pages/big with 413"; !strings.Contains(c.String(), line) {
			t.Errorf("the log lacks %q", line)
		}
		says(t, "big?size=1", cookie, "1")
	})

	t.Run("begin", func(t *testing.T) {
		for _, target := range []string{"begin", "begin?again"} {
			if r := c.page(s, target, "", http.StatusOK); r.body != sessionID(r.cookie()) || javaData(s, r.cookie()) != "{}" {
				t.Errorf("%s: %q, %s", target, r.raw, javaData(s, r.cookie()))
			}
		}
		s.load(globals, strings.Replace(site, " new_id", "", 1))
		defer s.load(globals, site)
		r := c.page(s, "again", c.page(s, "set?key=a", "", http.StatusOK).cookie(), http.StatusOK)
		if r.body != sessionID(r.cookie()) || javaData(s, r.cookie()) != `{"message":"Good-bye, Zo\u00eb!"}` {
			t.Errorf("without new_id: %q, %s", r.raw, javaData(s, r.cookie()))
		}
	})

	// Members that are null can't be merged by Caddy.
	t.Run("parallel", func(t *testing.T) {
		cookie := c.page(s, "set?key=first", "", http.StatusOK).cookie()
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if r := s.get(fmt.Sprintf("/jakarta/pages/set?wait&save&key=k%d", i), cookie); r.StatusCode != http.StatusOK {
					t.Errorf("%q", r.raw)
				}
			})
		}
		all.Wait()
		data := javaData(s, cookie)
		for i := range 20 {
			if one, null := fmt.Sprintf(`"k%d":1`, i), fmt.Sprintf(`"null-k%d":null`, i); strings.Count(data, one) != 2 || strings.Count(data, null) != 1 {
				t.Errorf("%s is lost: %s", one, data)
			}
		}
	})
	if strings.Contains(c.String(), "is lost") {
		t.Errorf("something is lost")
	}
}
