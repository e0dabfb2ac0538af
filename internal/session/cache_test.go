package session

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/coherence"
	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

// newCachedManagers returns the managers of n servers that keep sessions in memory.
func newCachedManagers(t *testing.T, r storetest.Redis, n int) []*Manager {
	t.Helper()

	var managers []*Manager
	for range n {
		client := conntest.Redis(t, r, redisconn.Options{})
		cache := coherence.New(client, coherence.Options{
			Prefixes: CachedPrefixes(),
			MaxBytes: 1 << 20,
			Log:      slog.New(slog.DiscardHandler),
		})
		t.Cleanup(cache.Close)

		managers = append(managers, New(client, Options{
			Secrets:       [][]byte{[]byte("a secret")},
			Idle:          time.Hour,
			Absolute:      4 * time.Hour,
			TouchInterval: time.Minute,
			MaxPerUser:    2,
			Cache:         cache,
			Log:           slog.New(slog.DiscardHandler),
		}))
	}

	return managers
}

// trackingRedis returns a Redis that reports changes. On a single server, tests that flush their
// database would make all servers forget their values, so this test gets its own.
func trackingRedis(t *testing.T) storetest.Redis {
	t.Helper()

	switch os.Getenv("TEST_REDIS") {
	case "sentinel", "cluster":
		return storetest.NewRedis(t)
	}

	return storetest.StartRedis(t).Redis
}

// awaitInMemory waits until a session is loaded from memory.
func awaitInMemory(t *testing.T, m *Manager, token string) {
	t.Helper()

	testkit.Eventually(t, "the session in memory", func() bool {
		before := m.options.Cache.Stats().Hits
		load(t, m, token)

		return m.options.Cache.Stats().Hits > before
	})
}

// ends are the ways to end a session or to replace its token. Each gets a context that carries the
// session.
var ends = map[string]func(ctx context.Context, m *Manager, token string) error{
	"logout":  func(_ context.Context, m *Manager, token string) error { return logOut(m, token) },
	"end":     func(ctx context.Context, m *Manager, _ string) error { return m.End(ctx, Revoked) },
	"abandon": func(ctx context.Context, m *Manager, _ string) error { return m.Abandon(ctx, Revoked) },
	"revoke": func(ctx context.Context, m *Manager, token string) error {
		return m.Revoke(ctx, "u", IDOf(token), "by")
	},
	"revoke all": func(ctx context.Context, m *Manager, _ string) error {
		return errorOf(m.RevokeAll(ctx, "u", "", Revoked))
	},
	"rotate":         func(ctx context.Context, m *Manager, _ string) error { return lastOf(m.Rotate(ctx)) },
	"reauthenticate": func(ctx context.Context, m *Manager, _ string) error { return lastOf(m.Reauthenticate(ctx, Password)) },
	"change email": func(ctx context.Context, m *Manager, _ string) error {
		return lastOf(m.ChangeEmail(ctx, "new@example.com"))
	},
	"revoke everything": func(ctx context.Context, m *Manager, _ string) error {
		return errorOf(m.RevokeEverything(ctx, func(int) {}))
	},
	"login over it": func(ctx context.Context, m *Manager, token string) error {
		g, err := m.Generation(ctx, "other")
		start := Start{Owner: Owner{UserID: "other"}, Methods: []Method{{Method: Password}}, Generation: g, Replaces: []string{IDOf(token)}}

		return errors.Join(err, lastOf(m.Begin(ctx, start)))
	},
	"too many sessions": func(ctx context.Context, m *Manager, _ string) error {
		g, err := m.Generation(ctx, "u")
		for range 2 {
			err = errors.Join(err, lastOf(m.Begin(ctx, Start{Owner: Owner{UserID: "u"}, Methods: []Method{{Method: Password}}, Generation: g})))
		}

		return err
	},
	"logout after a rotation": func(ctx context.Context, m *Manager, token string) error {
		return errors.Join(lastOf(m.Rotate(ctx)), logOut(m, token))
	},
}

func lastOf[A, B any](_ A, _ B, err error) error { return err }

// Once a session has ended on one server, no server accepts its token from memory, while requests on
// all servers keep it there.
func TestEndsHoldOnEveryServer(t *testing.T) {
	t.Parallel()

	const rounds = 3 // each takes seconds on a Cluster
	managers := newCachedManagers(t, trackingRedis(t), 3)

	for name, end := range ends {
		hits := managers[0].options.Cache.Stats().Hits
		for i := range rounds {
			m := managers[i%len(managers)]
			_, token := begin(t, m)
			for _, m := range managers {
				awaitInMemory(t, m, token)
			}

			var hasEnded, stopped atomic.Bool
			var accepted atomic.Int64
			var readers sync.WaitGroup
			for _, m := range managers {
				readers.Go(func() {
					for !stopped.Load() {
						mustFail := hasEnded.Load()
						_, err := m.Load(background, token)
						if err == nil && mustFail {
							accepted.Add(1)
						}
					}
				})
			}

			err := end(load(t, m, token), m, token)
			hasEnded.Store(true)
			for _, m := range managers {
				if _, err := m.Load(background, token); !IsGone(err) {
					t.Errorf("%s: got error %v, want an ended session", name, err)
				}
			}
			stopped.Store(true)
			readers.Wait()

			testkit.NoError(t, err)
			if n := accepted.Load(); n != 0 {
				t.Errorf("%s: the ended session was accepted %d times", name, n)
			}
			_, err = m.RevokeAll(background, "u", "", Revoked)
			testkit.NoError(t, err)
		}
		if managers[0].options.Cache.Stats().Hits == hits {
			t.Errorf("%s: no session was loaded from memory", name)
		}
	}
}

// A session that another server has extended does not time out on this one, although its record in
// memory has.
func TestExtendedOnAnotherServer(t *testing.T) {
	t.Parallel()

	managers := newCachedManagers(t, trackingRedis(t), 2)
	start := time.Now()
	var passed atomic.Int64
	for _, m := range managers {
		m.options.Now = func() time.Time { return start.Add(time.Duration(passed.Load())) }
	}

	m := managers[0]
	s, token := begin(t, m)
	key := m.keys.record(s.ID)
	old, server, err := m.read(background, s.ID)
	testkit.NoError(t, err)

	passed.Store(int64(50 * time.Minute))
	load(t, managers[1], token)

	// As if the report of the extension had not arrived yet.
	testkit.Eventually(t, "the old record in memory", func() bool {
		before := m.options.Cache.Stats().Hits
		data, err := m.options.Cache.Load(background, key, func(context.Context) (coherence.Value, error) {
			return coherence.Value{Data: old, Server: server}, nil
		})
		testkit.NoError(t, err)

		return data == old && m.options.Cache.Stats().Hits > before
	})

	passed.Store(int64(70 * time.Minute))
	load(t, m, token)
}

// A repeated revocation tells the other servers, because the first one may have failed before it could.
func TestRepeatedRevocationIsTold(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	m := newCachedManagers(t, r.Redis, 1)[0]
	s, token := begin(t, m)
	awaitInMemory(t, m, token)
	testkit.NoError(t, m.Revoke(background, "u", s.ID, "by"))

	conn := r.Conn(t)
	_, err := conn.Do("HSET", "members", "silent", "1 1")
	testkit.NoError(t, err)
	testkit.NoError(t, m.Revoke(background, "u", s.ID, "by"))
	if n, err := redis.Int(conn.Do("HEXISTS", "members", "silent")); n != 0 || err != nil {
		t.Errorf("got %d, error %v, want that the silent server was waited for and removed", n, err)
	}
}
