package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// authServer lets in whoever knows the password, as a forward_auth server does:
// 200 with the user in Remote-User, else a redirection to its sign-in page.
func authServer(t *testing.T) *application {
	return app(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); ok && password == "hiccup" {
			w.Header().Set("Remote-User", user)
			return
		}
		http.Redirect(w, r, "https://auth.example.com/sign-in", http.StatusFound)
	})
}

// remoteUser is an application that believes X-Session-User and Remote-User.
func remoteUser(t *testing.T) *application {
	return app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Saw", "session="+r.Header.Get("X-Session-User")+" remote="+strings.Join(r.Header["Remote-User"], ","))
	})
}

// forwardAuth is a site that keeps in the session whom an auth server lets in.
func forwardAuth(session, value string, auth, a *application) string {
	return session + `
@anonymous not session user
forward_auth @anonymous ` + auth.host() + ` {
	uri /verify
	copy_headers Remote-User
}
session_set @anonymous user ` + value + `
reverse_proxy ` + a.host()
}

// The recipe of the manual, and what a client can make of it.
func TestForwardAuthIsNotTheClient(t *testing.T) {
	auth, a := authServer(t), remoteUser(t)
	var recipe string
	for _, block := range snippets(t, "caddyfile") {
		if strings.Contains(block, "forward_auth") {
			recipe += strings.NewReplacer("app.example.com", "http://localhost:8080", "auth:9091", auth.host(), "legacy:8080", a.host()).Replace(block)
		}
	}
	s := serveFile(t, recipe, "localhost:8080")
	for _, forged := range [][]string{
		{"Remote-User: root"},
		{"remote-user: root"},
		{"Remote_User: root"},
		{"Remote-User: root", "Connection: Remote-User"},
		{"X-Session-User: root"},
	} {
		if r := s.get("/", "", forged...); r.StatusCode != http.StatusFound || r.cookie() != "" || a.last() != nil {
			t.Errorf("%q with the answer of the auth server: %q", forged, r.raw)
		}
	}
	for _, forged := range []string{"Remote-User: root", "Remote_User: root", "X-Session-User: root"} {
		r := s.get("/", "", forged, "Authorization: Basic YWxpY2U6aGljY3Vw")
		cookie := r.cookie()
		if r.StatusCode != http.StatusOK || cookie == "" || r.Header.Get("X-Saw") != "session= remote=alice" {
			t.Fatalf("signing in: %q", r.raw)
		}
		if r = s.get("/", cookie, forged); r.Header.Get("X-Saw") != "session=alice remote=alice" || a.last().Header["Remote_user"] != nil {
			t.Errorf("%q once somebody is signed in: %q", forged, r.raw)
		}
		if got := s.get("/", cookie).Header.Get("X-Saw"); got != "session=alice remote=alice" {
			t.Errorf("signed in: %q", got)
		}
	}
}

// Once somebody is signed in, the auth server is not asked, and nobody takes away
// what the client itself sends in the header that it sets.
func TestHeaderOfTheAuthServerFromTheClient(t *testing.T) {
	auth := authServer(t)
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		user := r.Header.Get("Remote-User")
		w.Header().Set("X-Saw", user)
		if r.Header.Get("X-Session-User") == "" {
			w.Header().Set("X-Session-Set", "user="+user)
		}
	})
	ask := func(matcher string) string {
		return "forward_auth " + matcher + " " + auth.host() + " {\nuri /verify\ncopy_headers Remote-User\n}\n"
	}
	proxy := "reverse_proxy " + a.host()
	for _, test := range []struct {
		site   string
		forged string // what the application believes of a user who sends root
	}{
		{"session\n@a not session user\n" + ask("@a") + proxy, "root"},
		{"session\n@a expression `{session.user} == \"\"`\n" + ask("@a") + proxy, "root"},
		{"session\n@a not session user\nroute @a {\n" + ask("") + "}\n" + proxy, "root"},
		{"session {\nforward user Remote-User\n}\n@a not session user\n" + ask("@a") + proxy, "alice"},
		{"session\nroute {\nrequest_header -Remote-User\n@a not session user\n" + ask("@a") + proxy + "\n}", ""},
	} {
		s := serve(t, storeOption("memory"), test.site)
		cookie := s.get("/", "", "Authorization: Basic YWxpY2U6aGljY3Vw").cookie()
		if r := s.get("/", cookie, "Remote-User: root"); cookie == "" || r.Header.Get("X-Saw") != test.forged {
			t.Errorf("%s\n%q", test.site, r.raw)
		}
		warnings := s.logged(`"warn"`, "forward KEY Remote-User")
		if want := test.forged == "root"; (warnings != nil) != want {
			t.Errorf("%s\nwarnings: %q", test.site, warnings)
		}
	}
}

