package mongostore_test

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/stores/mongodb/mongostore"
)

// eventually polls until ok, which it must become soon.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func entry(version uint64) session.Entry {
	return session.Entry{Version: version, Value: session.AppendHead(nil, version), TTL: time.Hour}
}

// Once it is known that the server does not answer, calls fail with nothing done; what
// was stored is there afterwards, and the log has a line for each.
func TestOutages(t *testing.T) {
	u, err := url.Parse(server.url)
	if err != nil {
		t.Fatal(err)
	}
	network := redistest.NewProxy(t, u.Host)
	u.Host = network.Addr
	u.RawQuery = "directConnection=true"
	core, logs := observer.New(zapcore.InfoLevel)
	s := open(t, mongostore.Options{URL: u.String(), Collection: "t_" + newID(), Logger: zap.New(core)})
	id := newID()
	eventually(t, "a session", func() bool {
		err := s.Put(t.Context(), id, 0, entry(1))
		return err == nil || errors.Is(err, session.ErrConflict)
	})
	for _, outage := range []struct {
		name  string
		begin func()
	}{{"cut off", network.Cut}, {"out of reach", network.Drop}} {
		logs.TakeAll()
		outage.begin()
		eventually(t, "it is known", func() bool {
			_, err := s.Get(t.Context(), id)
			if err == nil || errors.Is(err, session.ErrNotFound) {
				t.Fatalf("%s: got error %v", outage.name, err)
			}
			return logs.FilterMessage("mongodb is down").Len() > 0
		})
		for name, err := range map[string]error{
			"create": s.Put(t.Context(), newID(), 0, entry(1)), "update": s.Put(t.Context(), id, 1, entry(2)),
			"delete": s.Delete(t.Context(), id, 1), "many": s.DeleteMany(t.Context(), "k", []string{id}),
		} {
			if !errors.Is(err, session.ErrNotDone) || !strings.Contains(err.Error(), network.Addr) {
				t.Errorf("%s, %s: %v", outage.name, name, err)
			}
		}
		network.Restore()
		eventually(t, "the session is there", func() bool {
			e, err := s.Get(t.Context(), id)
			if errors.Is(err, session.ErrNotFound) {
				t.Fatalf("%s: the session is lost", outage.name)
			}
			return err == nil && e.Version == 1
		})
		if down, back := logs.FilterMessage("mongodb is down").Len(), logs.FilterMessage("mongodb is back").Len(); down != 1 || back != 1 {
			t.Errorf("%s: logged %d times that it is down, %d times that it is back", outage.name, down, back)
		}
	}
	s.Close()
	eventually(t, "no connection is left", func() bool { open, _ := network.Connections(); return open == 0 })
}

// What FerretDB can't do, on a real server; without one, what is not run is what the
// list says.
func TestOnRealServer(t *testing.T) {
	tests := map[string]func(*testing.T){"Notifications": testNotifications, "Expiry": testExpiry}
	if names := slices.Sorted(maps.Keys(tests)); !slices.Equal(names, slices.Sorted(slices.Values(notOnFerretDB.tests))) {
		t.Fatalf("these need a real server: %q, the list has %q", names, notOnFerretDB.tests)
	}
	if !server.real {
		t.Logf("not run without %s: %q, and of the contract %q", urlVariable, notOnFerretDB.tests, notOnFerretDB.contract)
		return
	}
	for name, test := range tests {
		t.Run(name, test)
	}
}

// What one store tells, another one hears.
func testNotifications(t *testing.T) {
	collection := "t_" + newID()
	here := open(t, mongostore.Options{URL: server.url, Collection: collection, Timeout: patient})
	there := open(t, mongostore.Options{URL: server.url, Collection: collection, Timeout: patient})
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan string, 1000)
	ended := make(chan error, 1)
	go func() { ended <- there.Listen(ctx, func(id string) { heard <- id }) }()
	eventually(t, "what is told is heard", func() bool {
		id := newID()
		if err := here.Notify(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case got := <-heard:
				if got == id {
					return true
				}
			case err := <-ended:
				t.Fatal(err)
			case <-time.After(100 * time.Millisecond):
				return false
			}
		}
	})
	cancel()
	<-ended
}

// The server has the indexes by which it removes what has expired.
func testExpiry(t *testing.T) {
	collection := "t_" + newID()
	s := open(t, mongostore.Options{URL: server.url, Collection: collection, Timeout: patient})
	if err := s.Put(t.Context(), newID(), 0, entry(1)); err != nil {
		t.Fatal(err)
	}
	client, err := mongo.Connect(options.Client().ApplyURI(server.url))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(context.Background())
	for _, of := range []struct{ collection, field string }{{collection, "expires"}, {collection + "_user", "deadline"}, {collection + "_ended", "at"}} {
		indexes, err := client.Database("test").Collection(of.collection).Indexes().ListSpecifications(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(indexes, func(i mongo.IndexSpecification) bool {
			_, err := bson.Raw(i.KeysDocument).LookupErr(of.field)
			return err == nil && i.ExpireAfterSeconds != nil
		}) {
			t.Errorf("%s has no index that removes by %s", of.collection, of.field)
		}
	}
}
