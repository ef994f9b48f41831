package stores

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/sessionapp"
)

// module returns a new module of a store by its name.
func module(t *testing.T, name string) sessionapp.StoreModule {
	t.Helper()
	info, err := caddy.GetModule("session.stores." + name)
	if err != nil {
		t.Fatal(err)
	}
	return info.New().(sessionapp.StoreModule)
}

func TestSyntax(t *testing.T) {
	for _, tt := range []struct{ text, want, err string }{
		{"memory", `{}`, ""},
		{"memory a", "", "wrong argument count"},
		{"memory {\na\n}", "", `unknown setting "a"`},
		{"embedded", `{}`, ""},
		{"embedded /a/b.db", `{"file":"/a/b.db"}`, ""},
		{"embedded a b", "", "wrong argument count"},
		{"embedded {\nmax_sessions 5\n}", `{"max_sessions":5}`, ""},
		{"embedded {\nmax_sessions 0\n}", "", "max_sessions must be above zero"},
		{"redis", `{}`, ""},
		{"redis a:1 b:2", `{"addresses":["a:1","b:2"]}`, ""},
		{"redis {\nusername u\npassword {env.P}\ndb 3\nkey_prefix k:\nclient_name c\ntimeout 1s\n}",
			`{"username":"u","password":"{env.P}","db":3,"key_prefix":"k:","timeout":1000000000,"client_name":"c"}`, ""},
		{"redis {\nwait 2 100ms\n}", `{"wait":{"replicas":2,"timeout":100000000}}`, ""},
		{"redis {\nwait 2\n}", "", "wait takes how many replicas and how long"},
		{"redis {\nwait 0 100ms\n}", "", "1 or more"},
		{"redis {\nwait 1 0s\n}", "", "write a duration"},
		{"redis {\nwait 1 1h\n}", "", "wait"}, // longer than an operation may take
		{"redis a:1 {\nsentinel main {\nusername u\npassword p\n}\n}",
			`{"addresses":["a:1"],"sentinel":{"master":"main","username":"u","password":"p"}}`, ""},
		{"redis a:1 {\nsentinel\n}", "", "the name of the primary"},
		{"redis a:1 {\nsentinel main b:2\n}", "", "belong after store redis"},
		{"redis {\nnear_cache\n}", `{"near_cache":{}}`, ""},
		{"redis {\nnear_cache 2MiB {\nmax_age 1s\n}\n}", `{"near_cache":{"size":2097152,"max_age":1000000000}}`, ""},
		{"redis {\nnear_cache 1KiB\n}", "", "near_cache: "},
		{"redis {\nnear_cache lots\n}", "", "write a size"},
		{"redis {\nnear_cache 0\n}", "", "write a size"},
		{"redis {\nnear_cache 2MiB 1s\n}", "", "max_age goes into its block"},
		{"redis {\ndecoded_cache 2MiB\n}", `{"decoded_cache":2097152}`, ""},
		{"redis {\ndecoded_cache off\n}", `{"decoded_cache":-1}`, ""},
		{"redis {\ndecoded_cache\n}", "", "a size such as 32MiB, or off"},
		{"redis {\ndecoded_cache lots\n}", "", "a size such as 32MiB, or off"},
		{"redis {\ndecoded_cache 1KiB\n}", "", "it needs 1048576 (1MiB) or more"},
		{"redis {\nnear_cache\ndecoded_cache off\n}", "", "leave out decoded_cache"},
		{"redis {\ntls\n}", `{"tls":{}}`, ""},
		{"redis {\ntls {\nca a b\ncertificate c k\nserver_name s\n}\n}", `{"tls":{"ca":["a","b"],"certificate":"c","key":"k","server_name":"s"}}`, ""},
		{"redis {\ntls {\ncertificate c\n}\n}", "", "certificate FILE KEY_FILE"},
		{"redis {\ntls on\n}", "", "go into a block"},
		{"redis http://a", "", "Testfile:"},
		{"postgres", `{}`, ""},
		{"postgres postgres://u@a,b/db?sslmode=verify-full {\npassword {env.P}\ntable web.sessions\ntimeout 1s\nconnections 5\n}",
			`{"url":"postgres://u@a,b/db?sslmode=verify-full","password":"{env.P}","table":"web.sessions","timeout":1000000000,"connections":5}`, ""},
		{"postgres postgres://a postgres://b", "", "takes one URL"},
		{"postgres mysql://a", "", "must begin with postgres://"},
		{"postgres postgres://u:s3cret@a:b/", "", "can't be read"},
		{"postgres postgres://u:p@a {\npassword p\n}", "", "in the URL and beside it"},
		{"postgres {\ntable Sessions\n}", "", `table "Sessions"`},
		{"postgres {\nconnections 0\n}", "", "above zero"},
	} {
		name, _, _ := strings.Cut(tt.text, " ")
		m := module(t, name)
		err := m.(caddyfile.Unmarshaler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.text))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "Testfile:") {
				t.Errorf("%s: %v", tt.text, err)
			}
			continue
		}
		exported, _ := json.Marshal(m)
		if err != nil || string(exported) != tt.want {
			t.Errorf("%s: %s, %v", tt.text, exported, err)
		}
	}
}

