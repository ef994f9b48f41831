package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/need"
)

// TestAdapterJava has Tomcat 10 and Tomcat 9, whose servlet APIs differ in name,
// use the session that Caddy keeps for both, and for an application that is in
// another language.
func TestAdapterJava(t *testing.T) {
	var tomcats [2]*tomcat
	var started sync.WaitGroup
	for i, variant := range []string{"jakarta", "javax"} {
		tomcats[i] = newTomcat(t, variant)
		started.Go(tomcats[i].start)
	}
	started.Wait()
	for _, c := range tomcats {
		if c.problem != nil {
			t.Fatalf("%s: %v\n%s", c.variant, c.problem, c)
		}
	}
	other := app(t, scripted)
	s := serve(t, storeOption("memory"), fmt.Sprintf(`
		session {
			cookie {
				name visitor
			}
			request_headers id user version data expires new_id
			exposed 60KiB
		}
		handle_path /jakarta/* {
			reverse_proxy %s
		}
		handle_path /javax/* {
			reverse_proxy %s
		}
		handle {
			reverse_proxy %s
		}`, tomcats[0].addr, tomcats[1].addr, other.host()))
	each := func(test func(t *testing.T, s *server, c *tomcat)) func(*testing.T) {
		return func(t *testing.T) {
			for _, c := range tomcats {
				t.Run(c.variant, func(t *testing.T) { test(t, s, c) })
			}
		}
	}
	t.Run("parallel", func(t *testing.T) { javaParallel(t, s) })
	t.Run("example", each(javaExample))
	t.Run("user", each(javaUser))
	t.Run("values", each(javaValues))
	t.Run("dispatches", each(javaDispatches))
	t.Run("late", each(javaLate))
	t.Run("async", each(javaAsync))
}

// tomcat is a Tomcat with the pages of testdata/java, and the session example
// that comes with Tomcat.
type tomcat struct {
	t             *testing.T
	variant, addr string
	problem       error
	compile       func() error
	run           *exec.Cmd
	mu            sync.Mutex
	log           bytes.Buffer
}

func (c *tomcat) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(p)
}

func (c *tomcat) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

