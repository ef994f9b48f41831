package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// withAPI is the global option for a store in memory and a session API.
func withAPI(address string) string { return "session {\n\tstore memory\n\tapi " + address + "\n}" }

// dialAPI connects to the API that a capability is for, and returns its path.
func dialAPI(t testing.TB, capability string) (c net.Conn, host, path string) {
	t.Helper()
	network := "tcp"
	address, path, ok := strings.Cut(strings.TrimPrefix(capability, "http://"), "/")
	host = address
	if rest, isUnix := strings.CutPrefix(capability, "http+unix://"); isUnix {
		address, path, ok = strings.Cut(rest, "/")
		network, host = "unix", "localhost"
		address, _ = url.PathUnescape(address)
	}
	if !ok || len(path) < 22 {
		t.Fatalf("the capability is %q", capability)
	}
	c, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(timeout))
	return c, host, "/" + path
}

// askRaw sends bytes to the API, with $CAP for the path of a capability and $HOST for
// its host, and returns all that comes back.
func askRaw(t testing.TB, capability, request string) string {
	t.Helper()
	c, host, path := dialAPI(t, capability)
	defer c.Close()
	io.WriteString(c, strings.NewReplacer("$CAP", path, "$HOST", host).Replace(request))
	answer, _ := io.ReadAll(c) // which may end with a reset
	return string(answer)
}

// ask asks the API in the way of an application, and returns status and body.
func ask(t testing.TB, capability, method, path, body string, lines ...string) (int, string) {
	t.Helper()
	request := method + " $CAP" + path + " HTTP/1.1\r\nHost: $HOST\r\nConnection: close\r\n" + strings.Join(append(lines, ""), "\r\n")
	if body != "" {
		request += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	raw := askRaw(t, capability, request+"\r\n"+body)
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw)), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v in %q", method, path, err, raw)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// asking is an application that does what a test says while it has a request.
type asking struct {
	*application
	during http.HandlerFunc
}

func askingApp(t testing.TB) *asking {
	a := new(asking)
	a.application = app(t, func(w http.ResponseWriter, r *http.Request) {
		if a.during != nil {
			a.during(w, r)
		}
	})
	return a
}

// have has the application do something with the capability of a request.
func (a *asking) have(s *server, cookie string, do func(w http.ResponseWriter, capability string)) *response {
	s.t.Helper()
	a.during = func(w http.ResponseWriter, r *http.Request) { do(w, r.Header.Get("X-Session-Api")) }
	return s.get("/", cookie)
}

// begin begins a session by the API.
func (a *asking) begin(s *server, data string) (cookie string) {
	s.t.Helper()
	r := a.have(s, "", func(_ http.ResponseWriter, capability string) {
		if status, body := ask(s.t, capability, "PUT", "", data); status != 200 {
			s.t.Errorf("beginning: %d %s", status, body)
		}
	})
	if r.cookie() == "" {
		s.t.Fatalf("no cookie in %q", r.raw)
	}
	return r.cookie()
}

