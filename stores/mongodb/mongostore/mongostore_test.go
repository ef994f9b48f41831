package mongostore_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/storetest"
	"github.com/caddy-session/caddy-session/stores/mongodb/mongostore"
)

// patient is a timeout for tests that are about something else.
const patient = 10 * time.Second

func newID() string { return rand.Text()[:22] }

func open(t testing.TB, opts mongostore.Options) *mongostore.Store {
	t.Helper()
	s, err := mongostore.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// The contract; on FerretDB but for what is listed.
func TestStore(t *testing.T) {
	var collection string // one for each test, as FerretDB looks at all that is in one
	client, err := mongo.Connect(options.Client().ApplyURI(server.url))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(context.Background())
	opts := storetest.Options{PutRaw: func(id string, value []byte) {
		_, err := client.Database("test").Collection(collection).InsertOne(t.Context(), bson.D{
			{Key: "_id", Value: id}, {Key: "version", Value: int64(0)}, {Key: "head", Value: value}, {Key: "expires", Value: time.Now().Add(time.Hour)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}}
	if !server.real {
		opts.LeaveOut = notOnFerretDB.contract
	}
	storetest.Run(t, func(t *testing.T) session.Store {
		collection = "t_" + newID()
		return open(t, mongostore.Options{URL: server.url, Collection: collection, Timeout: patient})
	}, opts)
}
