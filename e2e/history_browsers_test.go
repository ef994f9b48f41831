package e2e

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-session/caddy-session/e2e/history"
)

// visitor is what several requests at once share a cookie in.
type visitor struct {
	user string

	mu     sync.Mutex
	sid    string
	misses int // how many changes with this cookie have an unknown outcome
}

// patience is how many misses make a user start again. The checker has to try
// what would be if each of them had come true, at any time.
const patience = 3

// often is how often a browser does what, in percent; the rest are reads.
var often = []struct {
	kind    history.Kind
	cas     bool
	percent int
}{
	{history.Set, false, 25},
	{history.Set, true, 15},
	{history.Renew, false, 8},
	{history.SignIn, false, 6},
	{history.Destroy, false, 4},
	{history.SignOut, false, 4},
	{history.Revoke, false, 3},
}

// surf makes requests until stop is closed.
func (w *world) surf(b *visitor, random *rand.Rand, stop <-chan struct{}) {
	for turn := random.IntN(2); ; turn++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(random.IntN(60)) * time.Millisecond):
		}
		b.mu.Lock()
		v := &visit{kind: history.Read, token: b.sid, user: b.user, key: random.IntN(len(dataKeys))}
		b.mu.Unlock()
		percent := random.IntN(100)
		for _, o := range often {
			if percent -= o.percent; percent < 0 {
				v.kind, v.cas = o.kind, o.cas
				break
			}
		}
		own := true
		switch old := w.oldToken(random); {
		case random.IntN(20) == 0 && old != "":
			v.token, own = old, false
			if random.IntN(4) != 0 {
				v.kind = history.Read
			}
		case v.token == "":
			if v.kind = history.Create; random.IntN(2) == 0 {
				v.user = ""
			}
		}
		c := w.caddys[turn%len(w.caddys)]
		if !c.up.Load() { // as a load balancer does
			c = w.caddys[(turn+1)%len(w.caddys)]
		}
		method := http.MethodPost
		if v.kind == history.Read && random.IntN(4) != 0 {
			method = http.MethodGet
		}
		sent := v.token
		next, expired, status := w.send(v, c, method)
		if !own {
			continue
		}
		b.mu.Lock()
		switch {
		case next != "":
			b.sid = next
		case expired:
			b.sid = ""
		case b.sid != sent:
		case status == http.StatusOK && v.saw == nil:
			b.sid = ""
		case status != http.StatusOK && status != http.StatusConflict && v.asked:
			if b.misses++; b.misses >= patience {
				b.sid = ""
			}
		}
		if b.sid != sent {
			b.misses = 0
		}
		b.mu.Unlock()
	}
}

// oldToken returns some token that was issued at some time, or "".
func (w *world) oldToken(random *rand.Rand) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.tokens) + len(w.dead); n > 0 {
		if i := random.IntN(n); i < len(w.tokens) {
			return w.tokens[i]
		} else {
			return w.dead[i-len(w.tokens)]
		}
	}
	return ""
}
