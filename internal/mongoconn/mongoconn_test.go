package mongoconn

import (
	"context"
	"strings"
	"testing"

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

// A MongoDB that accepts connections without replying must be usable again as soon as it
// recovers. The handshakes that got no reply time out, and the driver makes new ones.
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

	// The driver runs 2 handshakes at a time, and has 1 idle connection.
	const pings = 4
	for _, err := range testkit.Concurrently(pings, func(int) error { return ping() }) {
		if err == nil {
			t.Error("ping without a reply: got no error, want a timeout")
		}
	}

	proxy.Set(storetest.Faults{})
	testkit.Eventually(t, "a ping to succeed after the recovery", func() bool { return ping() == nil })
}
