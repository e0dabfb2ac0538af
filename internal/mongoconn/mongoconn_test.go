package mongoconn

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

func TestOpenHidesURI(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{"", "http://u:hunter2@x", "mongodb://u:hunter2@", "mongodb://u:hunter2@x:99999/", "mongodb://u:hun%ter2@x/"} {
		if _, err := Open(uri, nil); err == nil || strings.Contains(err.Error(), "hun") {
			t.Errorf("Open(%q): %v", uri, err)
		}
	}
}

func TestOpenDatabase(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{"mongodb://localhost:1": "latchkey", "mongodb://localhost:1/": "latchkey", "mongodb://localhost:1/mine?appName=x": "mine"} {
		db, err := Open(uri, nil)
		if err != nil {
			t.Fatal(err)
		}
		if db.Name() != want {
			t.Errorf("Open(%q) is %q, want %q", uri, db.Name(), want)
		}
		_ = db.Client().Disconnect(context.Background())
	}
}

// A MongoDB that took new connections and said nothing on them is used again as soon as it
// is well: those are given up, and others made.
func TestSilentGreeting(t *testing.T) {
	t.Parallel()
	uri, proxy := storetest.ProxiedMongo(t)
	db, err := Open(uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Client().Disconnect(context.Background()) })
	ping := func() error {
		ctx, cancel := Bounded(t.Context())
		defer cancel()
		return db.Client().Ping(ctx, nil)
	}
	if err := ping(); err != nil {
		t.Fatal(err)
	}
	var swallowed atomic.Int64
	proxy.Set(storetest.Faults{Command: func(net.Conn, []byte) bool { swallowed.Add(1); return true }})
	const atOnce = 4 // more than the driver makes connections at a time, beside the one that there is
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			if ping() == nil {
				t.Error("a MongoDB that says nothing answers")
			}
		})
	}
	group.Wait()
	proxy.Set(storetest.Faults{})
	const patience = 20 * time.Second
	for began := time.Now(); ping() != nil; {
		if took := time.Since(began); took > patience {
			t.Fatalf("not used again for %v; %d messages were swallowed", took, swallowed.Load())
		}
	}
}
