package sqlitestore_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/standard"

	sqlitestore "example.com/sqlitestore"
	_ "github.com/caddy-session/caddy-session"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/storetest"
)

// open opens the store in a file, as Caddy does when it starts.
func open(t testing.TB, file string) *sqlitestore.Store {
	t.Helper()
	store, err := sqlitestore.New(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	return store
}

// The whole contract, races included: in memory, since thousands of writes would wait
// for the disk.
func TestConformance(t *testing.T) {
	var store *sqlitestore.Store
	storetest.Run(t, func(t *testing.T) session.Store {
		store = open(t, ":memory:")
		return store
	}, storetest.Options{PutRaw: func(id string, value []byte) {
		if err := store.Put(t.Context(), id, 0, session.Entry{Value: value, TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}})
}

func BenchmarkStore(b *testing.B) {
	store := open(b, filepath.Join(b.TempDir(), "sessions.sqlite"))
	defer store.Close()
	storetest.Bench(b, store)
}

// The Caddyfile of this folder runs, and a restart finds the session again.
func TestCaddyfile(t *testing.T) {
	text, err := os.ReadFile("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("XDG_DATA_HOME", ".")
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	quiet := strings.Replace(string(text), "{", "{\n\tadmin off\n\tpersist_config off\n", 1)
	config, _, err := adapter.Adapt([]byte(strings.Replace(quiet, ":8080", "http://127.0.0.1:18573", 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer caddy.Stop()
	cookie := ""
	for _, want := range []string{"", "yes"} {
		if err := caddy.Load(config, true); err != nil {
			t.Fatal(err)
		}
		request, _ := http.NewRequest(http.MethodGet, "http://127.0.0.1:18573/", nil)
		if cookie != "" {
			request.Header.Set("Cookie", cookie)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if string(body) != want {
			t.Errorf("got %q, want %q", body, want)
		}
		cookie, _, _ = strings.Cut(response.Header.Get("Set-Cookie"), ";")
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
