package storetest

import (
	"context"

	"github.com/caddy-session/caddy-session/session"
)

// Calls returns all that a store can be asked, by name, for tests of outages. Where the
// store works and has id at version 1, each of them succeeds and leaves it so.
func Calls(store session.Store, id string) map[string]func(context.Context) error {
	calls := map[string]func(context.Context) error{
		"Get":           func(ctx context.Context) error { _, err := store.Get(ctx, id); return err },
		"Put to create": func(ctx context.Context) error { return store.Put(ctx, newID(), 0, entry(1, "", hour)) },
		"Put to file":   func(ctx context.Context) error { return store.Put(ctx, newID(), 0, indexed(1, "alice", hour)) },
		"Put to update": func(ctx context.Context) error { return store.Put(ctx, id, 1, entry(1, "", hour)) },
		"Touch":         func(ctx context.Context) error { return store.Touch(ctx, id, 1, hour) },
		"Delete":        func(ctx context.Context) error { return store.Delete(ctx, newID(), 0) },
		"DeleteMany":    func(ctx context.Context) error { return store.DeleteMany(ctx, "alice", []string{newID()}) },
		"Indexed":       func(ctx context.Context) error { _, _, err := store.Indexed(ctx, "alice", "", 10); return err },
		"Unindex":       func(ctx context.Context) error { return store.Unindex(ctx, "alice", newID()) },
		"List":          func(ctx context.Context) error { _, _, err := store.List(ctx, "", 10); return err },
	}
	if prefixes, ok := session.As[session.PrefixReader](store); ok {
		calls["GetPrefix"] = func(ctx context.Context) error { _, err := prefixes.GetPrefix(ctx, id, 100); return err }
	}
	if notifier, ok := session.As[session.Notifier](store); ok {
		calls["Notify"] = func(ctx context.Context) error { return notifier.Notify(ctx, id) }
	}
	return calls
}
