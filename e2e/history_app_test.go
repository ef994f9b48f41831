package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-session/caddy-session/e2e/history"
)

// visit is one request.
type visit struct {
	number int
	kind   history.Kind
	token  string // presented
	user   string // for SignIn, Create, Revoke
	cas    bool   // for Set: at the version that the application sees
	key    int    // for Set and Create

	mu      sync.Mutex
	arrived time.Duration // at the application; 0 means that it has not
	gone    bool          // the browser does not wait any more
	saw     *history.Contents
	asked   bool   // the application wants something changed
	version uint64 // at this version
}

// answer is the application: it does what the browser wants, if it can.
func (w *world) answer(rw http.ResponseWriter, r *http.Request) {
	number, _ := strconv.Atoi(r.URL.Query().Get("visit"))
	found, ok := w.pending.Load(number)
	if !ok {
		http.Error(rw, "nobody waits for this", http.StatusInternalServerError)
		return
	}
	v := found.(*visit)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.gone {
		http.Error(rw, "the browser has gone", http.StatusInternalServerError)
		return
	}
	if v.arrived != 0 {
		w.problem("#%d was sent to the application twice", number)
	}
	v.arrived = w.now()
	saw, err := readContents(r.Header)
	if err != nil {
		w.problem("#%d: %v", number, err)
	}
	v.saw = saw
	v.script(rw.Header())
	fmt.Fprint(rw, number)
}

// dataKeys are those of history.Contents.Values.
var dataKeys = [3]string{"a", "b", "c"}

// script sets the headers by which the application changes the session.
func (v *visit) script(header http.Header) {
	value := strconv.Itoa(v.number)
	if (v.saw == nil) != (v.kind == history.Create) {
		return
	}
	v.asked = v.kind != history.Read
	if v.saw != nil && v.saw.User != "" {
		v.user = v.saw.User // the token may be another browser's
	}
	switch v.kind {
	case history.Create:
		data := map[string]string{dataKeys[v.key]: value}
		if v.user != "" {
			data["user"] = v.user
		}
		text, _ := json.Marshal(data)
		header.Set("X-Session-Set", string(text))
	case history.Set:
		header.Set("X-Session-Set", dataKeys[v.key]+"="+value)
		if v.cas {
			v.version = v.saw.Version
		}
	case history.Renew:
		header.Set("X-Session-Control", "renew")
	case history.Destroy:
		header.Set("X-Session-Control", "destroy")
	case history.SignIn:
		header.Set("X-Session-Set", "user="+v.user)
	case history.SignOut, history.Revoke:
		if v.saw.User == "" {
			v.asked = false
			return
		}
		v.version = v.saw.Version
		if v.kind == history.SignOut {
			header.Set("X-Session-Unset", "user")
		} else {
			header.Set("X-Session-Control", "revoke-others")
		}
	}
	if v.version != 0 {
		header.Add("X-Session-Control", fmt.Sprintf("if-version=%d", v.version))
	}
}

// readContents reads what Caddy says of the session: nil for nobody.
func readContents(header http.Header) (*history.Contents, error) {
	if header.Get("X-Session-Id") == "" {
		return nil, nil
	}
	c := &history.Contents{}
	var err error
	if c.Version, err = strconv.ParseUint(header.Get("X-Session-Version"), 10, 64); err != nil {
		return nil, err
	}
	var data map[string]string
	if err := json.Unmarshal([]byte(header.Get("X-Session-Data")), &data); err != nil {
		return nil, err
	}
	for i, key := range dataKeys {
		c.Values[i] = data[key]
		delete(data, key)
	}
	c.User = data["user"]
	delete(data, "user")
	if len(data) > 0 {
		return nil, fmt.Errorf("data that nobody has set: %v", slices.Collect(maps.Keys(data)))
	}
	if c.User != header.Get("X-Session-User") {
		return nil, fmt.Errorf("two users: %q, %q", c.User, header.Get("X-Session-User"))
	}
	return c, nil
}