// Who is signed in must not come from what a client may write: such a site does
// not start, and the one that was running goes on.
func TestIdentityOfClients(t *testing.T) {
	const (
		fine = iota
		refused
		doubtful // a warning
	)
	const header = "{http.request.header.Remote-User}"
	auth, a := authServer(t), remoteUser(t)
	proxy := "reverse_proxy " + a.host()
	tests := []struct {
		name, site string
		want       int
		says       string
	}{
		{"header", "session\nsession_set user {header.Remote-User}\n" + proxy, refused,
			"Caddyfile:16: session_set user reads " + header + ", a request header, which every client can write, so anybody could sign in as anybody: write forward user Remote-User into the block of session"},
		{"forward_auth", forwardAuth("session", header, auth, a), refused, "forward user Remote-User"},
		{"forward_auth with another header", forwardAuth("session {\nforward user Other-User\n}", header, auth, a), refused, "forward user Remote-User"},
		{"forward_auth, the response", forwardAuth("session", "{http.reverse_proxy.header.Remote-User}", auth, a), fine, ""},
		{"own header", "session {\nheader_prefix X-Remote-\n}\nsession_set user {header.X-Remote-Name}\n" + proxy, fine, ""},
		{"query", "session\nsession_set user {query.name}\n" + proxy, refused, "the query"},
		{"path", "session\nsession_set /u/* user {path.1}\n" + proxy, refused, "the path"},
		{"uri", "session\nsession_set user x{uri}\n" + proxy, refused, "the request"},
		{"body", "session\nsession_set user {http.request.body}\n" + proxy, refused, "the body"},
		{"host", "session\nsession_set user {labels.0}\n" + proxy, refused, "the host"},
		{"a list", "session\nsession_set user {http.auth.user.id} {query.name}\n" + proxy, refused, "the query"},
		{"among others", "session\nsession_set {\nlang {query.lang}\nuser {query.name}\n}\n" + proxy, refused, "the query"},
		{"another key", "session\nsession_set lang {query.lang}\n" + proxy, fine, ""},
		{"another subject", "session {\nsubject login\n}\nsession_set login {query.name}\n" + proxy, refused, "session_set login"},
		{"a path, and the object on it", "session {\nsubject user.id\n}\nsession_set user {query.name}\n" + proxy, refused, "session_set user.id"},
		{"a path, and the key of its name", "session {\nsubject user.id\n}\nsession_set user.id {query.name}\n" + proxy, refused, "session_set user.id"},
		{"beside a path", "session {\nsubject user.id\n}\nsession_set id {query.name}\nsession_set user.name {query.name}\n" + proxy, fine, ""},
		{"a path, set by header", "session {\nsubject user.id\n}\nheader X-Session-Put `{\"user\":{\"id\":\"{query.name}\"}}`\n" + proxy, refused, "header X-Session-Put reads"},
		{"not the subject", "session {\nsubject login\n}\nsession_set user {query.name}\n" + proxy, fine, ""},
		{"cookie", "session\nsession_set user {cookie.name}\n" + proxy, refused, "keep, seal or sign that cookie"},
		{"passed cookie", "session {\ncookies {\nkeep *\npass name\n}\n}\nsession_set user {cookie.name}\n" + proxy, refused, "keep, seal or sign that cookie"},
		{"kept cookie", "session {\ncookies {\nkeep name\n}\n}\nsession_set user {cookie.NAME}\n" + proxy, fine, ""},
		{"password", "session\nbasic_auth {\nalice " + hiccup + "\n}\nsession_set user {http.auth.user.id}\n" + proxy, fine, ""},
		{"environment", "session\nsession_set /in user {env.HOME}\n" + proxy, fine, ""},
		{"address", "session\nsession_set user {client_ip}\n" + proxy, fine, ""},
		{"candidate", "session\nsession_set user {http.auth.candidate.id}\n" + proxy, refused, "without proof"},
		{"error", "session\nerror {query.name} 400\nhandle_errors {\nsession\nsession_set user {err.message}\nrespond x\n}", refused, "may quote"},
		{"vars", "session\nvars user {header.Remote-User}\nsession_set user {vars.user}\n" + proxy, refused,
			"reads {http.vars.user}, which is made of " + header},
		{"vars of vars", "session\nroute {\nvars a {query.a}\nvars b x{vars.a}\nsession_set user {vars.b}\n" + proxy + "\n}", refused, "the query"},
		{"vars afterwards", "session\nroute {\nsession_set user {vars.a}\nvars a {query.a}\n" + proxy + "\n}", refused, "the query"},
		{"vars in an alternative", "session\nhandle /a {\nvars a {query.a}\nrespond x\n}\nhandle {\nvars a {http.auth.user.id}\nsession_set user {vars.a}\n" + proxy + "\n}", fine, ""},
		{"trusted vars", "session\nvars user {http.auth.user.id}\nsession_set user {vars.user}\n" + proxy, fine, ""},
		{"vars of the user", "session\nvars http.auth.user.id {query.name}\nsession_set user {http.auth.user.id}\n" + proxy, refused, "the query"},
		{"map", "session\nmap {query.name} {who} {\nroot root\ndefault guest\n}\nsession_set user {who}\n" + proxy, refused, "the query"},
		{"output of map", "session\nmap {http.auth.user.id} {who} {\nalice {query.as}\ndefault guest\n}\nsession_set user {who}\n" + proxy, refused, "the query"},
		{"trusted map", "session\nmap {http.auth.user.id} {who} {\nalice root\ndefault guest\n}\nsession_set user {who}\n" + proxy, fine, ""},
		{"request_header", "session {\nforward user Remote-User\n}\nroute {\nrequest_header Remote-User {query.name}\nsession_set user {header.Remote-User}\n" + proxy + "\n}", refused, "the query"},
		{"path_regexp", "session\n@u path_regexp u ^/u/(.*)$\nsession_set @u user {re.u.1}\n" + proxy, refused, "the path"},
		{"vars_regexp", "session\n@u vars_regexp u {http.auth.user.id} ^(.*)@\nsession_set @u user {re.u.1}\n" + proxy, fine, ""},
		{"data of a visitor", "session\nsession_set nick {query.nick}\nsession_set /in user {session.data.nick}\n" + proxy, refused, "which is made of {http.request.uri.query.nick}"},
		{"data of a visitor in a header", "session {\nforward nick X-Nick\n}\nsession_set nick {query.nick}\nsession_set /in user {header.X-Nick}\n" + proxy, refused, "which is made of {http.request.uri.query.nick}"},
		{"a session for some responses", "reverse_proxy /a " + a.host() + " {\n@ok status 200\nhandle_response @ok {\nsession {\nforward user Remote-User\n}\ncopy_response\n}\n}\n" +
			"handle {\nsession\nsession_set user {header.Remote-User}\n" + proxy + "\n}", refused, "forward user Remote-User"},
		{"data", "session\nsession_set /in user {session.data.account.id}\n" + proxy, fine, ""},
		{"handle_response", "session\nreverse_proxy " + a.host() + " {\nhandle_response {\nsession_set user {header.Remote-User}\ncopy_response\n}\n}", refused, "forward user Remote-User"},
		{"session in one place", "handle /a {\nsession {\nforward user Remote-User\n}\n" + proxy + "\n}\nhandle {\nsession\nsession_set user " + header + "\n" + proxy + "\n}", refused, "forward user Remote-User"},
		{"snippet", "import who {header.Remote-User}\n" + proxy, refused, "forward user Remote-User"},
		{"named route", "session\ninvoke who\n" + proxy, refused, "the query"},
		{"unknown", "session\nsession_set user {http.of_another_module.user}\n" + proxy, doubtful, "{http.of_another_module.user}"},
		{"unknown vars", "session\nsession_set user {vars.user}\n" + proxy, doubtful, "{http.vars.user}"},
		{"data of a visitor, set in an alternative", "session\nhandle /nick {\nsession_set nick {query.nick}\nrespond x\n}\nhandle {\nsession_set user {session.data.nick}\n" + proxy + "\n}", refused, "which is made of {http.request.uri.query.nick}"},
		{"header of the response", "session\nheader X-Who {query.name}\nsession_set user {http.response.header.X-Who}\n" + proxy, refused, "the query"},
		{"header of the response, by intercept", "session\nheader x-who {query.name}\nintercept {\n@ok status 200\nhandle_response @ok {\nsession_set user {http.intercept.header.X-Who}\n}\n}\n" + proxy, refused, "the query"},
		{"header of the response, by header_down", "session\nsession_set user {http.response.header.x-who}\nreverse_proxy " + a.host() + " {\nheader_down X-Who {query.name}\n}", refused, "the query"},
		{"header of the application", "session\nheader X-Lang {query.lang}\nsession_set user {http.response.header.X-Who}\n" + proxy, fine, ""},
		{"data of a visitor on another host", "session\nhandle {\nsession_set user {session.data.nick}\n" + proxy + "\n}\n}\nhttp://other.example {\nsession\nsession_set nick {query.nick}\n" + proxy, fine, ""},
		{"data of a visitor on a host that shares the cookie", "session {\ncookie {\ndomain example.com\n}\n}\nhandle {\nsession_set user {session.data.nick}\n" + proxy + "\n}\n}\nhttp://other.example {\nsession\nsession_set nick {query.nick}\n" + proxy, refused, "{http.request.uri.query.nick}"},
		{"data of a visitor on another port", "session\nhandle {\nsession_set user {session.data.nick}\n" + proxy + "\n}\n}\nhttp://127.0.0.1:1 {\nsession\nsession_set nick {query.nick}\n" + proxy, refused, "{http.request.uri.query.nick}"},
		{"path_regexp of an expression beside another one", "session\n@g vars_regexp u {http.auth.user.id} ^(.*)@\nheader @g A b\n@u expression `path_regexp('u', '^/u/(.*)$')`\nsession_set @u user {re.u.1}\n" + proxy, refused, "the request"},
		{"vars before session", "session {\nforward user Remote-User\n}\nvars who {header.Remote-User}\nsession_set user {vars.who}\n" + proxy, refused, "which is made of " + header},
		{"vars after session", "session {\nforward user Remote-User\n}\nroute {\nvars who {header.Remote-User}\nsession_set user {vars.who}\n" + proxy + "\n}", fine, ""},
		{"map before session", "session {\nforward user Remote-User\n}\nmap {header.Remote-User} {who} {\n~(.*) $1\n}\nsession_set user {who}\n" + proxy, fine, ""}, // it waits until it is asked
		{"header before session", "session {\nforward user Remote-User\n}\nheader X-Who {header.Remote-User}\nsession_set user {http.response.header.X-Who}\n" + proxy, refused, "which is made of " + header},
		{"regexp before session", "@u header_regexp u Remote-User (.*)\nheader @u X-A b\nsession {\nforward user Remote-User\n}\nsession_set user {re.u.1}\n" + proxy, refused, "which is made of " + header},
		{"regexp after session", "session {\nforward user Remote-User\n}\n@u header_regexp u Remote-User (.*)\nsession_set @u user {re.u.1}\n" + proxy, fine, ""},
		{"kept cookie before session", "session {\ncookies {\nkeep name\n}\n}\nvars who {cookie.name}\nsession_set user {vars.who}\n" + proxy, refused, "which is made of {http.request.cookie.name}"},
		{"set by header", "session\nheader X-Session-Set user={query.name}\n" + proxy, refused, "header X-Session-Set reads {http.request.uri.query.name}"},
		{"another key by header, and what goes on behind it", "session\nheader x-session-set lang={query.lang}\n" + proxy, refused, "header X-Session-Set reads"},
		{"set by header_down", "session {\nheader_prefix X-My-\n}\nreverse_proxy " + a.host() + " {\nheader_down X-My-Set user={query.name}\n}", refused, "header X-My-Set reads"},
		{"put by header", "session\nheader X-Session-Put `{\"user\":\"{query.name}\"}`\n" + proxy, refused, "header X-Session-Put reads {http.request.uri.query.name}"},
		{"set by header, and trusted", "session\nheader X-Session-Set via={http.auth.user.id}\n" + proxy, fine, ""},
		{"set by header, and nobody's", "session\nheader X-Other-Set user={query.name}\n" + proxy, fine, ""},
		{"unknown, another key", "session\nsession_set key {http.of_another_module.user}\n" + proxy, fine, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, storeOption("memory"), "respond before")
			sites := "(who) {\nsession\nsession_set user {args[0]}\n}\n&(who) {\nsession_set user {query.name}\n}\n" +
				"http://" + s.addr + " {\n" + test.site + "\n}"
			if !strings.Contains(test.site, "import who") { // so that lines count from the site
				sites = strings.TrimPrefix(sites, "(who) {\nsession\nsession_set user {args[0]}\n}\n")
			}
			if !strings.Contains(test.site, "invoke who") {
				sites = strings.Replace(sites, "&(who) {\nsession_set user {query.name}\n}\n", "", 1)
			}
			err := s.try(storeOption("memory"), sites)
			if test.want == refused {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("loading: %v", err)
				}
				if r := s.get("/", ""); r.body != "before" {
					t.Errorf("the configuration before: %q", r.raw)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			warnings := s.logged(`"warn"`, "who is signed in may come from what a client writes", test.says)
			if (warnings != nil) != (test.want == doubtful) {
				t.Errorf("warnings: %s", warnings)
			}
		})
	}
}

