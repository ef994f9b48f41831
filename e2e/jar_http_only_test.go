package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

// django starts an application of Django as Debian ships it, which has the admin
// site and a user alice with the password secret, and returns its address.
func django(t *testing.T) string {
	t.Helper()
	// Not the python3 of the PATH: Debian's packages are for Debian's.
	const python = "/usr/bin/python3"
	if need.Program(t, python); exec.Command(python, "-c", "import django").Run() != nil {
		need.Missing(t, "python3-django")
	}
	dir, addr := t.TempDir(), freeAddr(t)
	// Its own modules come with Debian's package.
	writeFile(t, filepath.Join(dir, "site_settings.py"), fmt.Sprintf(`
SECRET_KEY = 'x' * 50
ALLOWED_HOSTS = ['*']
ROOT_URLCONF = 'site_urls'
DEFAULT_AUTO_FIELD = 'django.db.models.AutoField'
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': '%s/db.sqlite3'}}
INSTALLED_APPS = ['django.contrib.' + a for a in ('admin', 'auth', 'contenttypes', 'sessions', 'messages', 'staticfiles')]
MIDDLEWARE = ['django.contrib.sessions.middleware.SessionMiddleware', 'django.middleware.common.CommonMiddleware', 'django.middleware.csrf.CsrfViewMiddleware',
    'django.contrib.auth.middleware.AuthenticationMiddleware', 'django.contrib.messages.middleware.MessageMiddleware']
TEMPLATES = [{'BACKEND': 'django.template.backends.django.DjangoTemplates', 'APP_DIRS': True, 'OPTIONS': {'context_processors': [
    'django.template.context_processors.request', 'django.contrib.auth.context_processors.auth', 'django.contrib.messages.context_processors.messages']}}]
STATIC_URL = '/static/'
DEBUG = True
PASSWORD_HASHERS = ['django.contrib.auth.hashers.MD5PasswordHasher']
SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')
MESSAGE_STORAGE = 'django.contrib.messages.storage.cookie.CookieStorage'
`, dir), 0o600)
	writeFile(t, filepath.Join(dir, "site_urls.py"), "from django.contrib import admin\nfrom django.urls import path\nurlpatterns = [path('admin/', admin.site.urls)]\n", 0o600)
	manage := func(arguments ...string) *exec.Cmd {
		cmd := exec.Command(python, append([]string{"-m", "django"}, arguments...)...)
		cmd.Dir = dir
		cmd.Env = append(cmd.Environ(), "PYTHONPATH="+dir, "DJANGO_SETTINGS_MODULE=site_settings", "DJANGO_SUPERUSER_PASSWORD=secret", "PYTHONDONTWRITEBYTECODE=1")
		return cmd
	}
	for _, cmd := range []*exec.Cmd{manage("migrate", "-v0"), manage("createsuperuser", "--noinput", "--username", "alice", "--email", "alice@example.com")} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
	}
	startServer(t, addr, manage("runserver", "--noreload", addr))
	return addr
}

