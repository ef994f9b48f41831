package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/caddy-session/caddy-session/internal/busy"
)

// whatever is what a client may say of a request, true or not.
var whatever = []string{"", "document", "websocket"}

func claiming(destination string) http.Header {
	if destination == "" {
		return nil
	}
	return http.Header{"Sec-Fetch-Dest": {destination}, "Sec-Fetch-Mode": {"navigate"}}
}

// signIn begins a session that later requests are sent with.
func (c *client) signIn(user string) {
	c.t.Helper()
	c.cookie = ""
	if c.cookie = c.do("GET", "/?set=user%3D"+user, nil).cookie(); c.cookie == "" {
		c.t.Fatal("no cookie")
	}
}

// With every version of HTTP, a response ends with its session: what the client
// says about it decides nothing, nor whether it has a length.
func TestResponsesEndWhateverTheClientSays(t *testing.T) {
	a := streamApp(t)
	eachClient(t, "session\nreverse_proxy "+a.host(), func(t *testing.T, c *client) {
		var open sync.WaitGroup
		for _, target := range []string{"/events", "/drip", "/download"} {
			for _, destination := range whatever {
				c.signIn("alice")
				r, _ := c.start("GET", target, claiming(destination))
				if _, err := io.ReadFull(r.Body, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				c.do("GET", "/?control=destroy", nil)
				start := time.Now()
				open.Go(func() { // the others share the connection, and what may be sent on it
					defer r.Body.Close()
					t.Logf("%s %s %v", target, destination, closes(t, target+" "+destination, r.Body, start))
				})
			}
		}
		open.Wait()
	})
}

// What a client sends ends with the session, too.
func TestUploadsEndWithTheSession(t *testing.T) {
	begun, over := make(chan error), make(chan error, 100)
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/upload" {
			scripted(w, r)
			return
		}
		_, err := io.ReadFull(r.Body, make([]byte, 5))
		begun <- err
		if r.URL.Query().Has("answer") { // like a chat
			c := http.NewResponseController(w)
			c.EnableFullDuplex()
			c.Flush()
		}
		_, err = io.Copy(io.Discard, r.Body)
		over <- err
	})
	eachClient(t, "session\nreverse_proxy "+a.host(), func(t *testing.T, c *client) {
		if c.proto == "HTTP/1.0" {
			return // it can't send a body of an unknown length
		}
		var start time.Time
		n := 0
		for _, target := range []string{"/upload", "/upload?answer"} {
			for _, destination := range whatever {
				c.signIn("alice")
				body, client := io.Pipe()
				defer client.Close()
				req := *c // its cookie is another one soon
				go func() {
					r, _, err := req.send("POST", target, claiming(destination), body)
					if err == nil {
						io.Copy(io.Discard, r.Body)
						r.Body.Close()
					}
					body.CloseWithError(io.ErrClosedPipe)
				}()
				if _, err := io.WriteString(client, "hello"); err != nil {
					t.Fatal(err)
				}
				if err := <-begun; err != nil {
					t.Fatal(err)
				}
				c.do("GET", "/?control=destroy", nil)
				start = time.Now()
				n++
			}
		}
		for i := range n {
			select {
			case err := <-over:
				if err == nil {
					t.Error("half of an upload is taken for all")
				}
			case <-time.After(5*time.Second - time.Since(start)):
				t.Fatalf("%d uploads of %d go on", n-i, n)
			}
		}
		t.Logf("%d uploads %v", n, time.Since(start))
	})
}

// A WebSocket over HTTP/2 or 3 is a CONNECT.
func TestTunnelsEndWithTheSession(t *testing.T) {
	const setting = "http2xconnect=1" // else net/http does not know it
	if !strings.Contains(os.Getenv("GODEBUG"), setting) {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG="+setting)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Error(err)
		}
		t.Logf("%s", out)
		return
	}
	a := streamApp(t)
	eachClient(t, "session\nreverse_proxy "+a.host(), func(t *testing.T, c *client) {
		if strings.HasPrefix(c.proto, "HTTP/1") {
			return // it has Upgrade
		}
		if c.proto == "HTTP/2.0" {
			//lint:ignore SA1019 http.Transport has no word for an extended CONNECT
			h2 := &http2.Transport{TLSClientConfig: c.RoundTripper.(*http.Transport).TLSClientConfig}
			//lint:ignore SA1019 as above
			defer h2.CloseIdleConnections()
			c.RoundTripper = h2
		}
		for _, target := range []string{"/?control=destroy", "/?control=renew"} {
			for _, destination := range whatever {
				c.signIn("alice")
				body, client := io.Pipe()
				defer client.Close()
				r, _, err := c.send(http.MethodConnect, "/ws", claiming(destination), body)
				if err != nil || r.StatusCode != http.StatusOK {
					t.Fatal(r, err)
				}
				if _, err := io.WriteString(client, "hello"); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				c.do("GET", target, nil)
				t.Logf("%s %s %v", target, destination, closes(t, "the WebSocket "+destination, r.Body, start))
				r.Body.Close()
			}
		}
	})
}

// A file goes out by sendfile, in one call, to a client that is slow to take it.
func TestFilesEndWithTheSession(t *testing.T) {
	root := t.TempDir()
	const size = 1 << 30
	file, err := os.Create(filepath.Join(root, "file.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
		t.Fatal(err)
	}
	a := app(t, scripted)
	eachClient(t, fmt.Sprintf("root %s\nsession\nhandle /file.bin {\n\tfile_server\n}\nreverse_proxy %s", root, a.host()), func(t *testing.T, c *client) {
		c.signIn("alice")
		r, _ := c.start("GET", "/file.bin", claiming("document"))
		defer r.Body.Close()
		c.do("GET", "/?control=destroy", nil)
		time.Sleep(2 * time.Second) // a response gets 1.5 s
		start := time.Now()
		if n, err := io.Copy(io.Discard, r.Body); err == nil || busy.Exceeds(time.Since(start), 5*time.Second) {
			t.Errorf("%d bytes came, in %v, %v", n, time.Since(start), err)
		}
	})
}

// A request is a use of its session for as long as it lasts.
func TestDownloadOutlivesIdle(t *testing.T) {
	a := streamApp(t)
	s := serve(t, storeOption("memory"), "session {\n\tidle 1s\n}\nreverse_proxy "+a.host())
	for _, target := range []string{"/drip", "/download"} {
		body := s.stream(target, s.signIn("alice"))
		for start := time.Now(); time.Since(start) < 6*time.Second; { // longer than idle, the look at the store, and patience
			if _, err := io.ReadFull(body, make([]byte, 2)); err != nil {
				t.Fatalf("%s ends after %v: %v", target, time.Since(start), err)
			}
		}
	}
}
