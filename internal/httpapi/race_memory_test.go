package httpapi_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/apitest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// Once the end of a session has been answered, no server accepts it from memory. Requests on all
// servers keep it there until then.
func TestRaceEndedInMemory(t *testing.T) {
	suite.Require(t, suite.Memory)

	// A new server waits for others that might not have registered yet, so as few as possible start.
	unlimited := threeServers(t, apitest.Options{SessionCache: true, Mail: &apitest.Outbox{}})
	limited := threeServers(t, apitest.Options{SessionCache: true, MaxPerUser: 1})

	for name, e := range endings {
		servers := unlimited
		switch {
		case name == "deleted by hand":
			continue // takes effect when Redis reports it: see package coherence
		case e.moving:
			continue // another secret makes no difference to the values in memory
		case e.setup.MaxPerUser > 0:
			servers = limited
		}

		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			conn := servers[0].Redis.Conn(t)
			users := servers[0].Database().Collection("users")
			accepted := 0
			for range *rounds {
				_, err := users.DeleteMany(t.Context(), map[string]any{})
				testkit.NoError(t, err)
				servers[0].Register("ann@example.com").Do("POST", "/auth/logout", nil).Want(200)

				accepted += e.raceInMemory(t, servers)
				deleteAllBut(t, conn, "members")
			}
			if accepted != 0 {
				t.Errorf("requests after the end in %d rounds: got %d accepted, want 0", *rounds, accepted)
			}
		})
	}

	hits := uint64(0)
	for _, s := range append(unlimited, limited...) {
		hits += s.Cache.Stats().Hits
	}
	t.Logf("%d requests answered from memory", hits)
	if hits == 0 {
		t.Error("no request was answered from memory")
	}
}

// threeServers returns three servers that share their stores.
func threeServers(t *testing.T, o apitest.Options) []*apitest.Server {
	t.Helper()

	first := apitest.New(t, o)
	o.StoresOf = first
	o.Mail = nil

	return []*apitest.Server{first, apitest.New(t, o), apitest.New(t, o)}
}

// raceInMemory ends a session while requests on all servers use it. It returns the number of requests
// that began after the end had been answered and were accepted.
func (e ending) raceInMemory(t *testing.T, servers []*apitest.Server) int {
	t.Helper()

	other := servers[0].LoginFrom("other")
	victim := servers[0].LoginFrom("victim")
	read := func(s *apitest.Server) int { return s.WithToken(victim.Token).Do("GET", "/auth/session", nil).Status }

	var hasEnded, stopped atomic.Bool
	var accepted atomic.Int64
	var readers, started sync.WaitGroup
	for _, s := range servers {
		started.Add(1)
		readers.Go(func() {
			testkit.Eventually(t, "the session", func() bool { return read(s) == 200 })
			started.Done()

			for !stopped.Load() {
				mustFail := hasEnded.Load()
				if status := read(s); status == 200 && mustFail {
					accepted.Add(1)
				}
			}
		})
	}
	started.Wait()

	if !e.end(servers[0], victim.Clone(), other) {
		t.Error("the request that ends the session failed")
	}
	hasEnded.Store(true)
	for _, s := range servers {
		if read(s) == 200 {
			accepted.Add(1)
		}
	}

	stopped.Store(true)
	readers.Wait()

	return int(accepted.Load())
}

// deleteAllBut deletes all keys but one.
func deleteAllBut(t *testing.T, conn redis.Conn, kept string) {
	t.Helper()

	keys, err := redis.Strings(conn.Do("KEYS", "*"))
	testkit.NoError(t, err)
	for _, key := range keys {
		if key != kept {
			_, err := conn.Do("DEL", key)
			testkit.NoError(t, err)
		}
	}
}
