package history

import (
	"strings"
	"testing"
	"time"
)

// The checker finds what must never happen, and nothing else.
func TestHistoryChecker(t *testing.T) {
	// Times are milliseconds; the session is born at 0 with version 1, a=1.
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	const first, second = "id.one", "id.two"
	born := Operation{Kind: Create, Call: ms(0), Return: ms(1), Token: first, Saw: &Contents{Version: 1, Values: [3]string{"1"}}}
	reads := func(call int, token string, saw *Contents) Operation {
		return Operation{Kind: Read, Call: ms(call), Return: ms(call + 1), Token: token, Saw: saw}
	}
	live := func(version uint64, user string, values ...string) *Contents {
		c := &Contents{Version: version, User: user}
		copy(c.Values[:], values)
		return c
	}
	sets := func(call int, value string) Operation {
		return Operation{Kind: Set, Call: ms(call), Return: ms(call + 5), Token: first, Value: value}
	}
	with := func(o Operation, change func(*Operation)) Operation { change(&o); return o }
	lost := func(o Operation) Operation {
		return with(o, func(o *Operation) { o.Outcome, o.Next = Unknown, "" })
	}
	at := func(version uint64, o Operation) Operation {
		return with(o, func(o *Operation) { o.Version = version })
	}
	safe := func(o Operation) Operation { return with(o, func(o *Operation) { o.Safe = true }) }
	refusal := func(o Operation) Operation { return with(o, func(o *Operation) { o.Outcome = Refused }) }
	ends := Operation{Kind: Destroy, Call: ms(10), Return: ms(12), Token: first}
	renews := Operation{Kind: Renew, Call: ms(10), Return: ms(12), Token: first, Next: second}
	signs := Operation{Kind: SignIn, Call: ms(10), Return: ms(12), Token: first, Next: second, User: "alice"}
	leaves := Operation{Kind: SignOut, Call: ms(20), Return: ms(22), Token: second, Next: "other.x", Version: 2}
	late := with(born, func(o *Operation) { o.Call, o.Return = ms(25), ms(26) })
	revokes := Operation{Session: "other", Kind: Revoke, Call: ms(20), Return: ms(22), Token: "other.y", User: "alice", Version: 1}
	other := Operation{Session: "other", Kind: Create, Call: ms(0), Return: ms(1), Token: "other.y", Saw: live(1, "alice")}

	for _, test := range []struct {
		name  string
		want  string // part of what is found; empty means that all is well
		stale time.Duration
		lossy bool
		list  []Operation
	}{
		{name: "reads", list: []Operation{born, reads(5, first, live(1, "", "1")), reads(6, "id.no", nil)}},
		{name: "a write", list: []Operation{born, sets(5, "2"), reads(20, first, live(2, "", "2"))}},
		{name: "a write seen early", list: []Operation{born, sets(5, "2"), reads(6, first, live(2, "", "2")), reads(20, first, live(2, "", "2"))}},
		{name: "a lost write", want: "no order", list: []Operation{born, sets(5, "2"), reads(20, first, live(1, "", "1"))}},
		{name: "a lost write under another one", want: "no order", list: []Operation{born, sets(5, "2"), at(1, with(sets(15, "3"), func(o *Operation) { o.Key = 1 })), reads(30, first, live(2, "", "1", "3"))}},
		{name: "half of two writes", want: "no order", list: []Operation{born, sets(5, "2"), with(sets(6, "3"), func(o *Operation) { o.Key = 1 }), reads(30, first, live(3, "", "1", "3"))}},
		{name: "a write that nobody made", want: "no order", list: []Operation{born, reads(5, first, live(1, "", "7"))}},
		{name: "a version that goes back", want: "sees version 1 after", list: []Operation{born, sets(5, "2"), reads(6, first, live(2, "", "2")), reads(9, first, live(1, "", "1"))}},
		{name: "an unknown write that took effect", list: []Operation{born, lost(sets(5, "2")), reads(20, first, live(1, "", "1")), reads(50, first, live(2, "", "2"))}},
		{name: "an unknown write that did not", list: []Operation{born, lost(sets(5, "2")), reads(20, first, live(1, "", "1"))}},
		{name: "an unknown write that is taken back", want: "no order", list: []Operation{born, lost(sets(5, "2")), reads(20, first, live(2, "", "2")), sets(30, "3"), reads(50, first, live(4, "", "2"))}},

		{name: "if-version", list: []Operation{born, at(1, sets(5, "2")), refusal(at(1, sets(20, "3"))), reads(30, first, live(2, "", "2"))}},
		{name: "two winners", want: "no order", list: []Operation{born, at(1, sets(5, "2")), at(1, sets(6, "3")), reads(30, first, live(3, "", "3"))}},
		{name: "a refusal for nothing", want: "no order", list: []Operation{born, refusal(at(1, sets(5, "2"))), reads(30, first, live(1, "", "1"))}},
		{name: "refused and done", want: "no order", list: []Operation{born, sets(2, "2"), refusal(at(1, sets(10, "3"))), reads(30, first, live(3, "", "3"))}},

		{name: "an end", list: []Operation{born, ends, reads(11, first, live(1, "", "1")), reads(20, first, nil)}},
		{name: "a revived session", want: "alive 8ms after", list: []Operation{born, ends, reads(20, first, live(1, "", "1"))}},
		{name: "revived between", want: "no order", list: []Operation{born, ends, reads(10, first, nil), reads(11, first, nil), with(reads(11, first, live(1, "", "1")), func(o *Operation) { o.Call = ms(12) })}},
		{name: "revived by a slow write", want: "alive", list: []Operation{born, ends, sets(9, "2"), reads(20, first, live(2, "", "2"))}},
		{name: "an unknown end", list: []Operation{born, lost(ends), reads(20, first, live(1, "", "1")), reads(30, first, nil)}},
		{name: "an unknown end that is taken back", want: "no order", list: []Operation{born, lost(ends), reads(20, first, nil), reads(30, first, live(1, "", "1"))}},
		{name: "a forgotten session", want: "no order", list: []Operation{born, reads(20, first, nil)}},
		{name: "a session of nobody", want: "no order", list: []Operation{reads(20, first, live(1, "", "1"))}},

		{name: "a renewal", list: []Operation{born, renews, reads(20, second, live(2, "", "1")), reads(20, first, nil)}},
		{name: "an old secret", want: "replaced 8ms before", list: []Operation{born, renews, reads(20, first, live(2, "", "1"))}},
		{name: "a write after a renewal is dropped", list: []Operation{born, renews, sets(20, "2"), reads(30, second, live(2, "", "1"))}},
		{name: "a write after a renewal is not dropped", want: "no order", list: []Operation{born, renews, sets(20, "2"), reads(30, second, live(3, "", "2"))}},
		{name: "a renewal without a cookie", want: "no order", list: []Operation{born, with(renews, func(o *Operation) { o.Next = "" }), reads(20, first, live(2, "", "1"))}},
		{name: "an unknown renewal", list: []Operation{born, lost(renews), reads(20, first, live(1, "", "1")), reads(30, first, nil)}},

		{name: "sign in and out", list: []Operation{born, signs, reads(15, second, live(2, "alice", "1")), leaves, reads(30, second, nil)}},
		{name: "the secret from before", want: "replaced", list: []Operation{born, signs, reads(15, first, live(2, "alice", "1"))}},
		{name: "signed out but alive", want: "alive", list: []Operation{born, signs, leaves, reads(30, second, live(2, "alice", "1"))}},
		{name: "signed in again", list: []Operation{born, signs, with(signs, func(o *Operation) { o.Call, o.Return, o.Token, o.Next = ms(20), ms(21), second, "" }), reads(30, second, live(3, "alice", "1"))}},

		{name: "revoked", list: []Operation{born, signs, other, revokes, reads(30, second, nil), with(reads(30, "other.y", live(1, "alice")), func(o *Operation) { o.Session = "other" })}},
		{name: "not revoked", want: "no order", list: []Operation{born, signs, other, revokes, reads(30, second, live(2, "alice", "1"))}},
		{name: "not revoked, but that was refused", list: []Operation{born, signs, other, refusal(with(revokes, func(o *Operation) { o.Version = 7 })), reads(30, second, live(2, "alice", "1"))}},
		{name: "not revoked, as nobody was signed in", list: []Operation{born, other, revokes, reads(30, first, live(1, "", "1"))}},
		{name: "not revoked, as it is newer", list: []Operation{late, with(signs, func(o *Operation) { o.Call, o.Return = ms(27), ms(28) }), other, lost(revokes), revokes, reads(30, second, live(2, "alice", "1"))}},
		{name: "unknown whether revoked", list: []Operation{born, signs, other, lost(revokes), reads(30, second, live(2, "alice", "1")), reads(40, second, nil)}},

		{name: "a cached answer", stale: ms(50), list: []Operation{born, sets(5, "2"), safe(reads(20, first, live(1, "", "1")))}},
		{name: "a cached answer of long ago", stale: ms(50), want: "no order", list: []Operation{born, sets(5, "2"), safe(reads(90, first, live(1, "", "1")))}},
		{name: "a cached answer to a POST", stale: ms(50), want: "no order", list: []Operation{born, sets(5, "2"), reads(20, first, live(1, "", "1"))}},
		{name: "cached that there is nobody", stale: ms(50), want: "no order", list: []Operation{born, renews, safe(reads(20, second, nil))}},
		{name: "cached after its end", stale: ms(50), list: []Operation{born, ends, safe(reads(40, first, live(1, "", "1")))}},
		{name: "cached long after its end", stale: ms(50), want: "alive", list: []Operation{born, ends, safe(reads(90, first, live(1, "", "1")))}},

		{name: "a lost write in a lossy store", lossy: true, list: []Operation{born, sets(5, "2"), reads(12, first, live(2, "", "2")), reads(20, first, live(1, "", "1"))}},
		{name: "revived in a lossy store", lossy: true, want: "alive", list: []Operation{born, ends, reads(20, first, live(1, "", "1"))}},
		{name: "an old secret in a lossy store", lossy: true, want: "replaced", list: []Operation{born, renews, reads(20, first, live(1, "", "1"))}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &History{Stale: test.stale, Lossy: test.lossy}
			for i, o := range test.list {
				o.Number = i
				if o.Session == "" {
					o.Session = "id"
				}
				if o.Outcome == "" {
					o.Outcome = Done
				}
				h.Operations = append(h.Operations, &o)
			}
			found := strings.Join(h.Check(), "\n")
			if (test.want == "") != (found == "") || !strings.Contains(found, test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}
