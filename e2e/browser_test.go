package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/need"
)

// browser is a page of a headless Chromium, driven by the Chrome DevTools
// Protocol over a pipe: JSON messages that end in a zero byte.
type browser struct {
	t       testing.TB
	in      *os.File
	out     chan message
	id      int
	session string // of a tab
	context string // of its window, if that has cookies of its own
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    any             `json:"params,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// pageTimeout is how long a page may take on a slow machine.
const pageTimeout = 60 * time.Second

// browse starts a browser with a profile of its own.
func browse(t *testing.T, flags ...string) *browser {
	t.Helper()
	return browseIn(t, t.TempDir(), flags...)
}

// browseIn starts a browser with a profile that it may have had before.
func browseIn(t *testing.T, profile string, flags ...string) *browser {
	t.Helper()
	path := need.Program(t, "chromium", "chromium-browser", "google-chrome")
	toRead, toWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromRead, fromWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append(flags, "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--user-data-dir="+profile, "--disable-gpu",
		"--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-extensions",
		"--disable-sync", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", "about:blank")...)
	cmd.ExtraFiles = []*os.File{toRead, fromWrite} // descriptors 3 and 4
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end its children with it
	cmd.WaitDelay = timeout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	toRead.Close()
	fromWrite.Close()
	b := &browser{t: t, in: toWrite, out: make(chan message, 10000)}
	go func() {
		defer close(b.out)
		for r := bufio.NewReader(fromRead); ; {
			text, err := r.ReadString(0)
			if err != nil {
				return
			}
			var m message
			if json.Unmarshal([]byte(strings.TrimSuffix(text, "\x00")), &m) == nil {
				b.out <- m
			}
		}
	}()
	t.Cleanup(func() {
		toWrite.Close()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		fromRead.Close()
		if t.Failed() {
			t.Logf("chromium: %s", stderr.String())
		}
		// Its children may still be writing: TempDir's own removal would fail.
		for range 100 {
			if os.RemoveAll(profile) == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	b.tab()
	return b
}

// tab goes on in a new tab.
func (b *browser) tab() {
	b.t.Helper()
	b.session = "" // the browser's own
	params := map[string]string{"url": "about:blank"}
	if b.context != "" {
		params["browserContextId"] = b.context
	}
	var target struct{ TargetID string }
	b.do("Target.createTarget", params, &target)
	var attached struct{ SessionID string }
	b.do("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
}

// anew goes on in a window without cookies and with nothing in its cache.
func (b *browser) anew() {
	b.t.Helper()
	b.session = ""
	var made struct{ BrowserContextID string }
	b.do("Target.createBrowserContext", nil, &made)
	b.context = made.BrowserContextID
	b.tab()
}

// quit closes the browser as its user does, so that it keeps what it should.
func (b *browser) quit() {
	b.t.Helper()
	b.session = "" // the browser's own
	b.do("Browser.close", nil, nil)
	for deadline := time.After(pageTimeout); ; {
		select {
		case _, ok := <-b.out:
			if !ok {
				return
			}
		case <-deadline:
			b.t.Fatal("the browser does not end")
		}
	}
}

// do runs a command and decodes its result.
func (b *browser) do(method string, params, result any) {
	b.t.Helper()
	if err := b.try(method, params, result); err != nil {
		b.t.Fatal(err)
	}
}

// try is do, and returns what the browser has against it.
func (b *browser) try(method string, params, result any) error {
	b.t.Helper()
	b.id++
	text, err := json.Marshal(message{ID: b.id, Method: method, Params: params, SessionID: b.session})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	m := b.await(method, func(m message) bool { return m.ID == b.id })
	if m.Error != nil {
		return fmt.Errorf("%s: %s", method, m.Error.Message)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(m.Result, result)
}

func (b *browser) await(what string, is func(message) bool) message {
	b.t.Helper()
	deadline := time.After(pageTimeout)
	for {
		select {
		case m, ok := <-b.out:
			if !ok {
				b.t.Fatalf("%s: the browser has ended", what)
			}
			if is(m) {
				return m
			}
		case <-deadline:
			b.t.Fatalf("%s: no answer", what)
		}
	}
}

// open goes to an address.
func (b *browser) open(url string) {
	b.t.Helper()
	loaded := b.script("performance.timeOrigin + location.href")
	var result struct{ ErrorText string }
	b.do("Page.navigate", map[string]any{"url": url}, &result)
	if result.ErrorText != "" {
		b.t.Fatalf("%s: %s", url, result.ErrorText)
	}
	b.settled(loaded)
}

// click clicks on an element that leads to another page.
func (b *browser) click(selector string) {
	b.t.Helper()
	loaded := b.script("performance.timeOrigin + location.href")
	b.script(fmt.Sprintf("setTimeout(() => document.querySelector(%q).click()), ''", selector))
	b.settled(loaded)
}

// settled waits until there is another page than before, and it is complete.
func (b *browser) settled(before string) {
	b.t.Helper()
	const state = "document.readyState === 'complete' ? performance.timeOrigin + location.href : ''"
	for deadline := time.Now().Add(pageTimeout); ; time.Sleep(20 * time.Millisecond) {
		var result evaluated
		// An error: between the pages there is none.
		err := b.try("Runtime.evaluate", map[string]any{"expression": state, "returnByValue": true}, &result)
		if now := result.text(); err == nil && now != "" && now != before {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("no page after %s", before)
		}
	}
}

// back presses the browser's Back button.
func (b *browser) back() {
	b.t.Helper()
	loaded := b.script("performance.timeOrigin + location.href")
	b.script("setTimeout(() => history.back()), ''")
	b.settled(loaded)
}

// fill sets the value of an input.
func (b *browser) fill(selector, value string) {
	b.t.Helper()
	b.script(fmt.Sprintf("document.querySelector(%q).value = %q", selector, value))
}

// has reports whether the page has an element.
func (b *browser) has(selector string) bool {
	b.t.Helper()
	return b.script(fmt.Sprintf("document.querySelector(%q) !== null", selector)) == "true"
}

// shows reports whether the page has a text that can be seen.
func (b *browser) shows(text string) bool {
	b.t.Helper()
	return strings.Contains(b.script("document.body.innerText"), text)
}

// submit fills in a form, whose inputs and values alternate, and clicks on its
// button. It reports whether there is such a form.
func (b *browser) submit(button string, fields ...string) bool {
	b.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		if !b.has(fields[i]) {
			return false
		}
		b.fill(fields[i], fields[i+1])
	}
	if !b.has(button) {
		return false
	}
	b.click(button)
	return true
}

// fetched returns which of the page's scripts, styles, images and fonts did not
// come out of the browser's cache.
func (b *browser) fetched() []string {
	b.t.Helper()
	return strings.Fields(b.script("performance.getEntriesByType('resource').filter(e => e.transferSize && ['script', 'link', 'css', 'img'].includes(e.initiatorType)).map(e => e.name).join(' ')"))
}

// evaluated is what JavaScript comes to.
type evaluated struct {
	Result           struct{ Value any }
	ExceptionDetails *struct{ Exception struct{ Description string } }
}

func (e evaluated) text() string {
	if e.Result.Value == nil {
		return ""
	}
	return fmt.Sprint(e.Result.Value)
}

// script runs JavaScript in the page and returns the text that comes out, or
// that a promise comes to.
func (b *browser) script(text string) string {
	b.t.Helper()
	var result evaluated
	b.do("Runtime.evaluate", map[string]any{"expression": text, "returnByValue": true, "awaitPromise": true}, &result)
	if result.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", text, result.ExceptionDetails.Exception.Description)
	}
	return result.text()
}

// browserCookie is a cookie as the browser has it.
type browserCookie struct {
	Name, Value, Domain, Path, SameSite string
	HTTPOnly, Secure, Session           bool
}

// cookies returns all that the browser has, whatever scripts can see of them.
func (b *browser) cookies() []browserCookie {
	b.t.Helper()
	var result struct{ Cookies []browserCookie }
	b.do("Network.getAllCookies", nil, &result)
	return result.Cookies
}

// screenshot writes a picture of the page to the test's artifacts: run go test
// with -artifacts and -outputdir to keep them.
func (b *browser) screenshot(t *testing.T, name string) {
	t.Helper()
	var result struct{ Data string }
	b.do("Page.captureScreenshot", map[string]any{"format": "png"}, &result)
	png, err := base64.StdEncoding.DecodeString(result.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
}
