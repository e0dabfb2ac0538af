package session

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// TestControlStockSCS is the control group: it runs the races of our own tests on unmodified scs
// and redisstore. It proves that such races can be detected, and fails when scs no longer needs
// this package's workarounds.
func TestControlStockSCS(t *testing.T) {
	server := storetest.StartRedis(t)
	pool := &redis.Pool{MaxIdle: 32, Dial: func() (redis.Conn, error) { return redis.Dial("tcp", server.Addr) }}
	t.Cleanup(func() { _ = pool.Close() })
	conn := server.Conn(t)
	stock := scs.New()
	stock.Store = redisstore.New(pool)
	stock.IdleTimeout = time.Hour

	handler := func(change func(context.Context) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := change(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
	}

	mux := http.NewServeMux()
	mux.HandleFunc("/read", func(_ http.ResponseWriter, r *http.Request) { stock.GetString(r.Context(), "user") })
	mux.Handle("/logout", handler(stock.Destroy))
	mux.Handle("/rotate", handler(stock.RenewToken))
	api := stock.LoadAndSave(mux)

	// race sends concurrent requests with one session and returns the number of sessions
	// that are live afterwards.
	race := func(targets ...string) int {
		_, err := conn.Do("FLUSHALL")
		testkit.NoError(t, err)
		ctx, err := stock.Load(background, "")
		testkit.NoError(t, err)

		stock.Put(ctx, "user", "u")
		token, _, err := stock.Commit(ctx)
		testkit.NoError(t, err)

		testkit.Concurrently(len(targets), func(i int) *http.Request {
			r := httptest.NewRequest(http.MethodGet, targets[i], nil)
			r.AddCookie(&http.Cookie{Name: stock.Cookie.Name, Value: token})
			api.ServeHTTP(httptest.NewRecorder(), r)
			return r
		})

		live, err := redis.Int(conn.Do("DBSIZE"))
		testkit.NoError(t, err)
		return live
	}

	findRace := func(outcome string, occurs func() bool) {
		const maxRounds = 1000
		for round := range maxRounds {
			if occurs() {
				t.Logf("%s: found in round %d", outcome, round+1)
				return
			}
		}

		t.Errorf("%s: not found in %d rounds; has scs fixed this?", outcome, maxRounds)
	}

	reads := append([]string{"/logout"}, slices.Repeat([]string{"/read"}, 16)...)
	findRace("a session that outlives its logout", func() bool { return race(reads...) > 0 })
	rotations := slices.Repeat([]string{"/rotate"}, 8)
	findRace("two live sessions after concurrent rotations", func() bool { return race(rotations...) > 1 })
}
