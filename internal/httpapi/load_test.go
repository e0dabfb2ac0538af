package httpapi

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/session"
)

// load is what many people do while Redis fails and comes back: they read, log in,
// rotate and log out. It keeps book of what they were told, to compare with what is
// true afterwards.
type load struct {
	*site
	t      *testing.T
	stop   context.CancelFunc
	wg     sync.WaitGroup
	served atomic.Int64 // reads answered with 200
	away   atomic.Int64 // reads answered with 503

	refused atomic.Int64 // logins that failed

	mu      sync.Mutex
	alive   []string // tokens of which somebody was told that they are signed in
	over    []string // tokens of which somebody was told that they are not any more
	mark    time.Time
	outages []time.Duration // of each reader since mark: from the first 503 to the next 200
	back    []time.Duration // of each reader: from mark to its next 200
}

const (
	loadReaders = 16
	loadWriters = 4
)

// startLoad begins so many sessions, then lets people do what they do until finish.
func startLoad(t *testing.T, s *site, sessions int) *load {
	t.Helper()
	l := &load{site: s, t: t}
	readers := make([]*client, loadReaders)
	var begun sync.WaitGroup
	for i := range readers {
		begun.Go(func() {
			for range sessions / loadReaders {
				readers[i] = s.signIn()
				l.note(&l.alive, readers[i].token)
			}
		})
	}
	begun.Wait()
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

func (l *load) note(tokens *[]string, token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*tokens = append(*tokens, token)
}

// do sends a request that must be answered in time, with success or 503.
func (l *load) do(c *client, method, path string) answer {
	start := time.Now()
	a := c.do(method, path, nil)
	if took := time.Since(start); took > prompt {
		l.t.Errorf("%s took %v", a.request, took)
	}
	if a.status != 200 && (a.status != 503 || a.cookie != nil) {
		l.wrong(fmt.Sprintf("%s: got %d %s, cookie %v", a.request, a.status, a.raw, a.cookie))
	}
	return a
}

// wrong notes an answer that is not true. Where the server has said that its replicas
// do not keep up, as on a machine that is very busy, it has not promised more.
func (l *load) wrong(what string) {
	if l.warned() {
		l.t.Log(what)
		return
	}
	l.t.Error(what)
}

func (l *load) warned() bool { return strings.Contains(l.log.String(), "do not keep up") }

func (l *load) read(ctx context.Context, c *client) {
	var down, mark time.Time
	for ctx.Err() == nil {
		a := l.do(c, "GET", "/auth/session")
		now := time.Now()
		if a.status != 200 {
			l.away.Add(1)
			if down.IsZero() {
				down = now
			}
			continue
		}
		l.served.Add(1)
		l.mu.Lock()
		if !down.IsZero() {
			l.outages = append(l.outages, now.Sub(down))
		}
		if down = (time.Time{}); mark != l.mark {
			mark = l.mark
			l.back = append(l.back, now.Sub(mark))
		}
		l.mu.Unlock()
	}
}

// write logs in, rotates and logs out, over and over; one login of four stays. What
// was answered with 503 may have happened or not.
func (l *load) write(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		epoch, err := l.sessions.Epoch(ctx, testUser)
		if err != nil {
			continue
		}
		_, token, err := l.sessions.Begin(ctx, session.SignIn{UserID: testUser, Method: "password", Epoch: epoch})
		if err != nil {
			l.refused.Add(1)
			continue
		}
		c := &client{site: l.site, token: token}
		if l.do(c, "POST", "/auth/rotate-session").status != 200 {
			continue
		}
		l.note(&l.over, token)
		if token = c.token; n%4 == 0 {
			l.note(&l.alive, token)
			continue
		}
		if l.do(c, "POST", "/auth/logout").status == 200 {
			l.note(&l.over, token)
		}
	}
}

// until waits until a count has grown by so many.
func (l *load) until(n *atomic.Int64, more int64) {
	for target := n.Load() + more; n.Load() < target && !l.t.Failed(); {
		l.client().do("GET", "/healthz", nil)
	}
}

// untilSaid waits until the server has logged something, for a minute.
func (l *load) untilSaid(what string) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(l.log.String(), what) && !l.t.Failed(); {
		if time.Now().After(deadline) {
			l.t.Fatalf("the server has not said %q", what)
		}
		l.client().do("GET", "/healthz", nil)
	}
}

// since starts to measure anew.
func (l *load) since() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark, l.outages, l.back = time.Now(), nil, nil
}

// worst returns the longest outage of a reader, and the longest time that one
// needed to be served again, once all have been.
func (l *load) worst() (outage, back time.Duration) {
	for {
		l.mu.Lock()
		for _, d := range l.outages {
			outage = max(outage, d)
		}
		for _, d := range l.back {
			back = max(back, d)
		}
		all := len(l.back) >= loadReaders
		l.mu.Unlock()
		if all || l.t.Failed() {
			return outage, back
		}
		l.client().do("GET", "/healthz", nil)
	}
}

// finish ends the load and compares what people were told with what is true.
func (l *load) finish() {
	l.t.Helper()
	l.stop()
	l.wg.Wait()
	var lost, revived atomic.Int64
	check := func(tokens []string, status int, wrong *atomic.Int64) {
		queue := make(chan string)
		var wg sync.WaitGroup
		for range loadReaders {
			wg.Go(func() {
				for token := range queue {
					if a := (&client{site: l.site, token: token}).do("GET", "/auth/session", nil); a.status != status {
						wrong.Add(1)
					}
				}
			})
		}
		for _, token := range tokens {
			queue <- token
		}
		close(queue)
		wg.Wait()
	}
	check(l.alive, 200, &lost)
	check(l.over, 401, &revived)
	l.t.Logf("%d reads served, %d answered with 503; %d sessions, %d of them lost; %d ended, %d of them alive",
		l.served.Load(), l.away.Load(), len(l.alive), lost.Load(), len(l.over), revived.Load())
	if lost.Load() != 0 || revived.Load() != 0 || len(l.over) == 0 {
		l.wrong("what people were told is not true")
		for line := range strings.Lines(l.log.String()) {
			if strings.Contains(line, "Redis") {
				l.t.Log(line)
			}
		}
	}
}
