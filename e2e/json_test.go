package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/internal/selfsigned"
)

// jsonConfig is a configuration with one session handler and its app.
func jsonConfig(handler, app string) []byte {
	return fmt.Appendf(nil, `{"apps": {"session": {%s}, "http": {"servers": {"srv0": {"listen": [":0"],
		"routes": [{"handle": [{"handler": "session"%s}]}]}}}}}`, app, handler)
}

func TestJSON(t *testing.T) {
	cert, key, _ := selfsigned.Localhost(t)
	file := filepath.Join(t.TempDir(), "new", "sessions.db")
	for _, test := range []struct {
		name, handler, app string
		want               string // in the error, empty for none
	}{
		{"nothing", ``, ``, ""},
		{"every option", `, "match": [{"path": ["/a"]}], "idle": "10m", "lifetime": "12h", "remember": "90d", "touch": "30s",
			"subject": {"key": "account", "max": 5}, "realm": "example.com", "forward": [{"key": "a", "header": "X-A"}, {"key": "b"}],
			"header_prefix": "X-App-", "exposed": 2048, "max_data": 100000, "on_store_error": "pass", "encryption": "off",
			"on_end": "keep", "record_client": true, "lock": {"match": [{"path": ["/cart/*"]}], "wait": "5s"},
			"cookie": {"name": "__Secure-app", "domain": "example.com", "path": "/app", "same_site": "none", "secure": "on",
			"partitioned": true, "priority": "high", "persistent": true, "persistent_idle": true}, "request_headers": ["user", "new_id"]`, ``, ""},
		{"memory", ``, `"store": {"module": "memory"}`, ""},
		{"embedded", ``, fmt.Sprintf(`"store": {"module": "embedded", "file": %q, "max_sessions": 10}`, file), ""},
		{"redis", ``, fmt.Sprintf(`"store": {"module": "redis", "addresses": ["s1", "s2"], "username": "a", "password": "b", "db": 1,
			"sentinel": {"master": "m", "username": "a", "password": "b"}, "wait": {"replicas": 1, "timeout": "100ms"},
			"key_prefix": "a:", "timeout": "1s", "client_name": "a",
			"tls": {"ca": [%q], "certificate": %q, "key": %q, "server_name": "a"}}`, cert, cert, key), ""},
		{"near-cache", ``, `"store": {"module": "redis", "near_cache": {"size": 1048576, "max_age": "1s"}}`, ""},
		{"matcher", `}, {"handler": "subroute", "routes": [{"match": [{"session": {}, "not": [{"session": {"role": ["a", "b"], "user": []}}]}], "handle": []}]`, ``, ""},
		{"actions", `}, {"handler": "session_set", "set": {"a": "{path}", "b": [1, {"c": true}], "d": {"e": 12345678901234567890}}},
			{"handler": "session_unset", "keys": ["a"]}, {"handler": "session_destroy"}, {"handler": "session_renew"},
			{"handler": "session_label", "label": "{path}"}, {"handler": "session_label"`, ``, ""},

		{"request_headers", `, "request_headers": ["id", "expiry"]`, ``, "request_headers: unknown header"},
		{"on_end", `, "on_end": "ask"`, ``, "on_end"},
		{"lock for no time", `, "lock": {}`, ``, "lock: say how long"},
		{"unknown lock field", `, "lock": {"wait": "5s", "for": "5s"}`, ``, "for"},
		{"matcher with an empty key", `}, {"handler": "subroute", "routes": [{"match": [{"session": {"": []}}], "handle": []}]`, ``, "empty key"},
		{"matcher that is a list", `}, {"handler": "subroute", "routes": [{"match": [{"session": ["user"]}], "handle": []}]`, ``, "array"},
		{"expression with a number", `}, {"handler": "subroute", "routes": [{"match": [{"expression": "session(7)"}], "handle": []}]`, ``, "string"},
		{"expression with an empty key", `}, {"handler": "subroute", "routes": [{"match": [{"expression": "session('')"}], "handle": []}]`, ``, "empty key"},
		{"nothing to set", `}, {"handler": "session_set"`, ``, "session_set needs a key"},
		{"set an empty key", `}, {"handler": "session_set", "set": {"": 1}`, ``, "empty"},
		{"set what is too deep", `}, {"handler": "session_set", "set": {"a": ` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`, ``, "deeper"},
		{"nothing to unset", `}, {"handler": "session_unset", "keys": []`, ``, "session_unset needs a key"},
		{"unknown field of an action", `}, {"handler": "session_destroy", "now": true`, ``, "now"},
		{"unknown handler field", `, "idel": "1m"`, ``, "idel"},
		{"unknown cookie field", `, "cookie": {"max_age": 3}`, ``, "max_age"},
		{"unknown subject field", `, "subject": {"maximum": 3}`, ``, "maximum"},
		{"unknown forward field", `, "forward": [{"name": "a"}]`, ``, "name"},
		{"unknown app field", ``, `"stores": {}`, "stores"},
		{"unknown store", ``, `"store": {"module": "memcached"}`, "memcached"},
		{"unknown store field", ``, `"store": {"module": "embedded", "path": "/a"}`, "path"},
		{"unknown tls field", ``, `"store": {"module": "redis", "tls": {"insecure": true}}`, "insecure"},
		{"unknown matcher", `, "match": [{"nope": []}]`, ``, "nope"},

		{"negative duration", `, "idle": "-1m"`, ``, "idle"},
		{"idle over lifetime", `, "idle": "2h", "lifetime": "1h"`, ``, "lifetime"},
		{"negative touch", `, "touch": -1`, ``, "touch"},
		{"encryption", `, "encryption": "maybe"`, ``, "write on or off"},
		{"on_store_error", `, "on_store_error": "retry"`, ``, "write fail or pass"},
		{"forward fold", `, "forward": [{"key": "a_b"}, {"key": "a-b"}]`, ``, "can't be told from"},
		{"cookie", `, "cookie": {"same_site": "none", "secure": "off"}`, ``, "same_site none"},
		{"negative subject max", `, "subject": {"max": -1}`, ``, "max"},
		{"negative max_data", `, "max_data": -1`, ``, "max_data"},
		{"small max_size", ``, `"store": {"module": "embedded", "max_size": 1000}`, "max_size"},
		{"negative max_sessions", ``, `"store": {"module": "embedded", "max_sessions": -1}`, "max_sessions"},
		{"small near-cache", ``, `"store": {"module": "redis", "near_cache": {"size": 4096}}`, "1MiB"},
		{"negative max_age", ``, `"store": {"module": "redis", "near_cache": {"max_age": "-1s"}}`, "max_age"},
		{"unknown near-cache field", ``, `"store": {"module": "redis", "near_cache": {"ttl": "1s"}}`, "ttl"},
		{"negative db", ``, `"store": {"module": "redis", "db": -1}`, "negative"},
		{"unknown sentinel field", ``, `"store": {"module": "redis", "sentinel": {"name": "m"}}`, "name"},
		{"sentinel without a name", ``, `"store": {"module": "redis", "sentinel": {}}`, "sentinel"},
		{"negative wait", ``, `"store": {"module": "redis", "wait": {"replicas": -1}}`, "replicas"},
		{"wait without a time", ``, `"store": {"module": "redis", "wait": {"replicas": 1}}`, "wait"},
		{"address", ``, `"store": {"module": "redis", "addresses": ["http://localhost"]}`, "address"},
		{"username alone", ``, `"store": {"module": "redis", "username": "a"}`, "password"},
		{"missing certificate", ``, `"store": {"module": "redis", "tls": {"ca": ["/nowhere/ca.pem"]}}`, "/nowhere/ca.pem"},
		{"certificate without key", ``, fmt.Sprintf(`"store": {"module": "redis", "tls": {"certificate": %q}}`, cert), "key"},
		{"key as certificate", ``, fmt.Sprintf(`"store": {"module": "redis", "tls": {"ca": [%q]}}`, key), "no certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := validate(jsonConfig(test.handler, test.app))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	// To validate runs beside a live server.
	if _, err := os.Stat(filepath.Dir(file)); !os.IsNotExist(err) {
		t.Errorf("validating has made the store's directory (%v)", err)
	}
}

// Secrets come by placeholders, and no error shows them.
func TestSecretsInConfig(t *testing.T) {
	const secret = "correct-horse-battery"
	t.Setenv("SESSION_TEST_PASSWORD", secret)
	t.Setenv("SESSION_TEST_URL", "redis://app:"+secret+"@localhost:6379")
	t.Setenv("SESSION_TEST_EMPTY", "")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, store, want string }{
		{"from the environment", `"password": "{env.SESSION_TEST_PASSWORD}"`, ""},
		{"from a file", `"password": "{file.` + file + `}"`, ""},
		{"in a URL", `"addresses": ["{env.SESSION_TEST_URL}"]`, ""},
		{"in several URLs", `"addresses": ["{env.SESSION_TEST_URL}", "redis://app:` + secret + `x@b"]`, "differ"},
		{"of Sentinels", `"sentinel": {"master": "m", "password": "{env.SESSION_TEST_PASSWORD}"}`, ""},
		{"of Sentinels in a URL", `"addresses": ["{env.SESSION_TEST_URL}"], "sentinel": {"master": "m"}`, "sentinel"},
		{"not set", `"password": "{env.SESSION_TEST_NOPE}"`, "SESSION_TEST_NOPE"},
		{"empty", `"password": "{env.SESSION_TEST_EMPTY}"`, "SESSION_TEST_EMPTY"},
		{"unknown placeholder", `"password": "{nope.nope}"`, "nope.nope"},
		{"no such file", `"password": "{file./nowhere/password}"`, "/nowhere/password"},
		{"given twice", `"addresses": ["{env.SESSION_TEST_URL}"], "password": "{env.SESSION_TEST_PASSWORD}"`, "password"},
		{"bad database in URL", `"addresses": ["{env.SESSION_TEST_URL}/main"]`, "database"},
		{"bad port in URL", `"addresses": ["{env.SESSION_TEST_URL}x"]`, "address"},
		{"bad scheme", `"addresses": ["x{env.SESSION_TEST_URL}"]`, "address"},
		{"bad escape in URL", `"addresses": ["redis://app:` + secret + `%zz@localhost"]`, "address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := validate(jsonConfig("", `"store": {"module": "redis", `+test.store+`}`))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}
