//go:build unix

package redisstore_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/session/storetest"
)

func benchStore(b *testing.B) (*redisstore.Store, *redistest.Server) {
	server := redistest.Start(b, "--appendfsync", "everysec")
	return open(b, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient}), server
}

// measured runs f and reports what each of its operations has cost Redis.
func measured(b *testing.B, server *redistest.Server, f func(*testing.B)) {
	b.ReportAllocs()
	before := redisCPU(b, server)
	f(b)
	b.ReportMetric(float64((redisCPU(b, server)-before).Microseconds())/float64(b.N), "redis-us/op")
}

// redisCPU is the CPU time that a server has used.
func redisCPU(b *testing.B, server *redistest.Server) (sum time.Duration) {
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(server.Info("cpu", name), 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(seconds * float64(time.Second))
	}
	return sum
}

// benchBody makes a record of about 600 bytes.
var benchBody = strings.Repeat("0123456789", 58)

func BenchmarkGet(b *testing.B) {
	s, server := benchStore(b)
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
		measured(b, server, func(b *testing.B) {
			for b.Loop() {
				get(b)
			}
		})
	})
	b.Run("parallel", func(b *testing.B) {
		measured(b, server, func(b *testing.B) {
			parallel64(b, func(pb *testing.PB) {
				for pb.Next() {
					get(b)
				}
			})
		})
	})
}

// Each goroutine updates a session of its own.
func BenchmarkPut(b *testing.B) {
	s, server := benchStore(b)
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
		measured(b, server, func(b *testing.B) { update(b, b.Loop) })
	})
	b.Run("parallel", func(b *testing.B) {
		measured(b, server, func(b *testing.B) {
			parallel64(b, func(pb *testing.PB) { update(b, pb.Next) })
		})
	})
}

func BenchmarkDeleteMany(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint("single/", n), func(b *testing.B) {
			s, server := benchStore(b)
			measured(b, server, func(b *testing.B) { storetest.BenchMany(b, s, n) })
		})
		b.Run(fmt.Sprint("cluster/", n), func(b *testing.B) {
			cluster := redistest.StartCluster(b, "")
			s := open(b, redisstore.Options{Addresses: cluster.Addrs(), Timeout: patient})
			storetest.BenchMany(b, s, n)
		})
	}
}

// BenchmarkMemory tells what a session takes in Redis: bytes of its record, of
// memory, and of memory with an index entry, for a user with one session.
func BenchmarkMemory(b *testing.B) {
	for _, data := range []int{100, 600, 4000} {
		for _, signedIn := range []bool{false, true} {
			b.Run(fmt.Sprintf("data=%d/signed-in=%t", data, signedIn), func(b *testing.B) {
				s, server := benchStore(b)
				used := func() int {
					n, err := strconv.Atoi(server.Info("memory", "used_memory"))
					if err != nil {
						b.Fatal(err)
					}
					return n
				}
				s.Get(b.Context(), newID())
				e := entry(1, strings.Repeat("x", data))
				before := used()
				parallel64(b, func(pb *testing.PB) {
					e := e
					for pb.Next() {
						if signedIn {
							e.IndexKey, e.Deadline = newID()+newID(), time.Now().Add(time.Hour)
						}
						if err := s.Put(b.Context(), newID(), 0, e); err != nil {
							b.Error(err)
						}
					}
				})
				b.ReportMetric(float64(len(e.Value)), "record-B")
				b.ReportMetric(float64(used()-before)/float64(b.N), "redis-B/session")
			})
		}
	}
}

// parallel64 runs f on 64 goroutines at least.
func parallel64(b *testing.B, f func(*testing.PB)) {
	b.SetParallelism((64 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.RunParallel(f)
}

func BenchmarkPages(b *testing.B) {
	s, _ := benchStore(b)
	storetest.BenchPages(b, s)
}
