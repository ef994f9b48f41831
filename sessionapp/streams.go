package sessionapp

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
)

const (
	// lookEvery is how often the store is asked about sessions with streams
	// that last: for those that expire, and for those that another process ends
	// or renews, if it can't tell or its message is lost.
	lookEvery = 3 * time.Second

	// patience is how long a request or a response gets that may be just a page
	// on its way, such as those of a user who signs out. What has been there for
	// longer lasts.
	patience = 1500 * time.Millisecond

	// handover is how long a channel gets after a renewal: the browser connects
	// again at once, and has the new secret by then.
	handover = 500 * time.Millisecond

	// listenAgain is the pause after listening to other processes has failed.
	// It doubles up to listenSeldom: it may not be allowed to.
	listenAgain  = time.Second
	listenSeldom = time.Minute

	// messageLimit bounds the messages of other processes that wait, and those
	// to them. What is above it is found out by looking.
	messageLimit = 4096

	announceTimeout = 2 * time.Second
)

// Streams are the requests with a session that this process serves, and their
// responses. They are interrupted when their session ends, or is renewed, wherever
// that happens.
type Streams struct {
	store session.Store
	log   *zap.Logger

	mu   sync.Mutex
	byID map[string]*Stream // the first one of each session

	looking, listening, announcing sync.Once
	heard, announce                chan string
	ctx                            context.Context
	stop                           context.CancelFunc
}

// Stream is one of them. The zero value is for Add. It must not be copied.
type Stream struct {
	closing sync.Mutex // held while it is interrupted
	of      Interrupter

	// What follows is guarded by Streams.mu.
	id         string
	epoch      uint64
	since      time.Time
	expires    time.Time // if the session is not used, as far as that is known
	deadline   time.Time // of the session
	next, prev *Stream   // of the same session
	added      bool
	receiving  bool // a part of the request is still to come
	sending    bool // the response has begun
	channel    bool // the response is a channel: see Sending
	ended      bool // the session has ended, or this epoch of it
	renewed    bool // it is the epoch
}

// Interrupter can be interrupted from any goroutine, and more than once.
type Interrupter interface{ Interrupt() }

