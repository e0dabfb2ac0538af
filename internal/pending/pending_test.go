package pending

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
	"latchkey/internal/token"
)

var secret = []byte("the secret of the tests, 32 bytes+")

// newStores returns stores on different connections to one Redis, as those of several servers, and a
// clock that they share.
func newStores(t *testing.T, n int) (stores []*Store, conn redis.Conn, clock *time.Time) {
	t.Helper()

	r := storetest.NewRedis(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range n {
		conns := conntest.Redis(t, r, redisconn.Options{})
		stores = append(stores, New(conns, [][]byte{secret}, func() time.Time { return now }))
	}

	return stores, r.Conn(t), &now
}

func begin(t *testing.T, s *Store) (loginToken string, l Login) {
	t.Helper()

	l = Login{
		UserID:     "65f0c0ffee0123456789abcd",
		Method:     "pwd",
		At:         time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Generation: "a|b",
		Email:      "ann@example.com",
	}
	loginToken, err := s.Begin(t.Context(), &l)
	testkit.NoError(t, err)

	return loginToken, l
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// A login can be found and tried until it is finished. Finish succeeds again for the same session, because
// a lost reply is retried, but for no other session.
func TestLifeCycle(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	stores, _, _ := newStores(t, 1)
	s := stores[0]
	loginToken, want := begin(t, s)

	found, err := s.Find(ctx, loginToken)
	if diff := cmp.Diff(want, found); err != nil || diff != "" {
		t.Error(err, diff)
	}
	tried, left, err := s.Try(ctx, loginToken)
	if diff := cmp.Diff(want, tried); err != nil || diff != "" || left != MaxAttempts-1 {
		t.Errorf("Try: got %d attempts left, %v, %s", left, err, diff)
	}

	testkit.NoError(t, s.Finish(ctx, loginToken, "session 1"))
	testkit.NoError(t, s.Finish(ctx, loginToken, "session 1"))
	wantErr(t, "another session", s.Finish(ctx, loginToken, "session 2"), ErrNone)
	_, err = s.Find(ctx, loginToken)
	wantErr(t, "find a finished login", err, ErrNone)
	_, _, err = s.Try(ctx, loginToken)
	wantErr(t, "try a finished login", err, ErrNone)
}

// A cancelled login cannot be completed, and the session of a login that was completed a moment before is
// reported, so that it can be ended.
func TestCancel(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	stores, _, _ := newStores(t, 1)
	s := stores[0]

	loginToken, _ := begin(t, s)
	cancelled, sessionID, err := s.Cancel(ctx, loginToken)
	if !cancelled || sessionID != "" || err != nil {
		t.Errorf("Cancel: got %v, %q, %v; want true and no session", cancelled, sessionID, err)
	}
	wantErr(t, "finish a cancelled login", s.Finish(ctx, loginToken, "session"), ErrNone)

	loginToken, _ = begin(t, s)
	testkit.NoError(t, s.Finish(ctx, loginToken, "session"))
	for range 2 { // a repeated request gets the same response
		cancelled, sessionID, err = s.Cancel(ctx, loginToken)
		if cancelled || sessionID != "session" || err != nil {
			t.Errorf("Cancel after Finish: got %v, %q, %v; want false and the session", cancelled, sessionID, err)
		}
	}
}

// Of 100 attempts that two servers count at the same time, exactly MaxAttempts are allowed.
func TestAttemptsAreCountedExactly(t *testing.T) {
	t.Parallel()
	stores, _, _ := newStores(t, 2)
	loginToken, _ := begin(t, stores[0])

	var allowed atomic.Int64
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			_, _, err := stores[i%2].Try(context.Background(), loginToken)
			switch {
			case err == nil:
				allowed.Add(1)
			case !errors.Is(err, ErrNone):
				t.Error(err)
			}
		})
	}
	group.Wait()

	if n := allowed.Load(); n != MaxAttempts {
		t.Errorf("got %d attempts, want %d", n, MaxAttempts)
	}
	_, err := stores[0].Find(t.Context(), loginToken)
	wantErr(t, "find after too many attempts", err, ErrNone)
}

// A login expires on the clock of the server, and its key in Redis, too.
func TestExpiry(t *testing.T) {
	t.Parallel()
	stores, conn, now := newStores(t, 1)
	loginToken, _ := begin(t, stores[0])

	ttl, err := redis.Int64(conn.Do("PTTL", keyOf(loginToken)))
	if err != nil || ttl <= 0 || ttl > MaxAge.Milliseconds() {
		t.Errorf("got TTL %v, %v; want at most %v", ttl, err, MaxAge)
	}

	*now = now.Add(MaxAge)
	_, err = stores[0].Find(t.Context(), loginToken)
	wantErr(t, "find an expired login", err, ErrNone)
}

// Whoever can write to Redis can neither forge a login nor copy one, and the token is not in Redis.
func TestForgery(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	stores, conn, _ := newStores(t, 1)
	s := stores[0]
	victim, _ := begin(t, s)
	own, _ := begin(t, s)

	sealed, err := redis.String(conn.Do("HGET", keyOf(victim), "record"))
	testkit.NoError(t, err)
	if strings.Contains(sealed, victim) || strings.Contains(keyOf(victim), victim) {
		t.Error("the token of the login is in Redis")
	}

	for name, forged := range map[string]string{
		"the record of another login": sealed,
		"another user":                strings.Replace(sealed, "65f0c0ffee", "65f0c0ffef", 1),
		"no MAC":                      `{"userId":"65f0c0ffee0123456789abcd"}`,
		"another secret":              string(New(nil, [][]byte{[]byte("another secret")}, time.Now).keys.Seal(keyOf(own), []byte(`{}`))),
		"nothing":                     "",
	} {
		_, err := conn.Do("HSET", keyOf(own), "record", forged)
		testkit.NoError(t, err)

		_, err = s.Find(ctx, own)
		wantErr(t, name, err, ErrNone)
	}

	for _, bad := range []string{"", "x", victim + "x", strings.Repeat("*", len(victim))} {
		_, err := s.Find(ctx, bad)
		wantErr(t, "find "+bad, err, ErrNone)
		_, _, err = s.Try(ctx, bad)
		wantErr(t, "try "+bad, err, ErrNone)
	}
}

// Every bit of a token is random.
func TestTokensAreRandom(t *testing.T) {
	t.Parallel()
	stores, _, _ := newStores(t, 1)

	testkit.CheckRandom(t, "pending login", token.Size, func() []byte {
		loginToken, _ := begin(t, stores[0])
		raw, ok := token.Decode(loginToken, token.Size)
		if !ok {
			t.Fatalf("Begin: got the malformed token %s", loginToken)
		}

		return raw
	})
}
