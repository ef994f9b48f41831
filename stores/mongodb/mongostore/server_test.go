package mongostore_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// urlVariable names the environment variable with the URL of a real server, which is
// in a replica set. All tests run there.
const urlVariable = "CADDY_SESSION_MONGODB_URL"

// notOnFerretDB is what is not run, and so not shown, without a real server. FerretDB 1
// finds what an update or a deletion matches and changes it afterwards, so of two at once
// both may win. To file a session it reads all that are filed, so thousands take minutes.
// It has neither change streams, nor TTL indexes, nor replicas, nor the users of a server.
var notOnFerretDB = struct{ contract, tests []string }{
	contract: []string{
		"RaceIncrement", "RaceCreate", "RaceUpdateDelete", "RaceVersionedDelete", "RaceTouch", "RaceDeleteMany",
		"DeleteThousands",
	},
	tests: []string{"Notifications", "Expiry"},
}

// server is where the tests run.
var server struct {
	url  string
	real bool // it is MongoDB
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if server.url = os.Getenv(urlVariable); server.url != "" {
		server.real = true
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "ferretdb")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	db, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Handler:   "sqlite",
		SQLiteURL: "file:" + dir + "/",
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = db.Run(ctx)
	}()
	defer func() { stop(); <-ended }()
	server.url = strings.TrimSuffix(db.MongoDBURI(), "/") + "/test"
	return m.Run()
}