// Nobody but the application talks to the API: what is refused, byte for byte.
func TestAPIRefuses(t *testing.T) {
	a := askingApp(t)
	s := serve(t, withAPI(freeAddr(t)), "session {\n\tapi\n\tmax_data 8KiB\n}\nreverse_proxy "+a.host())
	cookie := a.begin(s, `{"a":1}`)
	const patch = "Content-Type: application/json\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{\"a\":2}"
	a.have(s, cookie, func(_ http.ResponseWriter, capability string) {
		for what, tt := range map[string]struct {
			request string
			status  int
		}{
			"a page":               {"PATCH $CAP HTTP/1.1\r\nHost: $HOST\r\nOrigin: https://evil.example\r\n" + patch, 403},
			"a sandboxed page":     {"PATCH $CAP HTTP/1.1\r\nHost: $HOST\r\nOrigin: null\r\n" + patch, 403},
			"the API's own page":   {"PATCH $CAP HTTP/1.1\r\nHost: $HOST\r\nOrigin: http://$HOST\r\n" + patch, 403},
			"an empty origin":      {"PATCH $CAP HTTP/1.1\r\nHost: $HOST\r\nOrigin:\r\n" + patch, 403},
			"a browser":            {"GET $CAP HTTP/1.1\r\nHost: $HOST\r\nsec-fetch-dest: image\r\nConnection: close\r\n\r\n", 403},
			"a user of a browser":  {"GET $CAP HTTP/1.1\r\nHost: $HOST\r\nSec-Fetch-Site: none\r\nConnection: close\r\n\r\n", 403},
			"another host":         {"GET $CAP HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 403},
			"a rebound host":       {"GET http://evil.example$CAP HTTP/1.1\r\nHost: $HOST\r\nConnection: close\r\n\r\n", 403},
			"without the port":     {"GET $CAP HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 403},
			"no host":              {"GET $CAP HTTP/1.1\r\nConnection: close\r\n\r\n", 400},
			"no host, HTTP/1.0":    {"GET $CAP HTTP/1.0\r\n\r\n", 403},
			"two hosts":            {"GET $CAP HTTP/1.1\r\nHost: $HOST\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 400},
			"a form":               {"PATCH $CAP HTTP/1.1\r\nHost: $HOST\r\nContent-Type: text/plain\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{\"a\":2}", 415},
			"no type":              {"PATCH $CAP HTTP/1.1\r\nHost: $HOST\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{\"a\":2}", 415},
			"a large body":         {"PATCH $CAP HTTP/1.1\r\nHost: $HOST\r\nContent-Type: application/json\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n" + `{"a":"` + strings.Repeat("x", 10000), 413},
			"a large chunked body": {"PATCH $CAP HTTP/1.1\r\nHost: $HOST\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4000\r\n" + `{"a":"` + strings.Repeat("x", 0x4000-6) + "\r\n0\r\n\r\n", 413},
			"large headers":        {"GET $CAP HTTP/1.1\r\nHost: $HOST\r\nX-A: " + strings.Repeat("x", 20000) + "\r\nConnection: close\r\n\r\n", 431},
			"a method of scripts":  {"POST $CAP HTTP/1.1\r\nHost: $HOST\r\n" + patch, 405},
			"a preflight":          {"OPTIONS $CAP HTTP/1.1\r\nHost: $HOST\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n", 403},
		} {
			answer := askRaw(t, capability, tt.request)
			if !strings.Contains(strings.SplitN(answer, "\r\n", 2)[0], " "+strconv.Itoa(tt.status)+" ") {
				t.Errorf("%s: %.200q, want %d", what, answer, tt.status)
			}
			if strings.Contains(answer, "Access-Control") || strings.Contains(answer, `"data"`) {
				t.Errorf("%s: %q", what, answer)
			}
		}
		if status, body := ask(t, capability, "GET", "", ""); status != 200 || !strings.Contains(body, `"data":{"a":1}`) {
			t.Errorf("afterwards: %d %s", status, body)
		}
	})
}

// What opens nothing looks the same whatever is wrong with it, and is not answered
// often; what is open is answered all the time.
func TestAPIUnauthorized(t *testing.T) {
	a := askingApp(t)
	s := serve(t, withAPI(freeAddr(t)), "session {\n\tapi\n}\nreverse_proxy "+a.host())
	var ended string
	cookie := a.begin(s, `{"a":1}`)
	a.have(s, cookie, func(_ http.ResponseWriter, capability string) { ended = capability })
	a.have(s, cookie, func(_ http.ResponseWriter, capability string) {
		base := capability[:strings.LastIndexByte(capability, '/')+1]
		token := capability[len(base):]
		flipped := "A"
		if strings.HasSuffix(token, "A") {
			flipped = "Q"
		}
		date := regexp.MustCompile("(?m)^Date: .*\r\n")
		want := ""
		for what, guess := range map[string]string{
			"ended": ended, "guessed": base + token[:len(token)-1] + flipped, "unknown": base + strings.Repeat("A", len(token)),
			"short": base + token[:len(token)-1], "long": capability + "A", "odd": base + strings.Repeat("%21", len(token)), "padded": capability + "%3D",
		} {
			for _, request := range []string{"GET $CAP HTTP/1.1\r\nHost: $HOST\r\n\r\n", "GET $CAP/sessions HTTP/1.1\r\nHost: $HOST\r\n\r\n", "PATCH $CAP HTTP/1.1\r\nHost: $HOST\r\n\r\n"} {
				answer := date.ReplaceAllString(askRaw(t, guess, request), "")
				if want == "" {
					want = answer
				}
				if answer != want || !strings.HasPrefix(answer, "HTTP/1.1 401 ") {
					t.Errorf("%s: %q, want %q", what, answer, want)
				}
			}
		}

		const guesses = 400
		var answered, others int
		var mu sync.Mutex
		var all sync.WaitGroup
		start := time.Now()
		for range guesses {
			all.Go(func() {
				answer := askRaw(t, base+strings.Repeat("A", len(token)), "GET $CAP HTTP/1.1\r\nHost: $HOST\r\n\r\n")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case strings.HasPrefix(answer, "HTTP/1.1 401 "):
					answered++
				case answer != "":
					others++
				}
			})
		}
		for range 20 {
			if status, body := ask(t, capability, "GET", "", ""); status != 200 {
				t.Errorf("meanwhile: %d %s", status, body)
			}
		}
		all.Wait()
		if most := 50 + int(50*time.Since(start).Seconds()) + 1; answered > most || answered == 0 || others > 0 {
			t.Errorf("%d guesses of %d were answered in %v, want %d at most; %d in another way", answered, guesses, time.Since(start), most, others)
		}
	})
}

// By a Unix socket, which is for its group, through a reload in the middle of a
// request.
func TestAPIUnix(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "a b.sock")
	a := askingApp(t)
	site := "session {\n\tapi\n}\nreverse_proxy " + a.host()
	globals := withAPI(`"unix/` + socket + `"`)
	s := serve(t, globals, site)
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Fatal(info.Mode(), err)
	}
	cookie := a.begin(s, `{"a":1}`)
	a.have(s, cookie, func(_ http.ResponseWriter, capability string) {
		if !strings.HasPrefix(capability, "http+unix://"+url.PathEscape(socket)+"/") {
			t.Errorf("the capability is %q", capability)
		}
		if status, body := ask(t, capability, "GET", "", ""); status != 200 {
			t.Errorf("%d %s", status, body)
		}
		if err := s.try(globals, fmt.Sprintf("http://%s {\n%s\nheader A b\n}", s.addr, site)); err != nil {
			t.Error(err)
		}
		if status, body := ask(t, capability, "PATCH", "", `{"b":2}`); status != 200 {
			t.Errorf("after a reload: %d %s", status, body)
		}
	})
	a.have(s, cookie, func(_ http.ResponseWriter, capability string) {
		if status, body := ask(t, capability, "GET", "", ""); status != 200 || !strings.Contains(body, `"data":{"a":1,"b":2}`) {
			t.Errorf("%d %s", status, body)
		}
	})
	s.load(storeOption("memory"), "respond ok")
	eventually(t, "the socket is gone", func() bool { _, err := os.Stat(socket); return os.IsNotExist(err) })
}

