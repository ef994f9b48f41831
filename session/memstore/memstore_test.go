package memstore

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/storetest"
)

func TestConformance(t *testing.T) {
	var store *Store
	storetest.Run(t, func(*testing.T) session.Store {
		store = New()
		return store
	}, storetest.Options{
		Bubble: true,
		PutRaw: func(id string, value []byte) { putRaw(t, store, id, value) },
	})
}

// The suite in real time, as stores behind a network are tested.
func TestConformanceRealTime(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) session.Store { return New() }, storetest.Options{})
}

func putRaw(t *testing.T, s *Store, id string, value []byte) {
	if err := s.Put(t.Context(), id, 0, session.Entry{Value: value, TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
}

func TestAbandonedSessionsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		most := 0
		for i := range 10000 {
			err := s.Put(t.Context(), strconv.Itoa(i), 0, session.Entry{
				Version:  1,
				Value:    session.AppendHead(nil, 1),
				TTL:      time.Minute,
				IndexKey: "key " + strconv.Itoa(i%500),
				Deadline: time.Now().Add(time.Minute),
			})
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, len(s.sessions))
			time.Sleep(time.Second)
		}
		// Sixty are alive at any time.
		if most > 200 || len(s.index) > 200 {
			t.Errorf("%d sessions and %d index keys were kept, for 60 alive", most, len(s.index))
		}
	})
}

func TestPutRefusesTTL(t *testing.T) {
	s := New()
	if err := s.Put(t.Context(), "id", 0, session.Entry{Version: 1, Value: session.AppendHead(nil, 1)}); err == nil {
		t.Error("an entry without a TTL was stored")
	}
	if err := s.Touch(t.Context(), "id", 1, 0); err == nil {
		t.Error("a touch without a TTL was obeyed")
	}
}

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, New())
}

func BenchmarkPages(b *testing.B) { storetest.BenchPages(b, New()) }
