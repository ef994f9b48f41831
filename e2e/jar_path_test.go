package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-session/caddy-session/internal/need"
)

// What reaches an application of the path that a client sends, byte for byte,
// whatever Caddy does to it on the way.
func TestJarPath(t *testing.T) {
	a := app(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RequestURI) })
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "page.txt"), "a page", 0o600)
	s := serve(t, storeOption("memory"), fmt.Sprintf(`@none path /none*
	session @none
	@jar not path /none*
	session @jar {
		cookies {
			keep JSESSIONID
			pass lang
		}
	}
	handle_path /shop/* {
		reverse_proxy %[1]s
	}
	@decoded path_regexp decoded ^/decoded(/.*)$
	handle @decoded {
		rewrite * {re.decoded.1}
		reverse_proxy %[1]s
	}
	handle /files/* {
		uri strip_prefix /files
		root %[2]s
		file_server
	}
	error /error* 418
	handle_errors {
		reverse_proxy %[1]s
	}
	handle /shown/* {
		respond "{http.request.uri} {http.request.uri.path}"
	}
	reverse_proxy %[1]s`, a.host(), root))
	for _, tt := range []struct{ target, want string }{
		{"/", "/"},
		{"/a;jsessionid=X", "/a"},
		{"/a;JSESSIONID=X?jsessionid=Y;jsessionid=Z", "/a?jsessionid=Y;jsessionid=Z"},
		{"/a%2Fb%c3%A9;v=%3B1;jsessionid=X;lang=fr/c;%6asessionid=X//d?", "/a%2Fb%c3%A9;v=%3B1;lang=fr/c//d?"},
		{"/a%3bjsessionid%3DX/b", "/a/b"},
		{"/none/a;jsessionid=X", "/none/a"}, // the rules hold without a session
		{"http://" + s.addr + "/a;jsessionid=X", "/a"},
		{"x:http://elsewhere.example/a;jsessionid=X?q", "http://elsewhere.example/a?q"},
		{"/shop/a;jsessionid=X/b%20c", "/a/b%20c"},
		{"/shop;jsessionid=X/a", "/a"},
		{"/decoded/a%3Bjsessionid=X", "/a"},
		{"/decoded/a%253Bjsessionid%253DX", "/a"},
		{"/files/page.txt;jsessionid=X", "a page"},
		{"/error;jsessionid=X/a?q=1", "/error/a?q=1"},
		{"/shown/a;jsessionid=X?q=1", "/shown/a?q=1 /shown/a"},
	} {
		if r := s.get(tt.target, ""); r.body != tt.want {
			t.Errorf("%s comes as %s, want %s", tt.target, r.body, tt.want)
		}
	}
	// Nothing is removed without rules.
	bare := serve(t, storeOption("memory"), "session\nreverse_proxy "+a.host())
	if r := bare.get("/a;jsessionid=X", ""); r.body != "/a;jsessionid=X" {
		t.Errorf("without rules it comes as %s", r.body)
	}
}

// php_fastcgi makes the script's name and PATH_INFO of the path.
func TestJarPathPHP(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "index.php"), "<?php echo $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['PATH_INFO'] ?? '';", 0o600)
	s := serve(t, storeOption("memory"), fmt.Sprintf("session {\n\tcookies {\n\t\tkeep JSESSIONID\n\t}\n}\nroot %s\nphp_fastcgi %s",
		root, startPHP(t, need.Program(t, "php-cgi"), "-n")))
	for _, target := range []string{"/index.php/a;v=1;jsessionid=X", "/index.php;jsessionid=X/a;v=1", "/index.php%3Bjsessionid=X/a;v=1"} {
		if r := s.get(target, ""); r.body != "/index.php /a;v=1" {
			t.Errorf("%s: %q", target, r.body)
		}
	}
}

// servletContainers starts the application of Containers.java in Tomcat and in
// Jetty, and returns their addresses.
func servletContainers(t *testing.T) map[string]string {
	t.Helper()
	need.Program(t, "javac") // to run source
	var classes []string
	for _, name := range []string{"tomcat9-catalina", "tomcat9-coyote", "tomcat9-util", "tomcat9-util-scan", "tomcat9-juli", "tomcat9-api",
		"tomcat9-annotations-api", "tomcat9-jni", "tomcat9-jaspic-api", "tomcat9-servlet-api",
		"jetty9-server", "jetty9-servlet", "jetty9-security", "jetty9-http", "jetty9-io", "jetty9-util", "jetty9-util-ajax"} {
		class := "/usr/share/java/" + name + ".jar"
		if _, err := os.Stat(class); err != nil {
			need.Missing(t, class)
		}
		classes = append(classes, class)
	}
	cmd := exec.Command(need.Program(t, "java"), "-Dorg.eclipse.jetty.util.log.class=org.eclipse.jetty.util.log.JavaUtilLog",
		"-cp", strings.Join(classes, ":"), "testdata/containers/Containers.java", t.TempDir())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errors strings.Builder
	cmd.Stderr = &errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
		if t.Failed() {
			t.Log(errors.String())
		}
	})
	var tomcat, jetty int
	if _, err := fmt.Fscan(stdout, &tomcat, &jetty); err != nil {
		t.Fatalf("no ports: %v", err)
	}
	return map[string]string{"Tomcat": fmt.Sprint("127.0.0.1:", tomcat), "Jetty": fmt.Sprint("127.0.0.1:", jetty)}
}

