package cookiejar_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/cookiejar"
)

func TestStripPath(t *testing.T) {
	named := cookiejar.Rules{Keep: []string{"JSESSIONID", "app_*"}, Drop: []string{"gone"}, Pass: []string{"app_lang"}}
	all := cookiejar.Rules{Keep: []string{"*"}, Pass: []string{"v"}}
	for _, tt := range []struct {
		rules      cookiejar.Rules
		path, want string
	}{
		{named, "/a/b;jsessionid=X", "/a/b"},
		{named, "/;JSESSIONID=X", "/"},
		{named, "/a;JsessionId=X/b", "/a/b"},
		{named, "/a;jsessionid=1;v=2;jsessionid=3/b;jsessionid=4/c;w", "/a;v=2/b/c;w"},
		{named, "/a;v=%2f1;jsessionid=%00;w=%20/%c3%a9", "/a;v=%2f1;w=%20/%c3%a9"},
		{named, "/a;%6aSESSION%49D=X/b", "/a/b"},
		{named, "/a%3Bjsessionid%3dX", "/a"},
		{named, "/a%253bjsessionid%25253DX%2fb", "/a%2fb"},
		{named, "/a;%256Asessionid=X", "/a"},
		{named, "/a%25%33bjsessionid=X", "/a"}, // the digits of an escape are escaped
		{named, "/a%25%32%35%33%42jsessionid=X/b", "/a/b"},
		{named, "/a;%25%36%61sessionid%%33d=X/b", "/a/b"},
		{named, "/a; jsessionid =X", "/a"},
		{named, "/a;%09jsessionid%00=X", "/a"},
		{named, "/a;jsessionid,b=X", "/a"},
		{named, "/a;jsessionid==X=", "/a"},
		{named, "/a;jsessionid=", "/a"},
		{named, "/a;APP.lang2=X;app_lang=fr;gone=1", "/a;app_lang=fr"},
		{named, "/a/..;jsessionid=X/b", "/a/../b"},
		{named, "/a;jsess;jsessionid=X;ionid=Y", "/a;jsess;ionid=Y"},
		{named, "/a%25;jsessionid=X;3Bjsessionid=Y", "/a%25;3Bjsessionid=Y"},
		// Nothing of these is an id.
		{named, "/a;jsessionid", "/a;jsessionid"},
		{named, "/a;jsessionid/x=1", "/a;jsessionid/x=1"},
		{named, "/jsessionid=X", "/jsessionid=X"},
		{named, "/a;xjsessionid=1;jsessionidx=2;app=3", "/a;xjsessionid=1;jsessionidx=2;app=3"},
		{named, "/a%2525;b=%25%", "/a%2525;b=%25%"},
		{named, "", ""},
		{all, "/a;jsessionid=X;v=1;b;c=2", "/a;v=1;b"},
	} {
		k, err := tt.rules.Compile(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.StripPath("app.example.com", tt.path); got != tt.want {
			t.Errorf("%q becomes %q, want %q", tt.path, got, tt.want)
		}
	}
}

// Names that no rule has, once the application has set them HttpOnly.
func TestStripPathOfHTTPOnly(t *testing.T) {
	k, err := cookiejar.Rules{KeepHTTPOnly: true, Pass: []string{"v"}}.Compile(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/a;jsessionid=X;v=1/b"
	strips := func(hostport, want string) {
		t.Helper()
		if got := k.StripPath(hostport, path); got != want {
			t.Errorf("on %s %q becomes %q, want %q", hostport, path, got, want)
		}
	}
	strips("app.example.com", path)
	for _, line := range []string{"JSESSIONID=1; Path=/; HttpOnly", "v=1; HttpOnly"} {
		k.Take(http.Header{"Set-Cookie": {line}}, "", cookiejar.Context{Host: "app.example.com", Path: "/", Now: time.Now()}, cookiejar.Incoming{})
	}
	strips("app.example.com", "/a;v=1/b")
	strips("APP.example.com:8443", "/a;v=1/b")
	strips("other.example.com", path)
}

// However a server decodes what is left, it finds no id.
func FuzzStripPath(f *testing.F) {
	for _, seed := range []string{"/a;jsessionid=X/b", "/%253Bjsessionid%25253D", ";%6a;=;/;jsessionid=", "/%25%;%25jsessionid=1", "/%25%33bjsessionid=1"} {
		f.Add(seed)
	}
	k, err := cookiejar.Rules{Keep: []string{"JSESSIONID"}}.Compile(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		left := k.StripPath("app.example.com", path)
		if again := k.StripPath("app.example.com", left); again != left {
			t.Errorf("%q becomes %q, and that %q", path, left, again)
		}
		for decoded := left; ; {
			if strings.Contains(strings.ToLower(decoded), ";jsessionid=") {
				t.Errorf("%q becomes %q, which is read as %q", path, left, decoded)
			}
			next, err := url.PathUnescape(decoded)
			if err != nil || next == decoded {
				break
			}
			decoded = next
		}
	})
}
