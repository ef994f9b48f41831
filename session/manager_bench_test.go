package session_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
)

func benchManager(b *testing.B, store session.Store, plain bool) (*session.Manager, *session.Session) {
	policy := session.DefaultPolicy()
	policy.Plain = plain
	m := newManager(b, store, policy, session.Observer{})
	data := map[string]any{"user": "alice"}
	for i := range 20 {
		data[fmt.Sprintf("key%02d", i)] = fmt.Sprintf("value %05d", i)
	}
	r, err := m.Commit(context.Background(), site, nil, &session.Patch{Set: []map[string]any{data}}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	return m, r.Session
}

func BenchmarkLoad(b *testing.B) {
	for name, plain := range map[string]bool{"sealed": false, "plain": true} {
		b.Run(name, func(b *testing.B) {
			m, s := benchManager(b, memstore.New(), plain)
			tokens, now := []session.Token{s.Token()}, time.Now()
			b.ReportAllocs()
			for b.Loop() {
				if got, _, err := m.Load(context.Background(), site, tokens, now); got == nil || err != nil {
					b.Fatal(got, err)
				}
			}
		})
	}
}

func BenchmarkCommit(b *testing.B) {
	for name, plain := range map[string]bool{"sealed": false, "plain": true} {
		b.Run(name, func(b *testing.B) {
			m, s := benchManager(b, memstore.New(), plain)
			p := &session.Patch{Set: []map[string]any{{"key03": "new"}}}
			b.ReportAllocs()
			for b.Loop() {
				r, err := m.Commit(context.Background(), site, s, p, time.Now())
				if err != nil || r.Session == nil {
					b.Fatal(r, err)
				}
				s = r.Session
			}
		})
	}
}