func newStreams(store session.Store, log *zap.Logger) *Streams {
	s := &Streams{
		store: store, log: log, byID: map[string]*Stream{},
		heard: make(chan string, messageLimit), announce: make(chan string, messageLimit),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Add registers a request with a session. receiving: a part of it is still to
// come. of is interrupted on a goroutine of its own when the session ends and the
// stream is on its way in any direction. It costs no allocation.
func (s *Streams) Add(stream *Stream, of Interrupter, its *session.Session, receiving bool) {
	stream.of = of
	s.mu.Lock()
	stream.since, stream.receiving = time.Now(), receiving
	s.link(stream, its)
	s.mu.Unlock()
	s.looking.Do(func() { go s.look() })
}

// link puts a stream among those of a session.
func (s *Streams) link(stream *Stream, its *session.Session) {
	stream.id, stream.epoch, stream.expires, stream.deadline = its.ID(), its.Epoch(), its.Expires(), its.Deadline()
	stream.added, stream.ended, stream.renewed = true, false, false
	first := s.byID[stream.id]
	stream.prev, stream.next = nil, first
	if first != nil {
		first.prev = stream
	}
	s.byID[stream.id] = stream
}

func (s *Streams) unlink(stream *Stream) {
	switch {
	case !stream.added:
		return
	case stream.prev != nil:
		stream.prev.next = stream.next
	case stream.next != nil:
		s.byID[stream.id] = stream.next
	default:
		delete(s.byID, stream.id)
	}
	if stream.next != nil {
		stream.next.prev = stream.prev
	}
	stream.added = false
}

// Move makes a registered stream one of another session, or of another epoch: its
// response gives that to the browser.
func (s *Streams) Move(stream *Stream, to *session.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream.added && (stream.id != to.ID() || stream.epoch != to.Epoch()) {
		s.unlink(stream)
		s.link(stream, to)
	}
}

// Remove forgets a stream, if it is registered: it has ended, or belongs to no
// session any more. It is not interrupted after that.
func (s *Streams) Remove(stream *Stream) {
	s.mu.Lock()
	s.unlink(stream)
	s.mu.Unlock()
	stream.closing.Lock() // waits for an interruption under way
	defer stream.closing.Unlock()
}

// Received tells that the whole request is there.
func (s *Streams) Received(stream *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream.receiving = false
}

// Sending tells that the response has begun, or what it is: a channel stays open
// for as long as both sides like, a WebSocket or an event stream.
func (s *Streams) Sending(stream *Stream, channel bool) {
	s.mu.Lock()
	stream.sending, stream.channel = true, stream.channel || channel
	if stream.added && stream.ended {
		s.schedule(stream)
	}
	s.mu.Unlock()
	if channel {
		s.startListening()
	}
}

// schedule interrupts a stream whose session has ended, when it is time. One that
// waits for its application is left alone until it is answered.
func (s *Streams) schedule(stream *Stream) {
	wait := patience
	switch {
	case stream.channel && stream.renewed:
		wait = handover
	case stream.channel:
		wait = 0
	case !stream.receiving && !stream.sending:
		return
	}
	time.AfterFunc(wait, func() { s.interrupt(stream) })
}

func (s *Streams) interrupt(stream *Stream) {
	stream.closing.Lock() // not s.mu: TLS says good-bye, and the peer may not listen
	defer stream.closing.Unlock()
	s.mu.Lock()
	due := stream.added && stream.ended && (stream.receiving || stream.sending)
	s.mu.Unlock()
	if due {
		stream.of.Interrupt()
	}
}

// lasting returns the sessions with streams that last, and how many these are.
func (s *Streams) lasting() (ids []string, streams int) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, stream := range s.byID {
		before := streams
		for ; stream != nil; stream = stream.next {
			if stream.channel || (stream.receiving || stream.sending) && now.Sub(stream.since) > patience {
				streams++
			}
		}
		if streams > before {
			ids = append(ids, id)
		}
	}
	return ids, streams
}

func (s *Streams) len() int {
	_, streams := s.lasting()
	return streams
}

// close closes the channels that are left when no configuration has the store any
// more: nobody would hear of it when their sessions end.
func (s *Streams) close() {
	s.stop()
	ids, _ := s.lasting()
	for _, id := range ids {
		s.end(id, func(stream *Stream) bool { return stream.channel }, false)
	}
}

// ended ends the streams of a session that this process has ended, and renewed
// those of the epochs before the one given. Both tell the other processes.
func (s *Streams) ended(id string) {
	s.end(id, func(*Stream) bool { return true }, false)
	s.notify(id)
}

func (s *Streams) renewed(id string, epoch uint64) {
	s.end(id, func(stream *Stream) bool { return stream.epoch < epoch }, true)
	s.notify(id)
}

func (s *Streams) notify(id string) {
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

// end ends those streams of a session for which has returns true. It does not wait
// for that.
func (s *Streams) end(id string, has func(*Stream) bool, renewed bool) {
	n := 0
	s.mu.Lock()
	for stream := s.byID[id]; stream != nil; stream = stream.next {
		if !stream.ended && has(stream) {
			stream.ended, stream.renewed = true, renewed
			s.schedule(stream)
			n++
		}
	}
	s.mu.Unlock()
	if n > 0 {
		s.log.Debug("closing what was opened with a session that has ended or was renewed",
			zap.String("session", id), zap.Bool("renewed", renewed), zap.Int("requests", n))
	}
}

// ask ends the streams of a session by what the store says.
func (s *Streams) ask(id string) {
	now := time.Now()
	e, err := session.GetHeader(s.ctx, s.store, id)
	var info session.Info
	if err == nil {
		info, err = session.Inspect(id, e, now)
	}
	if errors.Is(err, session.ErrNotFound) {
		// It has ended, or nobody has used it: then a request under way, which is a
		// use itself, goes on.
		s.end(id, func(stream *Stream) bool {
			unused := !now.Before(stream.expires) && now.Before(stream.deadline)
			return stream.channel || !unused
		}, false)
		return
	}
	if err != nil {
		return // what can't be told keeps its streams
	}
	epoch, _ := session.EpochOf(e) // which can be read, since Inspect can
	s.mu.Lock()
	for stream := s.byID[id]; stream != nil; stream = stream.next {
		stream.expires, stream.deadline = info.Expires, info.Deadline
	}
	s.mu.Unlock()
	s.end(id, func(stream *Stream) bool { return stream.epoch < epoch }, true)
}

// look asks the store about the sessions with streams that last, one after the
// other.
func (s *Streams) look() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(lookEvery):
		}
		ids, _ := s.lasting()
		if ids != nil {
			s.startListening()
		}
		for _, id := range ids {
			if s.ctx.Err() != nil {
				return
			}
			s.ask(id)
		}
	}
}

// startListening is not called before something lasts: for pages it is not worth
// a connection.
func (s *Streams) startListening() {
	s.listening.Do(func() {
		if notifier, ok := session.As[session.Notifier](s.store); ok {
			go s.listen(notifier)
			go s.follow()
		}
	})
}

// listen hears of sessions that other processes end or renew.
func (s *Streams) listen(notifier session.Notifier) {
	for pause := listenAgain; ; {
		start := time.Now()
		err := notifier.Listen(s.ctx, s.hear)
		if s.ctx.Err() != nil {
			return
		}
		s.log.Debug("can't hear of sessions that other processes end or renew; asking the store now and then", zap.Error(err))
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

// hear takes a message, which may be about what this process has done itself.
func (s *Streams) hear(id string) {
	s.mu.Lock()
	stream := s.byID[id]
	for stream != nil && stream.ended {
		stream = stream.next
	}
	s.mu.Unlock()
	if stream == nil {
		return
	}
	select {
	case s.heard <- id:
	default:
	}
}

// follow asks the store what has become of the sessions that were heard of.
func (s *Streams) follow() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case id := <-s.heard:
			s.ask(id)
		}
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
				s.log.Debug("telling other processes what became of a session", zap.String("session", id), zap.Error(err))
			}
			cancel()
		}
	}
}