// Nobody but the application is shown the capability.
func TestAPIIsShownToTheApplicationOnly(t *testing.T) {
	var shown sync.Map
	see := func(who string) *application {
		return app(t, func(w http.ResponseWriter, r *http.Request) {
			for name, values := range r.Header {
				if strings.Contains(strings.ToLower(name), "session") {
					shown.Store(who+" "+name, values)
				}
			}
		})
	}
	auth, failing := see("auth"), see("error")
	a := askingApp(t)
	globals := withAPI(freeAddr(t))
	site := func(line string) string {
		return "log\nsession {\n\tapi\n}\nforward_auth " + auth.host() + " {\n\turi /verify\n\tcopy_headers Remote-Email\n\t" + line + "\n}\n" +
			"error /fails 500\nreverse_proxy " + a.host() + "\nhandle_errors {\n\treverse_proxy " + failing.host() + "\n}"
	}
	s := serve(t, globals, site("header_up -X-Session-Api"))
	if err := s.try(globals, fmt.Sprintf("http://%s {\n%s\n}", s.addr, site("header_up A b"))); err == nil || !strings.Contains(err.Error(), "write header_up -X-Session-Api into the block of forward_auth") {
		t.Errorf("the auth server may see it: %v", err)
	}
	var capability string
	r := a.have(s, "", func(_ http.ResponseWriter, c string) { capability = c })
	if capability == "" {
		t.Fatalf("the application has no capability: %s", r.raw)
	}
	s.get("/fails", "", "X-Session-Api: http://evil.example/", "X_Session_Api: http://evil.example/")
	if failing.last() == nil || auth.last() == nil {
		t.Fatal("one of them was not asked")
	}
	shown.Range(func(who, value any) bool { t.Errorf("%s: %s", who, value); return true })
	noSessionHeaders(t, r.raw)

	eventually(t, "access log", func() bool { return len(s.logged("handled request")) >= 2 })
	token := capability[strings.LastIndexByte(capability, '/')+1:]
	for _, line := range s.logged(token) {
		// Which has all headers that go to applications, at level DEBUG.
		if !strings.Contains(line, `"level":"debug"`) || !strings.Contains(line, `"msg":"upstream roundtrip"`) {
			t.Errorf("the log has the capability: %s", line)
		}
	}
}

