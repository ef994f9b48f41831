package redisstore_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

func benchStore(b *testing.B) *redisstore.Store {
	server := redistest.Start(b, "--appendonly", "no")
	return open(b, redisstore.Options{Addresses: []string{"unix/" + server.Socket}, Timeout: patient})
}

// benchBody makes a record of about 600 bytes.
var benchBody = strings.Repeat("0123456789", 58)

func BenchmarkGet(b *testing.B) {
	s := benchStore(b)
	id := newID()
	if err := s.Put(b.Context(), id, 0, entry(1, benchBody)); err != nil {
		b.Fatal(err)
	}
	get := func(b *testing.B) {
		if _, err := s.Get(b.Context(), id); err != nil {
			b.Error(err)
		}
	}
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			get(b)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		parallel64(b, func(pb *testing.PB) {
			for pb.Next() {
				get(b)
			}
		})
	})
}

// Each goroutine updates a session of its own.
func BenchmarkPut(b *testing.B) {
	s := benchStore(b)
	update := func(b *testing.B, next func() bool) {
		id := newID()
		if err := s.Put(b.Context(), id, 0, entry(1, benchBody)); err != nil {
			b.Error(err)
			return
		}
		e := entry(1, benchBody)
		for next() {
			v := e.Version
			e.Version++
			session.AppendHead(e.Value[:0], e.Version)
			if err := s.Put(b.Context(), id, v, e); err != nil {
				b.Error(err)
				return
			}
		}
	}
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		update(b, b.Loop)
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		parallel64(b, func(pb *testing.PB) { update(b, pb.Next) })
	})
}

// parallel64 runs f on 64 goroutines at least.
func parallel64(b *testing.B, f func(*testing.PB)) {
	b.SetParallelism((64 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.RunParallel(f)
}
