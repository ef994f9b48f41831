// Package history checks what browsers and applications saw of sessions that
// many requests changed at once, on several servers, while parts of these
// failed: whether a single session that does one thing after the other could
// have looked like that.
//
// A History is a list of operations, each with the time when it may have begun
// to have an effect and when it had it for sure. A request to an existing
// session is up to two of them: what the application was told (Read), and what
// became of its answer.
package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// History is what some browsers saw in one store.
type History struct {
	Operations []*Operation

	// Stale is how old an answer to a safe method may be: zero without a
	// near-cache.
	Stale time.Duration

	// Lossy is for a store that may forget what it has confirmed, except that
	// a session has ended or a secret was replaced. Only this is checked.
	Lossy bool
}

// checkTime is how long the order of one session's operations is searched for.
const checkTime = 20 * time.Second

// Check returns what is wrong with the history.
func (h *History) Check() (violations []string) {
	sessions := map[string]*session{}
	for _, o := range h.Operations {
		s := sessions[o.Session]
		if s == nil {
			s = &session{ended: never, users: map[string]bool{}}
			sessions[o.Session] = s
		}
		s.add(o)
	}
	for _, o := range h.Operations {
		if o.Kind != Revoke || o.Outcome == Refused {
			continue
		}
		for id, s := range sessions {
			// Who came later, or had gone, was not among the others.
			if id != o.Session && s.users[o.User] && s.began <= o.Return && s.ended >= o.Call {
				other := *o
				other.Session, other.Kind, other.Token, other.Version = id, revoked, "", 0
				s.operations = append(s.operations, &other)
			}
		}
	}
	for id, s := range sessions {
		slices.SortFunc(s.operations, func(a, b *Operation) int { return cmp.Compare(a.Call, b.Call) })
		found := h.checkTimes(s)
		if !h.Lossy {
			if problem := h.checkOrder(s); problem != "" {
				found = append(found, problem)
			}
		}
		if found != nil {
			violations = append(violations, fmt.Sprintf("session %s: %s\n%s", id, strings.Join(found, "; "), lines(s.operations)))
		}
	}
	return violations
}

// session is what a history says of one session.
type session struct {
	operations []*Operation
	began      time.Duration   // when it may have been created
	ended      time.Duration   // when its end was confirmed first; never
	users      map[string]bool // who was signed in at some time
}

func (s *session) add(o *Operation) {
	s.operations = append(s.operations, o)
	switch {
	case o.Kind == Create:
		s.began = o.Call
	case o.Kind == Destroy && o.Outcome == Done, o.Kind == SignOut && o.Outcome == Done && o.Next != "":
		s.ended = min(s.ended, o.Return)
	}
	if o.Kind == SignIn {
		s.users[o.User] = true
	}
	if o.Saw != nil {
		s.users[o.Saw.User] = true
	}
}

func lines(operations []*Operation) string {
	var b strings.Builder
	for _, o := range operations {
		fmt.Fprintln(&b, "   ", o)
	}
	return b.String()
}

// from is when an operation may have begun: a cached answer may be older than
// its request. That there is no session is never answered from a cache.
func (h *History) from(o *Operation) time.Duration {
	if o.Kind == Read && o.Safe && o.Saw != nil {
		return o.Call - h.Stale
	}
	return o.Call
}

// checkTimes looks for what is wrong in any order: a session or a secret that
// is good after it was said to have ended, and a version that goes back.
func (h *History) checkTimes(s *session) (problems []string) {
	replaced := map[string]time.Duration{} // when each secret was
	for _, o := range s.operations {
		if (o.Kind == Renew || o.Kind == SignIn) && o.Next != "" {
			replaced[o.Token] = o.Return
		}
	}
	for _, o := range s.operations {
		if o.Kind != Read || o.Saw == nil {
			continue
		}
		if s.ended < h.from(o) {
			problems = append(problems, fmt.Sprintf("#%d finds it alive %v after its end was acknowledged", o.Number, o.Call-s.ended))
		}
		if at, ok := replaced[o.Token]; ok && at < h.from(o) {
			problems = append(problems, fmt.Sprintf("#%d gets in with a secret that was replaced %v before", o.Number, o.Call-at))
		}
		for _, earlier := range s.operations {
			if !h.Lossy && earlier.Saw != nil && earlier.Return < h.from(o) && earlier.Saw.Version > o.Saw.Version {
				problems = append(problems, fmt.Sprintf("#%d sees version %d after #%d saw %d", o.Number, o.Saw.Version, earlier.Number, earlier.Saw.Version))
				break
			}
		}
	}
	return problems
}

// checkOrder looks for an order of the operations, each between its call and
// its return, in which a single session would have had these outcomes.
func (h *History) checkOrder(s *session) string {
	model := porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, in, _ any) (bool, any) { return s.(state).step(in.(*Operation)) },
	}
	var list []porcupine.Operation
	for _, o := range s.operations {
		until := o.Return
		if o.Outcome == Unknown {
			until = never
		}
		list = append(list, porcupine.Operation{Input: o, Call: int64(h.from(o)), Return: int64(until)})
	}
	switch porcupine.CheckOperationsTimeout(model, list, checkTime) {
	case porcupine.Illegal:
		return "there is no order in which this can have happened"
	case porcupine.Unknown:
		return fmt.Sprintf("no order was found within %v", checkTime)
	}
	return ""
}