// In a WebSocket, an application saves and reloads; what would need a cookie comes
// too late, and the capability ends with the connection.
func TestAPIWebSocket(t *testing.T) {
	var capability string
	a, ended := webSocketApp(t, "", func() {})
	inner := a.Config.Handler
	a.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			capability = r.Header.Get("X-Session-Api")
		}
		inner.ServeHTTP(w, r)
	})
	s := serve(t, withAPI(freeAddr(t)), "session {\n\tapi\n}\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")
	_, in, c := s.upgrade(cookie, "dGhlIHNhbXBsZSBub25jZQ==")
	if _, err := readFrame(in); err != nil {
		t.Fatal(err)
	}
	want := func(method, path, body string, status int, has string) {
		t.Helper()
		if got, answer := ask(t, capability, method, path, body); got != status || !strings.Contains(answer, has) {
			t.Errorf("%s %s: %d %s, want %d with %s", method, path, got, answer, status, has)
		}
	}
	want("PATCH", "", `{"saved":true}`, 200, `"version":2`)
	if r := s.get("/?set=b%3Dc", cookie); !strings.Contains(r.body, `"saved":true`) {
		t.Errorf("another request sees %s", r.body)
	}
	want("GET", "", "", 200, `"b":"c"`)
	want("POST", "/renew", "", 409, "cookie")
	want("PATCH", "", `{"user":"bob"}`, 409, "cookie")
	want("POST", "/touch", "", 200, `"user":"alice"`)
	c.Close()
	hangUp(t, ended)
	eventually(t, "the capability is dead", func() bool { status, _ := ask(t, capability, "GET", "", ""); return status == 401 })

	// And with the session, which the application may end itself.
	_, in, _ = s.upgrade(cookie, "dGhlIHNhbXBsZSBub25jZQ==")
	if _, err := readFrame(in); err != nil {
		t.Fatal(err)
	}
	want("DELETE", "", "", 204, "")
	if _, err := readFrame(in); err == nil {
		t.Error("the connection outlives its session")
	}
}

// After the first bytes, data goes on; and a session of 1 MiB, which headers would
// not hold.
func TestAPIAfterTheFirstByte(t *testing.T) {
	a := askingApp(t)
	s := serve(t, withAPI(freeAddr(t)), "session {\n\tapi\n\tmax_data 1100KiB\n}\nreverse_proxy "+a.host())
	cookie := a.begin(s, `{"a":1}`)
	large := `{"large":"` + strings.Repeat("0123456789abcdef", 1<<16) + `"}`
	page := bytes.Repeat([]byte("x"), 100_000)
	r := a.have(s, cookie, func(w http.ResponseWriter, capability string) {
		w.Write(page)
		http.NewResponseController(w).Flush()
		if status, body := ask(t, capability, "PATCH", "", large); status != 200 {
			t.Errorf("%d %s", status, body)
		}
		if status, _ := ask(t, capability, "POST", "/clear", ""); status != 409 {
			t.Errorf("a new id: %d", status)
		}
		w.Write(page)
	})
	if len(r.body) != 2*len(page) || r.cookie() != "" {
		t.Errorf("%d bytes, cookie %q", len(r.body), r.cookie())
	}
	a.have(s, cookie, func(_ http.ResponseWriter, capability string) {
		if header := a.last().Header; header.Get("X-Session-Data") != "" || header.Get("X-Session-Id") == "" {
			t.Errorf("the application gets %d bytes of data", len(header.Get("X-Session-Data")))
		}
		if status, body := ask(t, capability, "GET", "?keys=large", ""); status != 200 || !strings.HasSuffix(body, `"data":`+large+"}") {
			t.Errorf("%d, %d bytes", status, len(body))
		}
		if status, body := ask(t, capability, "GET", "?keys=a", ""); status != 200 || !strings.HasSuffix(body, `"data":{"a":1}}`) {
			t.Errorf("%d %s", status, body)
		}
	})
}