// Configurations that are alike share a store, and no others do.
func TestStoreKey(t *testing.T) {
	t.Setenv("SESSION_TEST_PASSWORD", "s3cret")
	dir := t.TempDir()
	if err := os.Symlink(dir, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	key := func(name, text string) string {
		m := module(t, name)
		if err := json.Unmarshal([]byte(text), m); err != nil {
			t.Fatal(err)
		}
		if p, ok := m.(caddy.Provisioner); ok {
			if err := p.Provision(caddy.Context{}); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
		return m.StoreKey()
	}
	for _, tt := range []struct {
		name, one, other string
		same             bool
	}{
		{"memory", `{}`, `{}`, true},
		{"embedded", `{}`, `{}`, true},
		{"embedded", `{"file":"` + dir + `/a.db"}`, `{"file":"` + dir + `/b.db"}`, false},
		{"embedded", `{"file":"` + dir + `/a.db"}`, `{"file":"` + dir + `/link/x/../a.db"}`, true},
		{"embedded", `{"file":"` + dir + `/a.db"}`, `{"file":"` + dir + `/a.db","max_sessions":5}`, true}, // one file, one store
		{"redis", `{}`, `{}`, true},
		{"redis", `{"password":"{env.SESSION_TEST_PASSWORD}"}`, `{"password":"s3cret"}`, true},
		{"redis", `{}`, `{"password":"s3cret"}`, false},
		{"redis", `{}`, `{"db":1}`, false},
		{"redis", `{}`, `{"near_cache":{}}`, false},
		{"redis", `{}`, `{"tls":{}}`, false},
		{"postgres", `{"password":"{env.SESSION_TEST_PASSWORD}"}`, `{"password":"s3cret"}`, true},
		{"postgres", `{"url":"postgres://a"}`, `{"url":"postgres://b"}`, false},
		{"postgres", `{}`, `{"password":"s3cret"}`, false},
		{"postgres", `{}`, `{"connections":5}`, false},
	} {
		one, other := key(tt.name, tt.one), key(tt.name, tt.other)
		if (one == other) != tt.same || !strings.HasPrefix(one, tt.name) || strings.Contains(one+other, "s3cret") {
			t.Errorf("%s %s: %q\n%s: %q", tt.name, tt.one, one, tt.other, other)
		}
	}
	if a, b := key("embedded", "{}"), key("memory", "{}"); a == b {
		t.Error("two stores have one key")
	}
}

// What can't be done is told before Caddy runs, and nothing secret is.
func TestProvisionErrors(t *testing.T) {
	t.Setenv("SESSION_TEST_PASSWORD", "s3cret")
	noPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		module caddy.Provisioner
		want   string
	}{
		{&Embedded{MaxSessions: -1}, "max_sessions -1 is negative"},
		{&Embedded{File: "{env.SESSION_TEST_NONE}"}, "file: "},
		{&Redis{Username: "{env.SESSION_TEST_NONE}", Password: "{env.SESSION_TEST_PASSWORD}"}, "username: "},
		{&Redis{Addresses: []string{"a:1", "{none}"}}, "address 2: "},
		{&Redis{TLS: &RedisTLS{CA: []string{"/no/such/file"}}}, "tls: ca: "},
		{&Redis{TLS: &RedisTLS{CA: []string{noPEM}}}, "no certificate in PEM"},
		{&Redis{TLS: &RedisTLS{Certificate: noPEM, Key: noPEM}}, "tls: certificate "},
		{&Redis{TLS: &RedisTLS{Certificate: noPEM}}, "tls: key: "},
		{&Redis{NearCache: &RedisNearCache{Size: 1}}, "MiB"},
		{&Redis{DB: -1}, "the database is negative"},
		{&Postgres{URL: "{env.SESSION_TEST_NONE}", Password: "{env.SESSION_TEST_PASSWORD}"}, "url: "},
		{&Postgres{URL: "postgres://u:{env.SESSION_TEST_PASSWORD}@h:port/"}, "can't be read"},
		{&Postgres{Connections: -1}, "connections"},
	} {
		if err := tt.module.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", tt.want, err)
		}
	}
}

// A store is made without anything being opened: configurations are also made
// to be validated.
func TestNewStoreTouchesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dir", "s.db")
	for _, m := range []sessionapp.StoreModule{&Memory{}, &Embedded{File: file}, &Redis{Addresses: []string{"127.0.0.1:1"}}, &Postgres{URL: "postgres://127.0.0.1:1"}} {
		if p, ok := m.(caddy.Provisioner); ok {
			if err := p.Provision(caddy.Context{}); err != nil {
				t.Fatal(err)
			}
		}
		store, err := m.NewStore(zap.NewNop())
		if err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		if err := store.Close(); err != nil {
			t.Errorf("%T: %v", m, err)
		}
	}
	if _, err := os.Stat(filepath.Dir(file)); !os.IsNotExist(err) {
		t.Errorf("the directory of the file is there: %v", err)
	}
}
