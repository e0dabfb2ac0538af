package httpapi_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/coherence"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

// fleet is a number of servers that share their stores and keep sessions in memory. Each has its own
// proxy to Redis.
type fleet struct {
	t       *testing.T
	redis   *storetest.RedisServer
	servers []*apitest.Server
	proxies []*storetest.Proxy
}

// newFleet starts n servers. If realTimeouts is set, all but the first have the time limits of
// production.
func newFleet(t *testing.T, n int, realTimeouts bool) *fleet {
	t.Helper()

	f := &fleet{t: t, redis: storetest.StartRedis(t)}
	o := apitest.Options{SessionCache: true, MongoURI: storetest.Mongo(t)}
	for range n {
		proxy := storetest.NewProxy(t, f.redis.Addr)
		o.Redis = &storetest.Redis{Addr: proxy.Addr}
		f.proxies = append(f.proxies, proxy)
		f.servers = append(f.servers, apitest.New(t, o))
		o.RealTimeouts = realTimeouts
	}
	f.awaitAcknowledgements()

	return f
}

// awaitAcknowledgements waits until changes are done as soon as all servers have acknowledged them.
// Shortly after the start, each takes a whole lease.
func (f *fleet) awaitAcknowledgements() {
	f.t.Helper()

	for _, s := range f.servers {
		testkit.Eventually(f.t, "a change that does not wait for a lease", func() bool {
			started := time.Now()
			unacknowledged, err := s.Cache.Invalidate(context.Background(), "none")

			return err == nil && unacknowledged == 0 && time.Since(started) < 200*time.Millisecond
		})
	}
}

// remember waits until all servers have a session in memory.
func (f *fleet) remember(token string) {
	f.t.Helper()

	for _, s := range f.servers {
		awaitInMemory(s, token)
	}
}

// awaitInMemory waits until a server has a session in memory.
func awaitInMemory(s *apitest.Server, token string) {
	s.T.Helper()

	testkit.Eventually(s.T, "the session in memory", func() bool {
		before := s.Cache.Stats().Hits

		return check(s, token).Status == 200 && s.Cache.Stats().Hits > before
	})
}

// check sends a request with the token of a session.
func check(s *apitest.Server, token string) apitest.Response {
	return s.WithToken(token).Do("GET", "/auth/session", nil)
}

// watch is what several servers answer to requests with the token of one session.
type watch struct {
	t       *testing.T
	token   string
	forgets bool // makes the servers forget the session before each request, until it ends

	isEnding, hasEnded, stopped atomic.Bool
	readers                     sync.WaitGroup

	stale    atomic.Int64 // responses that accepted the session although its end had been answered before
	rejected atomic.Int64 // responses that rejected the session although its end had not begun
}

// watch sends requests to all servers until stop is called.
func (f *fleet) watch(token string, forgets bool) *watch {
	w := &watch{t: f.t, token: token, forgets: forgets}
	for _, s := range f.servers {
		w.readers.Go(func() {
			for !w.stopped.Load() {
				w.check(s)
			}
		})
	}
	f.t.Cleanup(w.stop)

	return w
}

// check sends one request and judges the response.
func (w *watch) check(s *apitest.Server) {
	if w.forgets && !w.isEnding.Load() {
		key := s.RecordKey(session.IDOf(w.token))
		data, err := s.Cache.Load(context.Background(), key, func(context.Context) (coherence.Value, error) {
			return coherence.Value{}, errors.New("not in memory")
		})
		if err == nil {
			s.Cache.Forget(key, data)
		}
	}

	mustFail := w.hasEnded.Load()
	a := check(s, w.token)
	mayBeRejected := w.isEnding.Load()
	switch {
	case a.Status == 200 && mustFail:
		w.stale.Add(1)
	case a.Status == 503 && a.Cookie == nil: // the server does not know
	case a.Status == 401 && !mayBeRejected:
		w.rejected.Add(1)
	case a.Status != 200 && a.Status != 401:
		w.t.Errorf("%s: got %d with cookie %v, want 200, 401 or 503", a.Request, a.Status, a.Cookie)
	}
}

// end ends the session with a function that returns whether that was answered as done.
func (w *watch) end(end func() bool) {
	w.t.Helper()

	w.isEnding.Store(true)
	if !end() {
		w.t.Error("the request that ends the session failed")

		return
	}
	w.hasEnded.Store(true)
}

// checkAll sends a request to each server, in addition to those that are sent all the time.
func (w *watch) checkAll(servers []*apitest.Server) {
	for _, s := range servers {
		w.check(s)
	}
}

// stop ends the requests.
func (w *watch) stop() {
	w.stopped.Store(true)
	w.readers.Wait()
}

// report fails the test if a response was wrong.
func (w *watch) report(what string) {
	w.t.Helper()

	w.stop()
	if stale, rejected := w.stale.Load(), w.rejected.Load(); stale != 0 || rejected != 0 {
		w.t.Errorf("%s: got %d responses that accepted the ended session, and %d that rejected it before, want none", what, stale, rejected)
	}
}