func newTomcat(t *testing.T, variant string) *tomcat {
	t.Helper()
	c := &tomcat{t: t, variant: variant}
	javac, java := need.Program(t, "javac"), need.Program(t, "java")
	installed := func(path string) string {
		if _, err := os.Stat(path); err != nil {
			need.Missing(t, path)
		}
		return path
	}
	version := map[string]string{"jakarta": "10", "javax": "9"}[variant]
	var jars []string
	for _, name := range []string{"servlet-api", "catalina", "coyote", "util", "util-scan", "juli", "api", "annotations-api", "jaspic-api", "jni"} {
		jars = append(jars, installed("/usr/share/java/tomcat"+version+"-"+name+".jar"))
	}
	api := strings.Join(jars, ":")
	examples := installed("/usr/share/tomcat10-examples/examples/WEB-INF/classes")
	dir := t.TempDir()
	classes := filepath.Join(dir, "classes")

	manual := repoFile(t, "docs/adapters/java.md")
	filter := regexp.MustCompile("(?s)```xml\n(<filter>.*?)```").FindStringSubmatch(manual)
	if filter == nil {
		t.Fatal("the manual has no lines for web.xml")
	}
	webXML := strings.Replace(repoFile(t, "e2e/testdata/java/web.xml"), "<!-- the filter -->", filter[1], 1)
	webXML = strings.Replace(webXML, "com.example.SessionLog", "listeners.SessionListener", 1)
	if err := os.Mkdir(filepath.Join(dir, "WEB-INF"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "WEB-INF/web.xml"), []byte(webXML), 0o644); err != nil {
		t.Fatal(err)
	}

	c.compile = func() error {
		ours := exec.Command("../adapters/java/build.sh", variant, api, classes, "testdata/java/Launcher.java", "testdata/java/Pages.java")
		if output, err := ours.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		if variant == "jakarta" {
			return nil
		}
		// The example is compiled for jakarta. Only the API's name has to change.
		arguments := []string{"-nowarn", "-cp", api, "-d", classes}
		for _, name := range []string{"SessionExample", "util/HTMLFilter", "listeners/SessionListener"} {
			text, err := os.ReadFile(filepath.Join(examples, name+".java"))
			if err != nil {
				return err
			}
			source := filepath.Join(dir, filepath.Base(name)+".java")
			if err := os.WriteFile(source, bytes.ReplaceAll(text, []byte("jakarta.servlet"), []byte("javax.servlet")), 0o644); err != nil {
				return err
			}
			arguments = append(arguments, source)
		}
		if output, err := exec.Command(javac, arguments...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		return nil
	}
	c.run = exec.Command(java, "-cp", classes+":"+examples+":"+api, "Launcher", dir)
	return c
}

// start compiles the pages and runs them, until the test ends.
func (c *tomcat) start() {
	if c.problem = c.compile(); c.problem != nil {
		return
	}
	c.run.Stderr = c
	c.run.WaitDelay = timeout
	stdin, err := c.run.StdinPipe()
	if err != nil {
		c.problem = err
		return
	}
	stdout, err := c.run.StdoutPipe()
	if err != nil {
		c.problem = err
		return
	}
	if c.problem = c.run.Start(); c.problem != nil {
		return
	}
	port, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if n, ok := strings.CutPrefix(lines.Text(), "port "); ok {
				port <- n
			}
			fmt.Fprintln(c, lines.Text())
		}
	}()
	c.t.Cleanup(func() {
		stdin.Close()
		<-ended
		c.run.Wait()
		if c.t.Failed() {
			c.t.Logf("%s: %s", c.variant, c)
		}
	})
	select {
	case n := <-port:
		c.addr = "127.0.0.1:" + n
	case <-ended:
		c.problem = fmt.Errorf("it does not start")
	case <-time.After(pageTimeout):
		c.run.Process.Kill()
		c.problem = fmt.Errorf("it does not start in time")
	}
}

// page gets a page, and fails if it has another status or a cookie of Tomcat.
func (c *tomcat) page(s *server, target, cookie string, status int) *response {
	c.t.Helper()
	r := s.get("/"+c.variant+"/pages/"+target, cookie)
	if r.StatusCode != status || strings.Contains(r.raw, "JSESSIONID") || strings.Contains(r.raw, "jsessionid") {
		c.t.Fatalf("%s: %s: %q", c.variant, target, r.raw)
	}
	noSessionHeaders(c.t, r.raw)
	return r
}

// javaData returns the session's data as applications in other languages get it.
func javaData(s *server, cookie string) string {
	s.t.Helper()
	_, data, _ := strings.Cut(s.get("/", cookie).body, "data=")
	data, _, _ = strings.Cut(data, " version=")
	return data
}

// Twenty requests of each Tomcat read the session before the first one of them
// writes, and each sets a key of its own, and one within the same map.
func javaParallel(t *testing.T, s *server) {
	cookie := s.get("/jakarta/pages/set?key=first", "").cookie()
	for _, variant := range []string{"jakarta", "javax"} {
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if r := s.get(fmt.Sprintf("/%s/pages/set?wait&key=%s%d", variant, variant, i), cookie); r.StatusCode != http.StatusOK {
					t.Errorf("%s: %q", variant, r.raw)
				}
			})
		}
		all.Wait()
	}
	data := javaData(s, cookie)
	for _, variant := range []string{"jakarta", "javax"} {
		for i := range 20 {
			if key := fmt.Sprintf(`"%s%d":1`, variant, i); strings.Count(data, key) != 2 {
				t.Errorf("%s is lost: %s", key, data)
			}
		}
	}
}

