package mongodb

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

func TestSyntax(t *testing.T) {
	for _, tt := range []struct{ text, want, err string }{
		{"mongodb", `{}`, ""},
		{"mongodb mongodb://u@a,b/db?replicaSet=rs0 {\npassword {env.P}\ncollection web\ntimeout 1s\n}",
			`{"url":"mongodb://u@a,b/db?replicaSet=rs0","password":"{env.P}","collection":"web","timeout":1000000000}`, ""},
		{"mongodb mongodb+srv://u@cluster.example.com/db", `{"url":"mongodb+srv://u@cluster.example.com/db"}`, ""}, // asks no DNS
		{"mongodb mongodb://a mongodb://b", "", "takes one URL"},
		{"mongodb postgres://a", "", "must begin with mongodb://"},
		{"mongodb mongodb://u:s3cret@a:b/", "", "can't be read"},
		{"mongodb mongodb://u:s3cret@a {\npassword p\n}", "", "in the URL and beside it"},
		{"mongodb mongodb://a {\npassword p\n}", "", "has no user"},
		{"mongodb mongodb://a/?w=0", "", "w=0"},
		{"mongodb mongodb://a/?readPreference=nearest", "", "readPreference"},
		{"mongodb mongodb://a/?timeoutMS=5", "", "timeoutMS"},
		{"mongodb {\ncollection $x\n}", "", `collection "$x"`},
		{"mongodb {\nfoo\n}", "", `unknown setting "foo"`},
	} {
		m := new(MongoDB)
		err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.text))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), "s3cret") {
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

// Configurations that are alike share a store, and no others do; what the key says of a
// password is nothing. No connection is made.
func TestStoreKey(t *testing.T) {
	t.Setenv("SESSION_TEST_PASSWORD", "s3cret")
	key := func(m *MongoDB) string {
		t.Helper()
		if err := m.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		store, err := m.NewStore(zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		return m.StoreKey()
	}
	const url = "mongodb://u@127.0.0.1:1"
	one := key(&MongoDB{URL: url, Password: "{env.SESSION_TEST_PASSWORD}"})
	if other := key(&MongoDB{URL: url, Password: "s3cret"}); one != other || !strings.HasPrefix(one, "mongodb ") || strings.Contains(one, "s3cret") {
		t.Errorf("%q and %q", one, other)
	}
	for _, m := range []*MongoDB{{URL: url, Password: "other"}, {URL: url}, {}, {URL: url, Password: "s3cret", Collection: "c"}} {
		if key(m) == one {
			t.Errorf("%v has the same key", m)
		}
	}
	if err := (&MongoDB{URL: "{env.SESSION_TEST_NONE}"}).Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), "url: ") {
		t.Errorf("got error %v", err)
	}
}