// What a directive reads by itself is known without starting anything.
func TestIdentityIsValidated(t *testing.T) {
	config, err := adapt("example.com {\nsession\nhandle {\nsession_set user {header.Remote-User}\n}\n}")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(config); err == nil || !strings.Contains(err.Error(), "Caddyfile:4: session_set user reads") {
		t.Errorf("validating: %v", err)
	}
	// The line is that of the configuration in question.
	if config, err = adapt("example.com {\nsession\n\nhandle {\nsession_set user {header.Remote-User}\n}\n}"); err != nil {
		t.Fatal(err)
	}
	if err := validate(config); err == nil || !strings.Contains(err.Error(), ": Caddyfile:5: session_set user reads") {
		t.Errorf("validating another one: %v", err)
	}
	// So it is with the command.
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte("{\n\tadmin off\n}\nexample.com {\n\tsession\n\tsession_set user {header.Remote-User}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"validate", "run"} {
		out, errs, status := caddyCommand(t, command, "--config", file)
		if status == 0 || !strings.Contains(out+errs, file+":6: session_set user reads") {
			t.Errorf("caddy %s: status %d, %s%s", command, status, out, errs)
		}
	}
	object := `{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[{"handler":"session","subject":{"key":"user.id"}},
		{"handler":"session_set","set":{"user":{"%s":"{http.request.header.Remote-User}"}}}]}]}}}}}`
	for member, wrong := range map[string]bool{"id": true, "name": false} {
		err := validate([]byte(strings.Replace(object, "%s", member, 1)))
		if (err != nil) != wrong {
			t.Errorf("%s of the subject's object: %v", member, err)
		}
	}
}