// Under the lock, by the API or because the site says so, requests that read, add and
// write lose nothing, at two Caddys on one Redis. Without it they lose all but one, if
// all read before one writes. And when the Caddy of the one that has the lock is
// killed, the other has it in time.
func TestAPILock(t *testing.T) {
	redis := redistest.Start(t)
	const requests = 50
	var read sync.WaitGroup
	read.Add(requests)
	var killing atomic.Pointer[func()]
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		capability := r.Header.Get("X-Session-Api")
		if r.URL.Path == "/begin" {
			w.Header().Set("X-Session-Set", `{"n":0}`)
			return
		}
		if kill := killing.Swap(nil); kill != nil {
			(*kill)()
			return
		}
		body := `{"data":` + r.Header.Get("X-Session-Data") + "}"
		switch r.URL.Path {
		case "/asks":
			if status, body := ask(t, capability, "POST", "/lock?wait=20s", ""); status != 200 {
				t.Errorf("%d %s", status, body)
			}
			_, body = ask(t, capability, "GET", "?keys=n", "")
		case "/free":
			read.Done()
			read.Wait()
		}
		var session struct{ Data struct{ N int } }
		if err := json.Unmarshal([]byte(body), &session); err != nil {
			t.Errorf("%v in %s", err, body)
		}
		w.Header().Set("X-Session-Set", fmt.Sprintf(`{"n":%d}`, session.Data.N+1))
		fmt.Fprint(w, session.Data.N+1)
	})
	var caddys []*child
	for range 2 {
		globals := fmt.Sprintf("session {\n\tstore redis %s {\n\t\ttimeout 5s\n\t}\n\tapi %s\n}", redis.Addr, freeAddr(t))
		caddys = append(caddys, startChild(t, globals, "session {\n\tapi\n\tlock /locked 30s\n}\nreverse_proxy "+a.host()))
	}
	get := func(c *child, path, cookie string) (*http.Response, string, error) {
		r, err := http.NewRequest("GET", "http://"+c.addr+path, nil)
		if err != nil {
			return nil, "", err
		}
		r.Header.Set("Cookie", cookie)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, "", err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return answer, string(body), err
	}
	r, _, err := get(caddys[0], "/begin", "")
	if err != nil {
		t.Fatal(err)
	}
	cookie := (&response{Response: r}).cookie()
	n := 0
	for _, tt := range []struct {
		path string
		adds int
	}{{"/asks", requests}, {"/locked", requests}, {"/free", 1}} {
		var most atomic.Int64
		var all sync.WaitGroup
		for i := range requests {
			all.Go(func() {
				r, body, err := get(caddys[i%2], tt.path, cookie)
				if err != nil || r.StatusCode != 200 {
					t.Errorf("%s: %v, %s", tt.path, err, body)
					return
				}
				n, _ := strconv.ParseInt(body, 10, 64)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
			})
		}
		all.Wait()
		if n += tt.adds; int(most.Load()) != n {
			t.Errorf("%s: n is %d, want %d", tt.path, most.Load(), n)
		}
	}
	killed := make(chan struct{})
	kill := func() { caddys[0].kill(); close(killed) }
	killing.Store(&kill)
	go get(caddys[0], "/locked", cookie)
	<-killed
	start := time.Now()
	_, body, err := get(caddys[1], "/asks", cookie)
	if took := time.Since(start); err != nil || body != strconv.Itoa(n+1) || busy.Exceeds(took, 12*time.Second) {
		t.Errorf("after %v: n is %s, %v", took, body, err)
	}
}
