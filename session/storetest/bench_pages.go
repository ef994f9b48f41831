package storetest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// BenchPages measures what the session costs a page that does not ask for its data,
// where the application has the session API: the load, always from the store and as
// GET is served, and the headers. It leaves the store open.
func BenchPages(b *testing.B, store session.Store) {
	policy := session.DefaultPolicy()
	policy.MaxData = 2 << 20
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		b.Fatal(err)
	}
	m, err := session.NewManager(store, policy, protocol.WithAPI(), session.Observer{})
	if err != nil {
		b.Fatal(err)
	}
	site := session.Site{Scope: session.Scope{Name: "sid", Host: "example.com", Path: "/"}, Realm: "example.com"}
	for _, size := range []struct {
		name  string
		bytes int
	}{{"100B", 100}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}} {
		data := map[string]any{"user": "alice", "text": strings.Repeat("x", size.bytes-len(`{"text":"","user":"alice"}`))}
		r, err := m.Commit(b.Context(), site, nil, &session.Patch{Set: []map[string]any{data}}, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		tokens := []session.Token{r.Session.Token()}
		for name, load := range map[string]func() (*session.Session, bool, error){
			"asked":  func() (*session.Session, bool, error) { return m.Load(b.Context(), site, tokens, time.Now()) },
			"cached": func() (*session.Session, bool, error) { return m.LoadCached(b.Context(), site, tokens, time.Now()) },
		} {
			b.Run(name+"/"+size.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s, _, err := load()
					if err == nil {
						err = m.Inject(http.Header{}, site, s, time.Now())
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