// A visitor who opens a link with somebody else's session id shares that session,
// unless its cookie is kept.
func TestJarPathFixation(t *testing.T) {
	containers := servletContainers(t)
	const named = "/named/page" // Tomcat has it under another name
	s := &server{t: t, addr: freeAddr(t), log: newLogFile(t)}
	sites := map[string]map[string]*server{}
	var text strings.Builder
	for policy, block := range map[string]string{"bare": "pass *", "exact": "keep JSESSIONID APPID", "all": "keep *"} {
		sites[policy] = map[string]*server{}
		for container, addr := range containers {
			site := &server{t: t, addr: freeAddr(t)}
			sites[policy][container] = site
			fmt.Fprintf(&text, "http://%s {\n\tsession {\n\t\tcookies {\n\t\t\t%s\n\t\t}\n\t}\n\treverse_proxy %s\n}\n", site.addr, block, addr)
		}
	}
	if err := s.try(storeOption("memory"), text.String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caddy.Stop() })
	shared := regexp.MustCompile(`link=/next;jsessionid=(\S+) `)
	for _, tt := range []struct {
		container, page, parameter string // with the id in place of ID
		bare                       bool   // the container takes the id as it comes
	}{
		{"Tomcat", "/page", ";jsessionid=ID", true},
		{"Tomcat", "/page", ";v=1;jsessionid=ID;w=2", true},
		{"Tomcat", "/page;jsessionid=ID", "/more", true},
		{"Tomcat", "/page", ";JSESSIONID=ID", false},
		{"Tomcat", "/page", ";%6asessionid=ID", false},
		{"Tomcat", "/page", "%3Bjsessionid=ID", false},
		{"Tomcat", named, ";APPID=ID", true},
		{"Jetty", "/page", ";jsessionid=ID", true},
		{"Jetty", "/page", ";v=1;jsessionid=ID;w=2", true},
		{"Jetty", "/page;jsessionid=ID", "/more", true},
		{"Jetty", "/page", ";JSESSIONID=ID", false},
	} {
		for policy, at := range sites {
			s := at[tt.container]
			// The attacker takes an id from the container itself, as if a link
			// had told it.
			direct := &server{t: t, addr: containers[tt.container]}
			name := "JSESSIONID"
			if tt.page == named {
				name = "APPID"
			}
			id := ""
			for _, c := range direct.get(tt.page, "").Cookies() {
				if c.Name == name {
					id = c.Value
				}
			}
			if id == "" {
				t.Fatalf("%s: no cookie %s", tt.container, name)
			}
			target := strings.ReplaceAll(tt.page+tt.parameter, "ID=ID", "ID="+id)
			target = strings.ReplaceAll(target, "=ID", "="+id)
			// The victim follows the link and signs in.
			r := s.get(target+"?user=victim", "")
			if !strings.HasPrefix(r.body, "user=victim ") {
				t.Fatalf("%s, %s: %q", policy, target, r.raw)
			}
			seen := direct.get(tt.page, name+"="+id).body
			if got, want := strings.HasPrefix(seen, "user=victim "), policy == "bare" && tt.bare; got != want {
				t.Errorf("%s with %s, %s: the attacker shares the session: %v", tt.container, policy, target, got)
			}
			if policy == "bare" {
				continue
			}
			// What the container writes into links is worth nothing to others:
			// neither in a URL nor as a cookie.
			if r := s.get(tt.page, r.cookie()); !strings.HasPrefix(r.body, "user=victim ") {
				t.Errorf("%s with %s: the victim sees %q", tt.container, policy, r.body)
			}
			if link := shared.FindStringSubmatch(r.body); link != nil {
				if r := s.get(tt.page+";jsessionid="+link[1], "JSESSIONID="+link[1]); strings.HasPrefix(r.body, "user=victim ") {
					t.Errorf("%s with %s: an id of a link opens the session", tt.container, policy)
				}
			} else if tt.page != named {
				t.Errorf("%s with %s: no id in a link: %q", tt.container, policy, r.body)
			}
		}
	}
}
