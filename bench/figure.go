package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// figure is a number of growth that is no load's.
type figure struct {
	part, store, what string
	values            []float64 // one for each round
}

func (g *growth) figure(part, store, what string, value float64) {
	g.say("%s, %s, %s: %.2f", part, store, what, value)
	for i, f := range g.figures {
		if f.part == part && f.store == store && f.what == what {
			g.figures[i].values = append(f.values, value)
			return
		}
	}
	g.figures = append(g.figures, figure{part, store, what, []float64{value}})
}

func (g *growth) writeFigures(b *strings.Builder) {
	if len(g.figures) == 0 {
		return
	}
	b.WriteString("| part | store | | |\n|---|---|---|---|\n")
	for _, f := range g.figures {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", f.part, f.store, f.what, spreadOf(f.values).format("%.2f"))
	}
	b.WriteString("\n")
}

// administer sends a request to the admin API of sessions, and decodes the answer.
func (s *server) administer(ctx context.Context, action string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.admin+"/session/"+action, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers with %s: %s", action, response.Status, text)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

// measureSignOut measures how long it takes to end all sessions of one user, by the
// admin API. None may be left.
func (g *growth) measureSignOut(ctx context.Context) error {
	count := strconv.Itoa(g.userSessions)
	return g.onDepots(ctx, "signout", func(d depot) error {
		for range g.rounds {
			visitors, err := g.fill(ctx, append(d.where, "--sessions", count, "--print", "1", "--name", "alice", "--same")...)
			if err != nil {
				return err
			}
			s, err := g.startDepot(ctx, d, plainSession)
			if err != nil {
				return err
			}
			w := wire{address: s.sites[0]}
			sees := func(v visitor) error {
				answer, _, err := w.get("/page", visitors[0].cookie)
				if err == nil {
					err = v.sees(answer)
				}
				return err
			}
			if err = sees(visitors[0]); err == nil {
				err = g.signOutAll(ctx, d, s)
			}
			if err == nil {
				err = sees(visitor{})
			}
			w.close()
			s.stop()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (g *growth) signOutAll(ctx context.Context, d depot, s *server) error {
	began := time.Now()
	ended := 0
	for cursor := ""; ; {
		var answer struct {
			Ended int
			Next  string
		}
		if err := s.administer(ctx, "end", map[string]string{"subject": "alice", "cursor": cursor}, &answer); err != nil {
			return err
		}
		ended += answer.Ended
		if cursor = answer.Next; cursor == "" {
			break
		}
	}
	took := time.Since(began)
	if ended != g.userSessions {
		return fmt.Errorf("%d sessions have ended of %d", ended, g.userSessions)
	}
	g.figure("signout", d.store, fmt.Sprintf("%s sessions of one user end, s", thousands(g.userSessions)), took.Seconds())
	return nil
}

// measureList measures how long it takes to list the most sessions, page by page, by
// the admin API.
func (g *growth) measureList(ctx context.Context) error {
	n := g.sessions[len(g.sessions)-1]
	return g.onDepots(ctx, "list", func(d depot) error {
		if _, err := g.fill(ctx, append(d.where, "--sessions", strconv.Itoa(n), "--print", "0")...); err != nil {
			return err
		}
		s, err := g.startDepot(ctx, d, plainSession)
		if err != nil {
			return err
		}
		defer s.stop()
		for range g.rounds {
			began := time.Now()
			listed, slowest := 0, time.Duration(0)
			for cursor := ""; ; {
				var page struct {
					Sessions []struct{ ID string }
					Next     string
				}
				asked := time.Now()
				if err := s.administer(ctx, "list", map[string]any{"limit": 1000, "cursor": cursor}, &page); err != nil {
					return err
				}
				slowest = max(slowest, time.Since(asked))
				listed += len(page.Sessions)
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			took := time.Since(began)
			if listed != n {
				return fmt.Errorf("%d sessions are listed of %d", listed, n)
			}
			g.figure("list", d.store, thousands(n)+" sessions are listed, s", took.Seconds())
			g.figure("list", d.store, "the slowest page of 1000, ms", ms(slowest))
		}
		return nil
	})
}

// perUser is how many WebSockets a user has.
const perUser = 100

// measureSockets measures what open WebSockets need of Caddy's memory, without
// sessions and with, and how long it takes until all of a user's are closed when the
// user signs out.
func (g *growth) measureSockets(ctx context.Context) error {
	// Caddy has two for each; the rest is for what else it has.
	if err := allowFiles(uint64(2*g.sockets) + 1000); err != nil {
		g.fail("sockets: %v", err)
		return nil
	}
	for _, session := range []string{"", plainSession} {
		if err := g.socketsOn(ctx, session); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			g.fail("sockets: %v", err)
		}
	}
	return nil
}

// allowFiles makes sure that this program and all that it starts may have as many
// open files.
func allowFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= n {
		return nil
	}
	// Only root may raise the second one.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: max(n, limit.Max)}); err != nil {
		return fmt.Errorf("%d open files are needed and %d allowed (ulimit -n): %w", n, limit.Max, err)
	}
	return nil
}

func (g *growth) socketsOn(ctx context.Context, session string) error {
	store := "embedded"
	if session == "" {
		store = "no sessions"
	}
	s, err := g.startServer(ctx, "sockets", embeddedStore(g.file("sockets")), true, session)
	if err != nil {
		return err
	}
	defer s.stop()
	c := &crowd{address: s.sites[0], store: store}
	guests := make([]*guest, g.sockets/perUser)
	for i := range guests {
		guests[i] = &guest{crowd: c, visitor: visitor{user: "nobody"}, wire: wire{address: c.address}}
		defer guests[i].wire.close()
		if session != "" {
			if err := guests[i].signIn(); err != nil {
				return err
			}
		}
	}
	before, err := s.settled(ctx)
	if err != nil {
		return err
	}
	open := make([]io.ReadCloser, g.sockets)
	failures := make([]error, g.connections)
	var wg sync.WaitGroup
	for worker := range failures {
		wg.Go(func() {
			for i := worker; i < len(open) && failures[worker] == nil && ctx.Err() == nil; i += g.connections {
				open[i], failures[worker] = guests[i/perUser].openWebSocket()
			}
		})
	}
	wg.Wait()
	defer func() {
		for _, ws := range open {
			if ws != nil {
				ws.Close()
			}
		}
	}()
	if err := errors.Join(append(failures, ctx.Err())...); err != nil {
		return err
	}
	after, err := s.settled(ctx)
	if err != nil {
		return err
	}
	g.figure("sockets", store, fmt.Sprintf("memory of each of %s open WebSockets, KiB", thousands(g.sockets)), float64(after-before)/float64(g.sockets)/1024)
	if session == "" {
		return nil
	}
	for i := range min(g.rounds, len(guests)-1) {
		closed, err := closes(open[i*perUser:(i+1)*perUser], guests[i].signOut)
		if err != nil {
			return err
		}
		g.figure("sockets", store, fmt.Sprintf("all %d of a user are closed after a sign-out, ms", perUser), ms(closed))
	}
	return nil
}

// settled returns the memory of Caddy after a garbage collection.
func (s *server) settled(ctx context.Context) (int64, error) {
	if _, err := s.ask(ctx, "/debug/pprof/heap?gc=1&debug=1"); err != nil {
		return 0, err
	}
	return smaps(s.cmd.Process.Pid, "Pss_Anon")
}

// closes returns how long it takes from the start of signing out until all of these
// are closed.
func closes(open []io.ReadCloser, signOut func() error) (time.Duration, error) {
	began := time.Now()
	failures := make([]error, len(open))
	var wg sync.WaitGroup
	for i, ws := range open {
		wg.Go(func() {
			ws.(interface{ SetReadDeadline(time.Time) error }).SetReadDeadline(began.Add(wireTimeout))
			if n, err := io.Copy(io.Discard, ws); n != 0 || isTimeout(err) {
				failures[i] = fmt.Errorf("a WebSocket is still open %v after signing out", wireTimeout)
			}
		})
	}
	err := signOut()
	wg.Wait()
	return time.Since(began), errors.Join(append(failures, err)...)
}

func isTimeout(err error) bool {
	timed, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timed.Timeout()
}
