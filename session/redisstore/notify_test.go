//go:build unix

package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

func TestNotify(t *testing.T) {
	server := redistest.Start(t)
	one := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	two := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	other := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient, KeyPrefix: "other:"})

	ctx, stop := context.WithCancel(t.Context())
	heard, failed := make(chan string, 10), make(chan error, 2)
	strange := make(chan string, 10)
	go func() { failed <- one.Listen(ctx, func(id string) { heard <- id }) }()
	go func() { failed <- other.Listen(ctx, func(id string) { strange <- id }) }()
	redis := admin(t, server.Addr)
	for deadline := time.Now().Add(patient); ; time.Sleep(5 * time.Millisecond) {
		channels, err := do(t, redis, "PUBSUB", "CHANNELS").AsStrSlice()
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("not subscribed: %v, %v", channels, err)
		}
		if len(channels) == 2 {
			break
		}
	}
	for _, id := range []string{"first", "second"} {
		if err := two.Notify(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"first", "second"} {
		select {
		case id := <-heard:
			if id != want {
				t.Errorf("heard %s, want %s", id, want)
			}
		case <-time.After(patient):
			t.Fatal("nothing was heard")
		}
	}
	// Other calls go on beside the subscription.
	if err := one.Put(t.Context(), newID(), 0, entry(1, "")); err != nil {
		t.Error(err)
	}
	stop()
	for range 2 {
		select {
		case err := <-failed:
			if err == nil {
				t.Error("Listen has ended without an error")
			}
		case <-time.After(patient):
			t.Fatal("Listen goes on")
		}
	}
	if len(strange) > 0 {
		t.Errorf("a store with another prefix heard of %s", <-strange)
	}
}

func TestNotifyWithoutServer(t *testing.T) {
	store := open(t, redisstore.Options{Addresses: []string{"127.0.0.1:1"}})
	if store.Notify(t.Context(), "x") == nil || store.Listen(t.Context(), nil) == nil {
		t.Error("no error")
	}
}
