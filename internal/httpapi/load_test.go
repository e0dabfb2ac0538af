package httpapi_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
)

// load simulates users who read, log in, rotate and log out while Redis fails and recovers.
// It records the responses and compares them with the final state.
type load struct {
	*apitest.Server
	other  *apitest.Server // shares the stores, and has the sessions of the writers in memory
	t      *testing.T
	stop   context.CancelFunc
	wg     sync.WaitGroup
	served atomic.Int64 // reads that got 200
	failed atomic.Int64 // reads that got 503
	stale  atomic.Int64 // reads with the token of an ended session that got 200

	refused atomic.Int64 // logins that failed

	mu    sync.Mutex
	live  []string // tokens that are live according to the responses
	ended []string // tokens that have ended according to the responses
}

const (
	loadReaders = 16
	loadWriters = 4
)

// startLoad starts two servers and sessions, and simulates the sessions' users until finish is called.
func startLoad(t *testing.T, r storetest.Redis, sessions int) *load {
	t.Helper()

	o := apitest.Options{RealTimeouts: true, SessionCache: true, Redis: &r}
	s := apitest.New(t, o)
	o.StoresOf = s

	l := &load{Server: s, other: apitest.New(t, o), t: t}
	readers := make([]*apitest.Client, loadReaders)
	var started sync.WaitGroup
	for i := range readers {
		started.Go(func() {
			for n := 0; n < sessions/loadReaders; {
				token, err := l.signIn(t.Context())
				if err != nil { // the time limits are short for a busy machine
					continue
				}

				readers[i] = s.WithToken(token)
				l.note(&l.live, token)
				n++
			}
		})
	}

	started.Wait()
	var ctx context.Context
	ctx, l.stop = context.WithCancel(context.Background())
	t.Cleanup(func() { l.stop(); l.wg.Wait() })

	for _, c := range readers {
		l.wg.Go(func() { l.read(ctx, c) })
	}

	for range loadWriters {
		l.wg.Go(func() { l.write(ctx) })
	}

	return l
}

// signIn starts a session and returns its token.
func (l *load) signIn(ctx context.Context) (token string, err error) {
	generation, err := l.Sessions.Generation(ctx, apitest.UserID)
	if err != nil {
		return "", err
	}

	owner := session.Owner{UserID: apitest.UserID, Email: "ann@example.com", EmailVerified: true}
	_, token, err = l.Sessions.Begin(ctx, session.Start{Owner: owner, Methods: []session.Method{{Method: session.Password}}, Generation: generation})

	return token, err
}

func (l *load) note(tokens *[]string, token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*tokens = append(*tokens, token)
}

// do sends a request that must succeed or get 503 in time.
func (l *load) do(c *apitest.Client, method, path string) apitest.Response {
	start := time.Now()
	a := c.Do(method, path, nil)
	if elapsed := time.Since(start); elapsed > maxResponseTime {
		l.t.Errorf("%s: response time: got %v, want at most %v", a.Request, elapsed, maxResponseTime)
	}

	if a.Status != 200 && (a.Status != 503 || a.Cookie != nil) {
		l.wrong(fmt.Sprintf("%s: got %d %s, cookie %v", a.Request, a.Status, a.Raw, a.Cookie))
	}

	return a
}

// wrong reports a false response. That is not a failure if the server has logged that its replicas lag:
// then it guarantees nothing.
func (l *load) wrong(what string) {
	if strings.Contains(l.Log.String(), "lag behind") {
		l.t.Log(what)

		return
	}

	l.t.Error(what)
}

func (l *load) read(ctx context.Context, c *apitest.Client) {
	for ctx.Err() == nil {
		if l.do(c, "GET", "/auth/session").Status == 200 {
			l.served.Add(1)
		} else {
			l.failed.Add(1)
		}
	}
}

// write logs in, rotates and logs out repeatedly, and keeps every fourth login. A request
// that got 503 may have been executed.
func (l *load) write(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		token, err := l.signIn(ctx)
		if err != nil {
			l.refused.Add(1)
			continue
		}

		c := l.WithToken(token)
		l.remember(token)
		if l.do(c, "POST", "/auth/rotate-session").Status != 200 {
			continue
		}

		l.checkEnded(token)
		token = c.Token
		if n%4 == 0 {
			l.note(&l.live, token)
			continue
		}

		l.remember(token)
		if l.do(c, "POST", "/auth/logout").Status == 200 {
			l.checkEnded(token)
		}
	}
}

// remember makes the other server keep a session in memory, if it can.
func (l *load) remember(token string) {
	for range 2 { // the second time from memory
		l.do(l.other.WithToken(token), "GET", "/auth/session")
	}
}

// checkEnded checks that the other server rejects the token of a session whose end has been answered.
func (l *load) checkEnded(token string) {
	l.note(&l.ended, token)

	a := l.other.WithToken(token).Do("GET", "/auth/session", nil)
	if a.Status == 200 {
		l.stale.Add(1)
		l.wrong("the other server accepted an ended session")
	}
}

// waitFor waits until a counter has increased by more.
func (l *load) waitFor(n *atomic.Int64, more int64) {
	for target := n.Load() + more; n.Load() < target && !l.t.Failed(); {
		l.NewClient().Do("GET", "/healthz", nil)
	}
}

// waitForLog waits until the server has logged a text.
func (l *load) waitForLog(what string) {
	l.t.Helper()

	for deadline := time.Now().Add(time.Minute); !strings.Contains(l.Log.String(), what) && !l.t.Failed(); {
		if time.Now().After(deadline) {
			l.t.Fatalf("timed out waiting for %q in the log", what)
		}

		l.NewClient().Do("GET", "/healthz", nil)
	}
}

// finish ends the load and compares the responses with the final state.
func (l *load) finish() {
	l.t.Helper()

	l.stop()
	l.wg.Wait()
	count := func(tokens []string, wantStatus int) (n int) {
		for _, token := range tokens {
			if l.WithToken(token).Do("GET", "/auth/session", nil).Status != wantStatus {
				n++
			}
		}

		return n
	}

	lost := count(l.live, 200)
	revived := count(l.ended, 401)
	l.t.Logf("%d reads served, %d got 503; %d live sessions, %d of them lost; %d ended, %d of them still live, %d accepted afterwards by the other server",
		l.served.Load(), l.failed.Load(), len(l.live), lost, len(l.ended), revived, l.stale.Load())
	l.t.Logf("%d and %d requests answered from memory", l.Cache.Stats().Hits, l.other.Cache.Stats().Hits)
	if l.Cache.Stats().Hits == 0 || l.other.Cache.Stats().Hits == 0 {
		l.t.Error("a server answered no request from memory")
	}
	if lost != 0 || revived != 0 || len(l.ended) == 0 {
		l.wrong("the final state contradicts the responses")

		for line := range strings.Lines(l.Log.String()) {
			if strings.Contains(line, "Redis") {
				l.t.Log(line)
			}
		}
	}
}
