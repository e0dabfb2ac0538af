package mongoconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

func TestMain(m *testing.M) { storetest.Main(m) }

func TestOpenErrorHidesURI(t *testing.T) {
	t.Parallel()

	for _, uri := range []string{
		"",
		"http://u:hunter2@x",
		"mongodb://u:hunter2@",
		"mongodb://u:hunter2@x:99999/",
		"mongodb://u:hun%ter2@x/",
	} {
		_, err := Open(Options{URI: uri})
		if err == nil || strings.Contains(err.Error(), "hun") {
			t.Errorf("Open(%q): got error %v, want one without the password", uri, err)
		}
	}
}

func TestOpenDatabaseName(t *testing.T) {
	t.Parallel()

	for uri, want := range map[string]string{
		"mongodb://localhost:1":                "latchkey",
		"mongodb://localhost:1/":               "latchkey",
		"mongodb://localhost:1/mine?appName=x": "mine",
	} {
		db, err := Open(Options{URI: uri})
		testkit.NoError(t, err)

		if got := db.Name(); got != want {
			t.Errorf("Open(%q): got database %q, want %q", uri, got, want)
		}

		_ = db.Client().Disconnect(context.Background())
	}
}

// Writes wait for a majority of the replica set, whatever the connection string asks for.
func TestWritesWaitForMajority(t *testing.T) {
	t.Parallel()
	uri, proxy := storetest.ProxiedMongo(t)

	db, err := Open(Options{URI: uri + "&w=1", Timeout: time.Minute})
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = db.Client().Disconnect(context.Background()) })

	inserts := make(chan []byte, 1)
	proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
		if bytes.Contains(chunk, []byte("insert")) {
			inserts <- chunk
		}

		return false
	}})

	_, err = db.Collection("users").InsertOne(t.Context(), bson.D{})
	testkit.NoError(t, err)
	if got := <-inserts; !bytes.Contains(got, []byte("majority")) {
		t.Errorf("got insert %q, want one with write concern majority", got)
	}
}

// Servers quote keys and whole commands in their errors.
func TestUnavailableHidesValues(t *testing.T) {
	t.Parallel()

	for want, err := range map[string]error{
		"index: email_1 dup key": mongo.WriteException{WriteErrors: []mongo.WriteError{{
			Code:    11000,
			Message: `E11000 duplicate key error collection: x.users index: email_1 dup key: { email: "ann@example.com" }`,
		}}},
		"not authorized on x": mongo.CommandError{
			Code:    13,
			Message: `not authorized on x to execute command { find: "users", filter: { email: "ann@example.com" } }`,
		},
		"in element": fmt.Errorf("update: %w", mongo.CommandError{
			Code:    28,
			Message: `Cannot create field 'reset' in element {tickets: "ann@example.com"}`,
		}),
	} {
		got := Unavailable(err)
		if !strings.Contains(got.Error(), want) || strings.Contains(got.Error(), "ann@") {
			t.Errorf("got error %q, want it to contain %q and not the email", got, want)
		}
		if !errors.Is(got, ErrUnavailable) || mongo.IsDuplicateKeyError(got) != mongo.IsDuplicateKeyError(err) {
			t.Errorf("got error %q, want one that wraps ErrUnavailable and the driver's error", got)
		}
	}

	// The driver's own errors list the servers in braces.
	selection := errors.New("server selection error: current topology: { Addr: db:27017 }")
	if got := Unavailable(selection).Error(); !strings.Contains(got, "db:27017") {
		t.Errorf("got error %q, want it to contain the server", got)
	}
}

// If MongoDB accepted connections without replying, it must be usable as soon as it recovers. The
// handshakes that got no reply time out, and the driver starts new ones.
func TestRecoveryAfterSilentHandshakes(t *testing.T) {
	t.Parallel()
	uri, proxy := storetest.ProxiedMongo(t)

	db, err := Open(Options{URI: uri})
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = db.Client().Disconnect(context.Background()) })

	ping := func() error {
		ctx, cancel := db.WithTimeout(t.Context())
		defer cancel()

		return db.Client().Ping(ctx, nil)
	}
	testkit.Eventually(t, "the first ping to succeed", func() bool { return ping() == nil })

	proxy.Set(storetest.Faults{Command: storetest.Swallow})

	// The driver runs 2 handshakes at a time, and has 1 idle connection, so 4 pings occupy all of them.
	const pings = 4
	for _, err := range testkit.Concurrently(pings, func(int) error { return ping() }) {
		if err == nil {
			t.Error("Ping without a reply: got no error, want a timeout")
		}
	}

	proxy.Set(storetest.Faults{})
	testkit.Eventually(t, "a ping to succeed after the recovery", func() bool { return ping() == nil })
}

// An operation runs again if its reply was lost, and only then.
func TestRetry(t *testing.T) {
	t.Parallel()
	dialer := &storetest.LossyDialer{Ignored: [][]byte{[]byte("hello\x00"), []byte("ismaster\x00"), []byte("isMaster\x00")}}
	db, err := Open(Options{URI: storetest.Mongo(t), Timeout: time.Minute, Dial: dialer.Dial})
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = db.Client().Disconnect(context.Background()) })

	for name, tc := range map[string]struct {
		lost error // instead of the first reply
		id   int   // of the inserted document
		runs int
	}{
		"success":           {id: 1, runs: 1},
		"rejected":          {id: 1, runs: 1},
		"connection breaks": {lost: io.EOF, id: 2, runs: 2},
		"timeout":           {lost: os.ErrDeadlineExceeded, id: 3, runs: 2},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := db.WithTimeout(t.Context())
			defer cancel()

			first := 0
			if tc.lost != nil {
				first = 1
			}
			dialer.Lose(first, first, tc.lost)

			runs := 0
			_ = Retry(ctx, func(ctx context.Context) error {
				runs++
				_, err := db.Collection("things").InsertOne(ctx, bson.D{{Key: "_id", Value: tc.id}})

				return err
			})
			if runs != tc.runs {
				t.Errorf("got %d runs, want %d", runs, tc.runs)
			}

			n, err := db.Collection("things").CountDocuments(t.Context(), bson.D{{Key: "_id", Value: tc.id}})
			if n != 1 || err != nil {
				t.Errorf("got %d documents, %v; want 1", n, err)
			}
		})
	}
}
