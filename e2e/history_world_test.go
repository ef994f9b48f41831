package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/e2e/history"
)

// answerBound is how long any answer may take: a read, the application, and a
// commit with all its retries, on a busy machine.
const answerBound = 8 * time.Second

// world is some browsers, an application behind two Caddys, and what all of
// them have seen.
type world struct {
	t        testing.TB
	began    time.Time
	caddys   []*child
	lossy    bool          // the store may forget commits, see history.History
	stale    time.Duration // how old its answers may be, likewise
	client   *http.Client
	app      *httptest.Server
	requests atomic.Int64 // numbers them
	pending  sync.Map     // number → *visit

	mu         sync.Mutex
	operations []*history.Operation
	tokens     []string // all that were issued in this round
	dead       []string // those of sessions that ended in rounds before
	problems   []string
	counts     map[string]int
}

// newWorld starts the application and two Caddys, which have these stores, and
// the same settings of session.
func newWorld(t testing.TB, settings string, stores ...string) *world {
	t.Helper()
	w := &world{t: t, began: time.Now(), counts: map[string]int{}}
	w.app = httptest.NewServer(http.HandlerFunc(w.answer))
	t.Cleanup(w.app.Close)
	// One connection a request: Go sends a request again by itself if a
	// connection turns out to be lost.
	w.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: answerBound}
	for _, store := range stores {
		// touch makes writes that change nothing, and must not revive anything.
		w.caddys = append(w.caddys, startChild(t, store, "session {\n\ttouch 100ms\n\tidle 1h\n\t"+settings+"\n}\nreverse_proxy "+strings.TrimPrefix(w.app.URL, "http://")))
	}
	return w
}

func (w *world) now() time.Duration { return time.Since(w.began) }

// problem notes what is wrong with one answer.
func (w *world) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.problems) < 20 {
		w.problems = append(w.problems, fmt.Sprintf("%.3f: ", w.now().Seconds())+fmt.Sprintf(format, args...))
	}
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

func (w *world) record(o *history.Operation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.operations = append(w.operations, o)
}

// most tokens of ended sessions that are kept to be tried again.
const mostDead = 1000

// finish ends a round: it looks at every session once more through every
// Caddy, checks the history, and forgets it. The world must be whole again.
func (w *world) finish() {
	w.t.Helper()
	w.mu.Lock()
	tokens := w.tokens
	w.mu.Unlock()
	for _, token := range tokens {
		saw := w.look(token)
		if saw == nil {
			w.dead = append(w.dead, token)
		}
	}
	w.dead = w.dead[max(0, len(w.dead)-mostDead):]
	h := history.History{Operations: w.operations, Lossy: w.lossy, Stale: w.stale}
	for _, violation := range h.Check() {
		w.t.Error(violation)
	}
	for _, problem := range w.problems {
		w.t.Error(problem)
	}
	w.counts["operations"] += len(w.operations)
	w.counts["tokens"] += len(w.tokens)
	w.operations, w.tokens, w.problems = nil, nil, nil
}

// look reads a session through every Caddy, each of which has to answer soon.
func (w *world) look(token string) (saw *history.Contents) {
	w.t.Helper()
	for _, c := range w.caddys {
		eventually(w.t, "Caddy answers again", func() bool {
			v := &visit{kind: history.Read, token: token}
			_, _, status := w.send(v, c, http.MethodPost)
			saw = v.saw
			return status == http.StatusOK
		})
	}
	return saw
}

// summary says what was done, for the log.
func (w *world) summary() string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(w.counts)) {
		fmt.Fprintf(&b, "  %s: %d\n", what, w.counts[what])
	}
	return b.String()
}
