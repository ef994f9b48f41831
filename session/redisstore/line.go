package redisstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/redis/rueidis"
)

var (
	errNoRESP3     = errors.New("the server speaks RESP2")
	errNotTracking = errors.New("CLIENT TRACKINGINFO says that tracking is off")
)

// line is one tracking connection.
type line struct {
	address string
	client  rueidis.DedicatedClient
}

// listen makes the tracking connection to one server.
func (t *tracker) listen(address string, client rueidis.Client) error {
	dedicated, _ := client.Dedicate()
	ended := dedicated.SetOnInvalidations(t.changed) // before there is anything to miss
	ctx, cancel := context.WithTimeout(t.ctx, trackPatience)
	defer cancel()
	err := dedicated.Do(ctx, dedicated.B().Arbitrary("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", t.prefix).Build()).Error()
	if err == nil {
		err = tracks(ctx, dedicated)
	}
	if err != nil {
		dedicated.Close()
		return err
	}
	l := &line{address: address, client: dedicated}
	t.mu.Lock()
	t.lines[address] = l
	t.mu.Unlock()
	t.running.Go(func() {
		for range ended { // it is closed when changed is not called any more
		}
		t.lost(l)
		dedicated.Close() // gives its place in the pool back
	})
	return nil
}

// tracks asks a server whether it announces changes on this connection. Over
// RESP2 it agrees to, but never does: there the answer is no map.
func tracks(ctx context.Context, client rueidis.DedicatedClient) error {
	answer, err := client.Do(ctx, client.B().Arbitrary("CLIENT", "TRACKINGINFO").Build()).ToMessage()
	if err != nil {
		return err
	}
	if !answer.IsMap() {
		return errNoRESP3
	}
	info, err := answer.AsMap()
	if err != nil {
		return err
	}
	state := info["flags"]
	flags, err := state.AsStrSlice()
	if err != nil || !slices.Contains(flags, "on") || !slices.Contains(flags, "bcast") {
		return errNotTracking
	}
	return nil
}

// changed is told which keys have changed, nil for all.
func (t *tracker) changed(keys []rueidis.RedisMessage) {
	if keys == nil {
		t.cache.Drop()
		return
	}
	for i := range keys {
		key, err := keys[i].ToString()
		if err != nil {
			t.cache.Drop()
			return
		}
		if id, ok := strings.CutPrefix(key, t.prefix); ok && len(id) == idSize { // else it is an index
			t.cache.Invalidate(id)
		}
	}
}

// ping lets go of the lines on which the server does not say that it announces
// changes.
func (t *tracker) ping() {
	ctx, cancel := context.WithTimeout(t.ctx, trackPatience)
	defer cancel()
	var wg sync.WaitGroup
	for _, l := range t.current() {
		wg.Go(func() {
			if tracks(ctx, l.client) != nil {
				t.lost(l)
				l.client.Close()
			}
		})
	}
	wg.Wait()
}

// lost drops the cache at once if the line was in use.
func (t *tracker) lost(l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines[l.address] == l {
		delete(t.lines, l.address)
		t.turnOff()
	}
}

// closeLines ends the lines to all but these servers. Whoever is none of them
// may have been one a moment ago.
func (t *tracker) closeLines(but map[string]rueidis.Client) {
	for _, l := range t.current() {
		if _, keep := but[l.address]; !keep {
			t.lost(l)
			l.client.Close()
		}
	}
}

func (t *tracker) current() []*line {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := make([]*line, 0, len(t.lines))
	for _, l := range t.lines {
		lines = append(lines, l)
	}
	return lines
}

func (t *tracker) has(address string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lines[address] != nil
}
