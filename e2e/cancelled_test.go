package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A client that hangs up is no fault of the store.
func TestCancelledRequest(t *testing.T) {
	for _, store := range []string{`{"module": "memory"}`, fmt.Sprintf(`{"module": "embedded", "file": %q}`, filepath.Join(t.TempDir(), "sessions.db"))} {
		h := provisioned(t, store, nil)
		w := &sink{http.Header{}}
		r := prepare(request(""), w)
		set := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("X-Session-Set", "user=alice")
			return nil
		})
		if err := h.ServeHTTP(w, r, set); err != nil {
			t.Fatal(err)
		}
		cookie, _, _ := strings.Cut(w.header.Get("Set-Cookie"), ";")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := h.ServeHTTP(w, prepare(request(cookie).WithContext(ctx), w), set)
		var answer caddyhttp.HandlerError
		if !errors.As(err, &answer) || answer.StatusCode != 499 {
			t.Errorf("%s: %v", store, err)
		}
	}
}
