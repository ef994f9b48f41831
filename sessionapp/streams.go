package sessionapp

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
)

const (
	// lookEvery is how often the store is asked about sessions with open
	// streams: for those that expire, and for those that another process
	// ends, if it can't tell or its message is lost.
	lookEvery = 3 * time.Second

	// patience is how long a response gets that may be just a page on its way,
	// such as those of a user who signs out.
	patience = 1500 * time.Millisecond

	// listenAgain is the pause after listening to other processes has failed.
	// It doubles up to listenSeldom: it may not be allowed to.
	listenAgain  = time.Second
	listenSeldom = time.Minute

	// announceLimit bounds the messages to other processes that wait. What is
	// above it they find out by looking.
	announceLimit = 4096

	announceTimeout = 2 * time.Second
)

// Streams are the WebSockets and event streams of a store's sessions that this
// process holds open. They are closed when their session ends, wherever that
// happens.
type Streams struct {
	store session.Store
	log   *zap.Logger

	mu   sync.Mutex
	byID map[string]map[*Stream]struct{}
	size int

	start, announcing sync.Once
	announce          chan string
	ctx               context.Context
	stop              context.CancelFunc
}

// Stream is one of them.
type Stream struct {
	id      string
	patient bool

	mu   sync.Mutex
	shut func() // nil once it has ended by itself
}

func newStreams(store session.Store, log *zap.Logger) *Streams {
	s := &Streams{store: store, log: log, byID: map[string]map[*Stream]struct{}{}, announce: make(chan string, announceLimit)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Add registers what is open for the session with the id. When the session
// ends, shut is called on a goroutine of its own; a patient stream may be just
// a page on its way, and has some time to end by itself. The first stream
// starts the look-out for sessions that end elsewhere.
func (s *Streams) Add(id string, patient bool, shut func()) *Stream {
	stream := &Stream{id: id, patient: patient, shut: shut}
	s.mu.Lock()
	all := s.byID[id]
	if all == nil {
		all = map[*Stream]struct{}{}
		s.byID[id] = all
	}
	all[stream] = struct{}{}
	s.size++
	s.mu.Unlock()
	s.start.Do(func() {
		go s.look()
		if notifier, ok := session.As[session.Notifier](s.store); ok {
			go s.listen(notifier)
		}
	})
	return stream
}

// Remove forgets a stream that has ended. Its shut is not called after that.
func (s *Streams) Remove(stream *Stream) {
	s.mu.Lock()
	if all := s.byID[stream.id]; all != nil {
		if _, there := all[stream]; there {
			delete(all, stream)
			s.size--
		}
		if len(all) == 0 {
			delete(s.byID, stream.id)
		}
	}
	s.mu.Unlock()
	stream.mu.Lock()
	stream.shut = nil
	stream.mu.Unlock()
}

func (s *Streams) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// ended shuts the streams of a session that this process has ended, and
// tells the other processes.
func (s *Streams) ended(id string) {
	s.shut(id)
	notifier, ok := session.As[session.Notifier](s.store)
	if !ok {
		return
	}
	s.announcing.Do(func() { go s.tell(notifier) })
	select {
	case s.announce <- id:
	default:
	}
}

// shut closes the streams of a session. It does not wait for that.
func (s *Streams) shut(id string) {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.byID[id]))
	s.mu.Unlock()
	for _, stream := range all {
		if stream.patient {
			time.AfterFunc(patience, stream.close)
		} else {
			go stream.close() // TLS says good-bye, and the peer may not listen
		}
	}
	if len(all) > 0 {
		s.log.Debug("closing connections of a session that has ended", zap.String("session", id), zap.Int("connections", len(all)))
	}
}

func (s *Stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut != nil {
		s.shut()
		s.shut = nil
	}
}

// look asks the store about the sessions with open streams, one after the
// other.
func (s *Streams) look() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(lookEvery):
		}
		s.mu.Lock()
		ids := slices.Collect(maps.Keys(s.byID))
		s.mu.Unlock()
		for _, id := range ids {
			if s.ctx.Err() != nil {
				return
			}
			// What can't be told keeps its streams.
			if e, err := s.store.Get(s.ctx, id); errors.Is(err, session.ErrNotFound) || err == nil && session.Replaced(e.Value) {
				s.shut(id)
			}
		}
	}
}

// listen hears of sessions that other processes end.
func (s *Streams) listen(notifier session.Notifier) {
	for pause := listenAgain; ; {
		start := time.Now()
		err := notifier.Listen(s.ctx, s.shut)
		if s.ctx.Err() != nil {
			return
		}
		s.log.Debug("can't hear of sessions that other processes end; asking the store now and then", zap.Error(err))
		if time.Since(start) > listenSeldom {
			pause = listenAgain
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, listenSeldom)
	}
}

// tell sends what waits to be announced.
func (s *Streams) tell(notifier session.Notifier) {
	for {
		select {
		case <-s.ctx.Done():
			return
		case id := <-s.announce:
			ctx, cancel := context.WithTimeout(s.ctx, announceTimeout)
			if err := notifier.Notify(ctx, id); err != nil {
				s.log.Debug("telling other processes of the end of a session", zap.String("session", id), zap.Error(err))
			}
			cancel()
		}
	}
}
