package e2e

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-session/caddy-session/e2e/history"
)

// send makes a request through one of the Caddys and records what became of
// it. It returns the token that the response brought, whether the response took
// the cookie away, and the status: 0 if there was no response.
func (w *world) send(v *visit, c *child, method string) (next string, expired bool, status int) {
	v.number = int(w.requests.Add(1))
	w.pending.Store(v.number, v)
	defer w.pending.Delete(v.number)

	r, _ := http.NewRequest(method, fmt.Sprintf("http://%s/?visit=%d", c.addr, v.number), nil)
	if v.token != "" {
		r.Header.Set("Cookie", "csid="+v.token)
	}
	up, troubles := c.up.Load(), c.troubles.Load()
	call := w.now()
	response, err := w.client.Do(r)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(response.Body)
		response.Body.Close()
	}
	ret := w.now()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gone = true

	if err == nil {
		status = response.StatusCode
		next, expired = w.cookie(v, response)
	} else if calm := up && troubles%2 == 0 && c.troubles.Load() == troubles; calm || ret-call >= answerBound {
		w.problem("#%d %s: no answer after %v: %v", v.number, v.kind, ret-call, err)
	}
	w.count(fmt.Sprintf("%s %s", v.kind, cmp.Or(strings.TrimPrefix(strconv.Itoa(status), "0"), "lost")))
	v.judge(w, status, response, string(body), next)

	id, _, _ := strings.Cut(v.token, ".")
	if v.arrived != 0 && v.token != "" {
		w.record(&history.Operation{
			Number: v.number, Session: id, Kind: history.Read, Outcome: history.Done,
			Call: call, Return: v.arrived, Token: v.token, Saw: v.saw, Safe: method == http.MethodGet,
		})
	}
	if v.asked {
		w.recordChange(v, status, ret, next)
	}
	return next, expired, status
}

// recordChange records what became of the change that the application asked for.
func (w *world) recordChange(v *visit, status int, ret time.Duration, next string) {
	id, _, _ := strings.Cut(v.token, ".")
	nextID, _, _ := strings.Cut(next, ".")
	o := &history.Operation{
		Number: v.number, Session: id, Kind: v.kind, Call: v.arrived, Return: ret, Outcome: history.Done,
		Token: v.token, Next: next, Version: v.version, Key: v.key, Value: strconv.Itoa(v.number), User: v.user,
	}
	switch status {
	case http.StatusOK:
	case http.StatusConflict:
		o.Outcome = history.Refused
	default:
		o.Outcome = history.Unknown
	}
	// A new session: the one that the browser never hears of is nobody's.
	if born := (*history.Contents)(nil); next != "" && nextID != id {
		if born = (&history.Contents{Version: 1, User: v.user}); v.kind == history.SignOut {
			*born = *v.saw
			born.Version, born.User = v.version+1, ""
		} else {
			born.Values[v.key] = o.Value
		}
		w.record(&history.Operation{
			Number: v.number, Session: nextID, Kind: history.Create, Outcome: history.Done,
			Call: v.arrived, Return: ret, Token: next, Saw: born,
		})
	}
	if v.kind == history.Create {
		return
	}
	if v.kind != history.SignIn && v.kind != history.Revoke {
		o.User = ""
	}
	w.record(o)
}

// judge says what is wrong with one response by itself.
func (v *visit) judge(w *world, status int, response *http.Response, body, next string) {
	switch status {
	case 0:
	case http.StatusOK:
		if body != strconv.Itoa(v.number) {
			w.problem("#%d %s: got the response to another request: %q", v.number, v.kind, body)
		}
		if v.kind == history.Create && next == "" {
			w.problem("#%d: a session was created, but there is no cookie", v.number)
		}
	case http.StatusConflict:
		if v.version == 0 {
			w.problem("#%d %s: 409 without if-version", v.number, v.kind)
		}
	case http.StatusServiceUnavailable:
		// A request may be repeated by itself unless the application has it.
		if retry := response.Header.Get("Retry-After") != ""; retry != (v.arrived == 0) {
			w.problem("#%d %s: 503, Retry-After is %t, the application was asked: %t", v.number, v.kind, retry, v.arrived != 0)
		}
		if v.token == "" && v.arrived == 0 {
			w.problem("#%d: 503 without a cookie", v.number)
		}
	default:
		w.problem("#%d %s: status %d: %q", v.number, v.kind, status, body)
	}
	if v.token == "" && v.saw != nil {
		w.problem("#%d: a session without a cookie", v.number)
	}
}

// cookie returns the token that a response sets, and whether it takes the
// cookie away, which is right in one case only.
func (w *world) cookie(v *visit, response *http.Response) (token string, expired bool) {
	for _, c := range response.Cookies() {
		switch {
		case response.StatusCode != http.StatusOK:
			w.problem("#%d %s: Set-Cookie with status %d", v.number, v.kind, response.StatusCode)
		case c.MaxAge < 0 || c.Value == "":
			expired = true
			if v.kind != history.Destroy {
				w.problem("#%d %s takes the cookie away", v.number, v.kind)
			}
		default:
			token = c.Value
			w.mu.Lock()
			w.tokens = append(w.tokens, token)
			w.mu.Unlock()
		}
	}
	return token, expired
}
