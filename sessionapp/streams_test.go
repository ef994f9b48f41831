package sessionapp

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
)

// sessions makes sessions and has them end.
type sessions struct {
	testing.TB
	*session.Manager
	store   session.Store
	streams *Streams
}

var here = session.Site{Scope: session.Scope{Name: "csid", Host: "example.com", Path: "/"}, Realm: "example.com"}

func newSessions(t testing.TB, store session.Store) *sessions {
	t.Helper()
	policy := session.DefaultPolicy()
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		t.Fatal(err)
	}
	s := &sessions{TB: t, store: store, streams: newStreams(store, zap.NewNop())}
	s.Manager, err = session.NewManager(store, policy, protocol, session.Observer{Notify: func(n session.Notice) {
		switch {
		case n.Ends():
			s.streams.ended(n.ID)
		case n.Event == session.EventRenewed:
			s.streams.renewed(n.ID, n.Epoch)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.streams.stop)
	return s
}

func (s *sessions) commit(its *session.Session, p session.Patch) *session.Session {
	s.Helper()
	result, err := s.Commit(s.Context(), here, its, &p, time.Now())
	if err != nil {
		s.Fatal(err)
	}
	return result.Session
}

// interruption notes when it happened.
type interruption chan time.Time

func (i interruption) Interrupt() {
	select {
	case i <- time.Now():
	default:
	}
}

func TestWhenStreamsAreInterrupted(t *testing.T) {
	const never = -1
	type states struct{ receiving, sending, channel bool }
	for _, tt := range []struct {
		name                string
		state               states
		end, renewal, elses time.Duration // elses: told by nobody
	}{
		{"waits for the application", states{}, never, never, never},
		{"is received", states{receiving: true}, patience, patience, lookEvery + patience},
		{"is sent", states{sending: true}, patience, patience, lookEvery + patience},
		{"is a channel", states{sending: true, channel: true}, 0, handover, lookEvery},
	} {
		for _, event := range []struct {
			name  string
			want  time.Duration
			patch session.Patch
		}{
			{"end", tt.end, session.Patch{Destroy: true}},
			{"renewal", tt.renewal, session.Patch{Renew: true}},
			{"change", never, session.Patch{Set: []map[string]any{{"b": 1}}}},
			{"unnoticed end", tt.elses, session.Patch{}},
		} {
			t.Run(tt.name+", "+event.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSessions(t, memstore.New())
					defer s.store.Close()
					its := s.commit(nil, session.Patch{Set: []map[string]any{{"a": 1}}})
					at, stream := make(interruption, 1), new(Stream)
					s.streams.Add(stream, at, its, tt.state.receiving)
					defer s.streams.Remove(stream)
					if tt.state.sending {
						s.streams.Sending(stream, tt.state.channel)
					}
					start := time.Now()
					if event.name == "unnoticed end" {
						s.store.Delete(t.Context(), its.ID(), 0)
					} else {
						s.commit(its, event.patch)
					}
					select {
					case when := <-at:
						if took := when.Sub(start); took != event.want {
							t.Errorf("interrupted after %v, want %v", took, event.want)
						}
					case <-time.After(time.Minute):
						if event.want != never {
							t.Error("not interrupted")
						}
					}
				})
			})
		}
	}
}

// One that waits is let be only until it is answered.
func TestAnsweredAfterTheEnd(t *testing.T) {
	for _, channel := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSessions(t, memstore.New())
			defer s.store.Close()
			its := s.commit(nil, session.Patch{Set: []map[string]any{{"a": 1}}})
			at, stream := make(interruption, 1), new(Stream)
			s.streams.Add(stream, at, its, true)
			s.commit(its, session.Patch{Destroy: true})
			s.streams.Received(stream)
			time.Sleep(time.Minute)
			start, want := time.Now(), patience
			if channel {
				want = 0
			}
			s.streams.Sending(stream, channel)
			if took := (<-at).Sub(start); took != want {
				t.Errorf("channel %v: interrupted after %v", channel, took)
			}
			s.streams.Remove(stream)
		})
	}
}

// Many streams of several sessions come and go, and each ends with its own.
func TestStreamsOfManySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t, memstore.New())
		defer s.store.Close()
		a, b := s.commit(nil, session.Patch{Set: []map[string]any{{"a": 1}}}), s.commit(nil, session.Patch{Set: []map[string]any{{"b": 1}}})
		var streams [12]Stream
		var at [len(streams)]interruption
		for i := range streams {
			at[i] = make(interruption, 1)
			s.streams.Add(&streams[i], at[i], []*session.Session{a, b}[i%2], false)
			s.streams.Sending(&streams[i], true)
		}
		if n := s.streams.len(); n != len(streams) {
			t.Errorf("%d streams", n)
		}
		for _, i := range []int{0, 4, 10} { // the last, one in the middle, and the first of a
			s.streams.Remove(&streams[i])
		}
		s.streams.Remove(&streams[0])
		renewed := s.commit(a, session.Patch{Renew: true})
		s.streams.Move(&streams[2], renewed) // it was its response
		time.Sleep(time.Minute)
		s.streams.Move(&streams[5], renewed)
		s.commit(b, session.Patch{Destroy: true})
		synctest.Wait()
		for i := range at {
			if got, want := len(at[i]) == 1, i == 6 || i == 8 || i%2 == 1 && i != 5; got != want {
				t.Errorf("stream %d: interrupted %v", i, got)
			}
		}
		for i := range streams {
			s.streams.Remove(&streams[i])
		}
		if n := len(s.streams.byID); n > 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

// Each request with a session pays this.
func BenchmarkStream(b *testing.B) {
	s := newSessions(b, memstore.New())
	defer s.store.Close()
	its := s.commit(nil, session.Patch{Set: []map[string]any{{"a": 1}}})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		stream, at := new(Stream), make(interruption, 1)
		for p.Next() {
			s.streams.Add(stream, at, its, false)
			s.streams.Sending(stream, false)
			s.streams.Remove(stream)
		}
	})
}
