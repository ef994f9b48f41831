package e2e

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// The files in deploy, as far as they can be run without Docker, systemd and
// Kubernetes.

// deployed runs a Caddyfile of deploy with the stand-in for an application behind
// it, and visits it twice.
func deployed(t *testing.T, text, site string) {
	t.Helper()
	_, app, ok := strings.Cut(repoFile(t, "deploy/docker/app.Caddyfile"), "\n}\n")
	if !ok {
		t.Fatal("the application has no global options")
	}
	text = regexp.MustCompile(`\{\$APP:[^}]*\}`).ReplaceAllString(text, "127.0.0.1:8081")
	s := serveFile(t, text+app, site, "127.0.0.1:8081")
	first := s.get("/", "")
	if !strings.HasPrefix(first.body, "Welcome. ") || first.cookie() == "" {
		t.Fatalf("the first visit: %q", first.raw)
	}
	if again := s.get("/", first.cookie()); !strings.HasPrefix(again.body, `Welcome back. Your session: {"seen":"once"}`) {
		t.Errorf("the second visit: %q", again.raw)
	}
}

func TestDeployDocker(t *testing.T) {
	text := repoFile(t, "deploy/docker/Caddyfile")
	t.Run("embedded", func(t *testing.T) {
		t.Setenv("XDG_DATA_HOME", t.TempDir())
		deployed(t, text, "localhost:8080")
	})
	t.Run("redis", func(t *testing.T) {
		t.Setenv("STORE", "redis redis://"+redistest.Start(t).Addr)
		deployed(t, text, "localhost:8080")
	})
}

func TestDeployCompose(t *testing.T) {
	t.Run("one", func(t *testing.T) { composed(t, "compose.yaml", 3) })
	t.Run("balanced", func(t *testing.T) { composed(t, "balanced.compose.yaml", 5) })
}

// composed looks whether all that a file of deploy/docker names is there.
func composed(t *testing.T, name string, services int) {
	t.Helper()
	var file struct {
		Services map[string]struct {
			Build struct {
				Context, Dockerfile string
			}
			Volumes   []string
			Networks  []string
			DependsOn map[string]any `yaml:"depends_on"`
		}
		Volumes, Networks map[string]any
	}
	if err := yaml.Unmarshal([]byte(repoFile(t, "deploy/docker/"+name)), &file); err != nil {
		t.Fatal(err)
	}
	for name, service := range file.Services {
		if service.Build.Context != "" {
			repoFile(t, filepath.Join("deploy/docker", service.Build.Context, service.Build.Dockerfile))
		}
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if path, ok := strings.CutPrefix(source, "./"); ok {
				repoFile(t, "deploy/docker/"+path)
			} else if _, ok := file.Volumes[source]; !ok {
				t.Errorf("%s: there is no volume %s", name, source)
			}
		}
		for _, network := range service.Networks {
			if _, ok := file.Networks[network]; !ok {
				t.Errorf("%s: there is no network %s", name, network)
			}
		}
		for other := range service.DependsOn {
			if _, ok := file.Services[other]; !ok {
				t.Errorf("%s: there is no service %s", name, other)
			}
		}
	}
	if len(file.Services) != services {
		t.Errorf("%d services", len(file.Services))
	}
}

// The balancer of balanced.compose.yaml, with two sites in the place of two Caddys: it
// is believed that it has a secure connection, and both sites know who is signed in.
func TestDeployBalanced(t *testing.T) {
	site := repoFile(t, "deploy/docker/Caddyfile")
	site = regexp.MustCompile(`\{\$APP:[^}]*\}`).ReplaceAllString(site, "127.0.0.1:8081")
	site = strings.NewReplacer("{$SITE:http://localhost:8080}", "http://localhost:8080, http://localhost:8082",
		"{$STORE:embedded}", "embedded "+filepath.Join(t.TempDir(), "s.db"),
		"\thttp_port 8080\n\thttps_port 8443\n", "\tauto_https disable_redirects\n\tskip_install_trust\n").Replace(site)
	_, app, _ := strings.Cut(repoFile(t, "deploy/docker/app.Caddyfile"), "\n}\n")
	_, balancer, _ := strings.Cut(repoFile(t, "deploy/docker/balancer.Caddyfile"), "\n}\n")
	balancer = strings.Replace(balancer, "caddy-1:8080 caddy-2:8080", "127.0.0.1:8080 127.0.0.1:8082", 1)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	s := serveFile(t, site+app+balancer, "localhost:8443", "localhost:8080", "localhost:8082", "127.0.0.1:8081")

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(client.CloseIdleConnections)
	ask := func(method, path string) (*http.Response, string) {
		t.Helper()
		request, err := http.NewRequest(method, "https://"+s.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(body)
	}
	eventually(t, "the balancer has its certificate", func() bool {
		c, err := tls.Dial("tcp", s.addr, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true})
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	in, _ := ask("POST", "/in")
	if cookies := in.Cookies(); len(cookies) != 1 || !cookies[0].Secure {
		t.Fatalf("signing in: %s, cookies %v", in.Status, cookies)
	}
	for range 2 {
		if _, body := ask("GET", "/"); !strings.Contains(body, `"user":"alice"`) {
			t.Errorf("signed in: %q", body)
		}
	}
	if out, _ := ask("POST", "/out"); out.StatusCode != http.StatusSeeOther {
		t.Errorf("signing out: %s", out.Status)
	}
	jar.SetCookies(&url.URL{Scheme: "https", Host: s.addr}, in.Cookies())
	for range 2 {
		if _, body := ask("GET", "/"); !strings.HasPrefix(body, "Welcome. ") {
			t.Errorf("with the cookie of who has signed out: %q", body)
		}
		jar.SetCookies(&url.URL{Scheme: "https", Host: s.addr}, in.Cookies())
	}
}

func TestDeployKubernetes(t *testing.T) {
	text := repoFile(t, "deploy/kubernetes/caddy-session.yaml")
	var file struct{ Data map[string]string }
	if err := yaml.NewDecoder(strings.NewReader(text)).Decode(&file); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STORE_URL", "redis://"+redistest.Start(t).Addr)
	deployed(t, file.Data["Caddyfile"], "127.0.0.1:8080")
}

// The unit is that of Debian's package, or as good as.
func TestDeploySystemd(t *testing.T) {
	text := repoFile(t, "deploy/systemd/caddy-session.conf")
	for _, setting := range []string{"ExecStart", "ExecReload"} {
		if !regexp.MustCompile(`(?m)^` + setting + `=\n` + setting + `=/usr/local/bin/caddy-session `).MatchString(text) {
			t.Errorf("%s is not replaced: a drop-in adds to it otherwise", setting)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // it is nobody's dependency
	}
	unit := filepath.Join(t.TempDir(), "caddy.service")
	if err := os.Mkdir(unit+".d", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, unit, "[Service]\nExecStart=/bin/false\nExecReload=/bin/false\n", 0o644)
	writeFile(t, unit+".d/session.conf", strings.ReplaceAll(text, "/usr/local/bin/caddy-session", "/bin/true"), 0o644)
	if out, err := exec.Command(analyze, "verify", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