// The example of Tomcat, and its listener, as they are.
func javaExample(t *testing.T, s *server, c *tomcat) {
	example := "/" + c.variant + "/servlets/servlet/SessionExample"
	r := s.get(example, "")
	cookie := r.cookie()
	id := sessionID(cookie)
	if !strings.Contains(r.body, "Session ID: "+id) || strings.Contains(r.raw, "JSESSIONID") || strings.Contains(r.raw, "jsessionid") {
		t.Fatalf("the id is not %q: %q", id, r.raw)
	}
	for range 2 {
		r = s.get(example+"?dataname=fruit&datavalue="+url.QueryEscape("<äpple>"), cookie)
	}
	if !strings.Contains(r.body, "fruit = &lt;äpple&gt;") || !strings.Contains(r.body, id) {
		t.Errorf("set: %q", r.body)
	}
	if data := javaData(s, cookie); data != `{"fruit":"\u003c\u00e4pple\u003e"}` && data != `{"fruit":"<\u00e4pple>"}` {
		t.Errorf("others see %s", data)
	}
	// Another application of the site has changed it.
	cookie = s.get("/?set="+url.QueryEscape(`{"fruit":"pear","user":"alice"}`), cookie).cookie()
	r = s.get(example+"?dataname=fruit", cookie)
	if strings.Contains(r.body, "fruit") || !strings.Contains(r.body, "user = alice") || javaData(s, cookie) != `{"user":"alice"}` {
		t.Errorf("removed: %q", r.body)
	}
	for _, line := range []string{
		"sessionCreated('" + id + "')",
		"attributeAdded('" + id + "', 'fruit', '<äpple>')",
		"attributeReplaced('" + id + "', 'fruit', '<äpple>')",
		"attributeRemoved('" + id + "', 'fruit', 'pear')",
	} {
		eventually(t, "the listener hears "+line, func() bool { return strings.Contains(c.String(), line) })
	}
}

func javaUser(t *testing.T, s *server, c *tomcat) {
	c.t = t
	if r := c.page(s, "data", "", http.StatusOK); r.body != "none" || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("without a session: %q", r.raw)
	}
	cookie := c.page(s, "set?key=a", "", http.StatusOK).cookie()
	r := c.page(s, "login?name="+url.QueryEscape("Zoë+"), cookie, http.StatusFound)
	signedIn := r.cookie()
	if signedIn == "" || sessionID(signedIn) != sessionID(cookie) {
		t.Fatalf("signing in: %q", r.raw)
	}
	if javaData(s, cookie) != "" {
		t.Error("the old cookie is good after signing in")
	}
	if r := c.page(s, "who", signedIn, http.StatusOK); r.body != "Zoë+ false" {
		t.Errorf("who: %q", r.body)
	}
	c.page(s, "role", signedIn, http.StatusOK)
	if r := c.page(s, "who", signedIn, http.StatusOK); r.body != "Zoë+ true" {
		t.Errorf("with a role: %q", r.body)
	}
	changed := c.page(s, "change", signedIn, http.StatusOK)
	if changed.cookie() == "" || changed.body != sessionID(signedIn) || javaData(s, signedIn) != "" {
		t.Errorf("changeSessionId: %q", changed.raw)
	}
	again := c.page(s, "again", changed.cookie(), http.StatusOK)
	if again.body != sessionID(again.cookie()) || again.body == changed.body || javaData(s, changed.cookie()) != "" ||
		javaData(s, again.cookie()) != `{"message":"Good-bye, Zo\u00eb!"}` {
		t.Errorf("invalidate, getSession: %q, %s", again.raw, javaData(s, again.cookie()))
	}
	r = c.page(s, "logout", again.cookie(), http.StatusOK)
	if lines := r.Cookies(); len(lines) != 1 || lines[0].MaxAge >= 0 || javaData(s, again.cookie()) != "" {
		t.Errorf("invalidate: %q", r.raw)
	}
	eventually(t, "the listener hears of the end", func() bool {
		return strings.Contains(c.String(), "sessionDestroyed('"+again.body+"')")
	})
}

