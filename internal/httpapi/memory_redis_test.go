package httpapi_test

import (
	"context"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// A session whose record is deleted by hand ends on all servers, which have it in memory, once they
// have acknowledged a later change. No other session ends, unless all are deleted.
func TestDeletedByHandInMemory(t *testing.T) {
	suite.Require(t, suite.Memory)
	t.Parallel()

	f := newFleet(t, 3, false)
	conn := f.redis.Conn(t)
	for name, command := range map[string]func(token string) []any{
		"DEL":      func(token string) []any { return []any{"DEL", f.servers[0].RecordKey(session.IDOf(token))} },
		"UNLINK":   func(token string) []any { return []any{"UNLINK", f.servers[0].RecordKey(session.IDOf(token))} },
		"FLUSHDB":  func(string) []any { return []any{"FLUSHDB"} },
		"FLUSHALL": func(string) []any { return []any{"FLUSHALL"} },
	} {
		for range max(1, *rounds/5) {
			isForAll := name == "FLUSHDB" || name == "FLUSHALL"
			victim := f.servers[0].SignIn()
			other := f.servers[0].SignIn()
			f.remember(victim.Token)
			f.remember(other.Token)
			w := f.watch(victim.Token, false)

			w.end(func() bool {
				args := command(victim.Token)
				_, err := conn.Do(args[0].(string), args[1:]...)

				return err == nil && f.acknowledge()
			})
			w.checkAll(f.servers)
			for _, s := range f.servers {
				if got := check(s, other.Token).Status; got == 401 != isForAll {
					t.Errorf("%s: another session: got %d, want it to end: %v", name, got, isForAll)
				}
			}
			w.report(name)

			if !isForAll {
				other.Do("POST", "/auth/logout", nil).Want(200)
			}
			f.awaitAcknowledgements()
		}
	}
}

// acknowledge waits until all servers know of earlier changes in Redis, and reports whether that
// succeeded: each acknowledges a later change of another one. Two servers have to make one, because none
// acknowledges its own.
func (f *fleet) acknowledge() bool {
	for _, s := range f.servers[:2] {
		if _, err := s.Cache.Invalidate(context.Background(), "none"); err != nil {
			return false
		}
	}

	return true
}

// Without Redis, a session in memory gets 503 as without memory, and its cookie stays. Once Redis is
// back, the session works again.
func TestRedisFailsInMemory(t *testing.T) {
	suite.Require(t, suite.Memory)
	t.Parallel()

	const pause = 3 * time.Second
	for name, fail := range map[string]func(f *fleet) (restore func()){
		"killed": func(f *fleet) func() {
			f.redis.Kill()

			return func() { f.redis.Restart(t) }
		},
		"stopped": func(f *fleet) func() {
			f.redis.Pause()

			return f.redis.Resume
		},
		"unreachable": func(f *fleet) func() {
			f.proxies[1].Blackhole()

			return func() { f.proxies[1].Set(storetest.Faults{}) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			f := newFleet(t, 2, true)
			s := f.servers[1] // has the time limits of production
			c := f.servers[0].SignIn()
			f.remember(c.Token)

			failed := time.Now()
			restore := fail(f)
			awaitStatus(t, s, c, 503)
			down := time.Since(failed)

			for time.Since(failed) < pause {
				if a := check(s, c.Token); a.Status != 503 || a.Cookie != nil {
					t.Fatalf("while Redis is down: got %d with cookie %v, want 503", a.Status, a.Cookie)
				}
			}

			restore()
			restored := time.Now()
			awaitStatus(t, s, c, 200)
			up := time.Since(restored)
			awaitInMemory(s, c.Token)
			t.Logf("503 after %v; 200 again after %v, from memory after %v", down, up, time.Since(restored))
		})
	}
}

// awaitStatus waits until a server answers the requests of a client with a status. Until then, it
// answers 200 or 503, and never changes the cookie.
func awaitStatus(t *testing.T, s *apitest.Server, c *apitest.Client, want int) {
	t.Helper()

	testkit.Eventually(t, "another status", func() bool {
		a := check(s, c.Token)
		if a.Status != 200 && a.Status != 503 || a.Cookie != nil {
			t.Errorf("got %d with cookie %v, want 200 or 503 without a cookie", a.Status, a.Cookie)
		}

		return a.Status == want
	})
}