// TestKeepHTTPOnlyDjango keeps the session of a real application, whose name nobody
// has written down, in a real browser; its token against forged requests is for
// scripts.
func TestKeepHTTPOnlyDjango(t *testing.T) {
	addr := django(t)
	const settings = "session {\n\tcookies {\n\t\tkeep http_only\n\t}\n}\nreverse_proxy "
	s := serve(t, storeOption("memory"), settings+addr)
	b := browse(t)
	admin := "http://" + s.addr + "/admin/"
	signedIn := func() bool {
		return strings.Contains(strings.ToLower(b.script("document.body.innerText")), "welcome, alice")
	}
	signIn := func(password string) {
		t.Helper()
		b.open(admin + "login/?next=/admin/")
		b.fill("input[name=username]", "alice")
		b.fill("input[name=password]", password)
		b.click("input[type=submit]")
	}
	// has holds the browser to the cookies that it may have: the token and ours.
	has := func(what string, ours bool) (session string) {
		t.Helper()
		var names []string
		for _, c := range b.cookies() {
			names = append(names, c.Name)
			if c.Name != "csrftoken" {
				session = c.Name + "=" + c.Value
			}
		}
		want := 1
		if ours {
			want = 2
		}
		if seen := b.script("document.cookie"); len(names) != want || !strings.HasPrefix(seen, "csrftoken=") || strings.Contains(seen, ";") || strings.Contains(session, "sessionid") || strings.Contains(session, "messages") {
			t.Errorf("%s: the browser has %q, scripts see %q", what, names, seen)
		}
		return session
	}

	b.open(admin + "login/?next=/admin/")
	has("a stranger", false)
	signIn("secret")
	if !signedIn() {
		t.Fatal(b.script("document.body.innerText"))
	}
	ours := has("signed in", true)
	if r := s.get("/admin/", ours); r.StatusCode != http.StatusOK {
		t.Errorf("by our cookie alone: %q", r.raw)
	}
	b.screenshot(t, "signed-in")

	// A message is a kept cookie, too, shown once; Django deletes it without HttpOnly.
	b.open(admin + "auth/group/add/")
	b.fill("#id_name", "Editors")
	b.click("input[name=_save]")
	if text := b.script("document.body.innerText"); !strings.Contains(text, "was added successfully") {
		t.Errorf("no message: %s", text)
	}
	has("with a message", true)
	b.open(admin + "auth/group/?o=1")
	if text := b.script("document.body.innerText"); strings.Contains(text, "was added successfully") {
		t.Errorf("the message is there again: %s", text)
	}

	// Scripts get no session id into a request, nor does who has one of Django's own.
	thief := sessionOfDjango(t, addr)
	if r := (&server{t: t, addr: addr}).get("/admin/", thief); r.StatusCode != http.StatusOK {
		t.Fatalf("the session of Django is none: %q", r.raw)
	}
	for _, cookie := range []string{thief, ours + "x; " + thief, "SessionId" + strings.TrimPrefix(thief, "sessionid")} {
		if r := s.get("/admin/", cookie); r.StatusCode != http.StatusFound {
			t.Errorf("a planted session id: %q", r.raw)
		}
	}
	// After a restart, the first session that comes by brings the name.
	s.load(storeOption("memory"), settings+addr+"\nheader X-Generation 2")
	b.open(admin)
	if !signedIn() {
		t.Error("a reload signs out")
	}
	if r := s.get("/admin/", thief); r.StatusCode != http.StatusFound {
		t.Errorf("a planted session id after a restart: %q", r.raw)
	}

	b.click("#user-tools a[href*=logout]")
	if signedIn() {
		t.Error("signing out does nothing")
	}
	b.open(admin)
	if signedIn() || s.get("/admin/", ours).StatusCode != http.StatusFound {
		t.Error("a sign-out of the application is none")
	}
	has("signed out", true)
	if s.logged("is not HttpOnly") != nil {
		t.Errorf("a hint without need:\n%s", s.log)
	}

	// All cookies kept: the log tells which one scripts may need.
	s.load(storeOption("memory"), "session {\n\tcookies {\n\t\tkeep *\n\t}\n}\nreverse_proxy "+addr)
	for range 3 {
		s.get("/admin/login/", "")
	}
	if lines := s.logged(`"level":"info"`, "is not HttpOnly: if scripts need it, pass it", `"name":"csrftoken"`); len(lines) != 1 {
		t.Errorf("%d hints: %q", len(lines), lines)
	}
}

// sessionOfDjango signs alice in at Django itself, and returns her session's cookie.
func sessionOfDjango(t *testing.T, addr string) string {
	t.Helper()
	direct := &server{t: t, addr: addr}
	token := direct.get("/admin/login/", "").Cookies()[0]
	body := "username=alice&password=secret&csrfmiddlewaretoken=" + token.Value
	r := direct.parse(direct.raw(fmt.Sprintf("POST /admin/login/ HTTP/1.1\r\nHost: %s\r\nCookie: csrftoken=%s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		addr, token.Value, len(body), body)))
	for _, c := range r.Cookies() {
		if c.Name == "sessionid" {
			return "sessionid=" + c.Value
		}
	}
	t.Fatalf("Django does not sign in: %q", r.raw)
	return ""
}