func javaValues(t *testing.T, s *server, c *tomcat) {
	c.t = t
	cookie := c.page(s, "numbers", "", http.StatusOK).cookie()
	if r := c.page(s, "sum", cookie, http.StatusOK); r.body != "13" {
		t.Errorf("sum: %q", r.body)
	}
	s.get("/?set="+url.QueryEscape(`{"long":7}`), cookie)
	if r := c.page(s, "sum", cookie, http.StatusOK); r.body != "15" {
		t.Errorf("sum, after a change by another application: %q", r.body)
	}
	before := javaData(s, cookie)
	c.page(s, "date", cookie, http.StatusInternalServerError)
	message := `the session can't keep the attribute "when": when is a java.util.Date.`
	if !strings.Contains(c.String(), message) || javaData(s, cookie) != before {
		t.Errorf("the log lacks %q, or the session has changed: %s", message, javaData(s, cookie))
	}
	big := c.page(s, "big?size=60000", "", http.StatusOK).cookie()
	for range 2 {
		if r := c.page(s, "big?size=60000", big, http.StatusOK); r.body != "60000" {
			t.Errorf("much data: %q", r.raw)
		}
	}
	r := c.page(s, "interval", cookie, http.StatusOK)
	if lines := r.Cookies(); len(lines) != 1 || lines[0].MaxAge < 590 || lines[0].MaxAge > 600 {
		t.Errorf("setMaxInactiveInterval: %q", r.raw)
	}
}

func javaDispatches(t *testing.T, s *server, c *tomcat) {
	c.t = t
	for target, want := range map[string]string{
		"include":          `{"before":1,"large":1}`,
		"forward":          `{"before":1,"large":1}`,
		"large":            `{"large":1}`,
		"error?status=404": `{"error":1}`,
		"error?status=418": `{"error":1,"oops":1}`,
		"throw":            `{"thrown":1}`,
	} {
		status := map[string]int{"throw": 500}[target]
		if _, text, ok := strings.Cut(target, "="); ok {
			status, _ = strconv.Atoi(text)
		}
		r := c.page(s, target, "", max(status, http.StatusOK))
		if r.cookie() == "" || javaData(s, r.cookie()) != want {
			t.Errorf("%s: %s", target, javaData(s, r.cookie()))
		}
		if status == 418 && r.body != "oops 1" {
			t.Errorf("%s: %q", target, r.body)
		}
	}
}

func javaLate(t *testing.T, s *server, c *tomcat) {
	c.t = t
	r := c.page(s, "late", "", http.StatusOK)
	if r.body != "first last" || javaData(s, r.cookie()) != `{"early":1}` {
		t.Errorf("%q, %s", r.raw, javaData(s, r.cookie()))
	}
	for _, name := range []string{"late", "cart"} {
		line := fmt.Sprintf("the change of the session's attribute %q is lost: it came after the response to /pages/late had begun", name)
		eventually(t, "the log names "+name, func() bool { return strings.Contains(c.String(), line) })
	}
}

func javaAsync(t *testing.T, s *server, c *tomcat) {
	c.t = t
	for _, tt := range []struct {
		target, body, data string
		status             int
	}{
		{"async", "done", `{"async":1,"cart":{"async":1}}`, http.StatusOK},
		{"dispatch", "dispatched", `{"cart":{"dispatched":1},"dispatch":1}`, http.StatusOK},
		{"timeout", "", `{"timeout":1}`, http.StatusInternalServerError},
	} {
		r := c.page(s, tt.target, "", tt.status)
		if tt.status == http.StatusOK && r.body != tt.body || javaData(s, r.cookie()) != tt.data {
			t.Errorf("%s: %q, %s", tt.target, r.raw, javaData(s, r.cookie()))
		}
	}
}
