package operator

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/session"
)

// That a session is gone is believed only if the API is there.
func TestNotFound(t *testing.T) {
	for _, test := range []struct {
		why         string
		show, stats int // the statuses of the answers
		want        bool
	}{
		{"gone", 404, 200, true},
		{"neither", 404, 404, false},
		{"unreadable", 409, 200, false},
		{"the store is down", 503, 200, false},
	} {
		t.Run(test.why, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status := test.show
				if r.URL.Path == "/session/stats" {
					status = test.stats
				}
				w.WriteHeader(status)
				w.Write([]byte(`{"error":"in words that may change: HTTP 404"}`))
			}))
			defer server.Close()
			c := &client{address: strings.TrimPrefix(server.URL, "http://")}
			err := c.ask("show", adminQuery{ID: session.NewToken().ID}, new(adminSession))
			if err == nil || errors.Is(err, errNoSuchSession) != test.want {
				t.Error(err)
			}
		})
	}
}
