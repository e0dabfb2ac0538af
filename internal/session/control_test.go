package session

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
)

// The control group: the races of this project, run on scs and redisstore as
// they come. It shows that the races find what they are there to find, and it
// will say when scs no longer needs what this package does around it.
func TestControlStockSCS(t *testing.T) {
	server := storetest.StartRedis(t)
	pool := &redis.Pool{MaxIdle: 32, Dial: func() (redis.Conn, error) { return redis.Dial("tcp", server.Addr) }}
	t.Cleanup(func() { _ = pool.Close() })
	conn := server.Conn(t)
	stock := scs.New()
	stock.Store = redisstore.New(pool)
	stock.IdleTimeout = time.Hour

	mux := http.NewServeMux()
	mux.HandleFunc("GET /read", func(_ http.ResponseWriter, r *http.Request) { stock.GetString(r.Context(), "user") })
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := stock.Destroy(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /rotate", func(w http.ResponseWriter, r *http.Request) {
		if err := stock.RenewToken(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	api := stock.LoadAndSave(mux)

	// atOnce counts the sessions that are alive after the requests.
	atOnce := func(targets ...string) int {
		if _, err := conn.Do("FLUSHALL"); err != nil {
			t.Fatal(err)
		}
		ctx, err := stock.Load(context.Background(), "")
		if err != nil {
			t.Fatal(err)
		}
		stock.Put(ctx, "user", "u")
		token, _, err := stock.Commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		start := make(chan struct{})
		var wg sync.WaitGroup
		for _, target := range targets {
			method := http.MethodPost
			if target == "/read" {
				method = http.MethodGet
			}
			r := httptest.NewRequest(method, target, nil)
			r.AddCookie(&http.Cookie{Name: stock.Cookie.Name, Value: token})
			wg.Go(func() {
				<-start
				api.ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		close(start)
		wg.Wait()
		live, err := redis.Int(conn.Do("DBSIZE"))
		if err != nil {
			t.Fatal(err)
		}
		return live
	}
	until := func(what string, found func() bool) {
		const most = 1000
		for round := range most {
			if found() {
				t.Logf("%s: found in round %d", what, round+1)
				return
			}
		}
		t.Errorf("%s: not found in %d rounds; does scs do it itself now?", what, most)
	}
	reads := []string{"/logout"}
	for range 16 {
		reads = append(reads, "/read")
	}
	until("a session that outlives its logout", func() bool { return atOnce(reads...) > 0 })
	rotate := []string{"/rotate", "/rotate", "/rotate", "/rotate", "/rotate", "/rotate", "/rotate", "/rotate"}
	until("a session that rotations forked", func() bool { return atOnce(rotate...) > 1 })
}
