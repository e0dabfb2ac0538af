package session

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// background is the context of calls outside a request.
var background = context.Background()

// newManager returns a Manager with an empty database, and a connection for inspecting that
// database.
func newManager(t testing.TB) (*Manager, redis.Conn) {
	t.Helper()
	r := storetest.NewRedis(t)
	return newManagerOn(t, r), r.Conn(t)
}

func newManagerOn(t testing.TB, r storetest.Redis) *Manager {
	t.Helper()
	return New(conntest.Redis(t, r, redisconn.Options{}), Options{
		Secrets:       [][]byte{[]byte("a secret")},
		Idle:          time.Hour,
		Absolute:      4 * time.Hour,
		TouchInterval: time.Minute,
		Log:           slog.New(slog.DiscardHandler),
	})
}

// login returns a user's login that starts now.
func login(t testing.TB, m *Manager, userID string) Start {
	t.Helper()
	g, err := m.Generation(background, userID)
	testkit.NoError(t, err)
	return Start{Owner: Owner{UserID: userID, Email: userID + "@example.com"}, Methods: []Method{{Method: Password}}, Generation: g}
}

func begin(t testing.TB, m *Manager) (*Session, string) {
	t.Helper()
	s, token, err := m.Begin(background, login(t, m, "u"))
	testkit.NoError(t, err)
	return s, token
}

// load returns a context that carries the session for a token.
func load(t *testing.T, m *Manager, token string) context.Context {
	t.Helper()
	ctx, err := m.Load(background, token)
	testkit.NoError(t, err)
	return ctx
}

// logOut ends the session that a token belongs to.
func logOut(m *Manager, token string) error {
	return errorOf(m.EndTokens(background, []string{token}, LoggedOut))
}

// errorOf returns the error of a call that also returns something else.
func errorOf[T any](_ T, err error) error { return err }

// assertRecords fails the test unless Redis contains the given number of records.
func assertRecords(t *testing.T, conn redis.Conn, want int) {
	t.Helper()
	records, err := redis.Strings(conn.Do("KEYS", "sess:*"))
	if err != nil || len(records) != want {
		t.Errorf("got records %v, %v; want %d", records, err, want)
	}
}

// Load returns the session that Begin stored. Redis contains neither the token nor anything
// that it could be derived from.
func TestBeginLoad(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	started, token := begin(t, m)
	loaded, _ := m.FromContext(load(t, m, token))
	if diff := cmp.Diff(started, loaded, cmpopts.IgnoreUnexported(Session{})); diff != "" {
		t.Error(diff)
	}

	names, err := redis.Strings(conn.Do("KEYS", "*"))
	if err != nil || len(names) != 2 {
		t.Fatalf("got keys %v, %v; want a record and an index", names, err)
	}

	record, err := redis.String(conn.Do("GET", m.keys.record(started.ID)))
	testkit.NoError(t, err)
	index, err := redis.Strings(conn.Do("ZRANGE", m.keys.index("u"), 0, -1))
	testkit.NoError(t, err)

	raw, _ := base64.RawURLEncoding.DecodeString(token)
	stored := fmt.Sprint(names, record, index)
	if strings.Contains(stored, token) || strings.Contains(stored, string(raw)) {
		t.Errorf("got %q in Redis, want no token", stored)
	}
}

// No operation passes a malformed token to Redis.
func TestMalformedTokens(t *testing.T) {
	t.Parallel()
	m := newManagerOn(t, storetest.Redis{Addr: "127.0.0.1:1"})
	for _, token := range []string{"", "x", "sess:y", newToken("AA") + "\n"} {
		assertError(t, errorOf(m.Load(background, token)), ErrNone)
		assertError(t, logOut(m, token), ErrNone)
		if id := IDOf(token); id != "" {
			t.Errorf("IDOf(%q) = %q, want \"\"", token, id)
		}
	}
}

// A client that disconnects does not leave a change half done.
func TestCancelledRequest(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	cancelled, cancel := context.WithCancel(background)
	cancel()
	_, token, err := m.Begin(cancelled, Start{Owner: Owner{UserID: "u"}, Methods: []Method{{Method: Password}}})
	testkit.NoError(t, err)
	ctx, err := m.Load(cancelled, token)
	testkit.NoError(t, err)
	_, token, err = m.Rotate(ctx)
	testkit.NoError(t, err)

	testkit.NoError(t, errorOf(m.EndTokens(cancelled, []string{token}, LoggedOut)))
	assertRecords(t, conn, 0)
}

// Every key, including a rotation's tombstone, expires on time, even if Redis's clock differs from
// ours.
func TestEveryKeyExpires(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		m, conn := newManager(t)
		m.options.Now = func() time.Time { return time.Now().Add(skew) }
		s, token := begin(t, m)
		next, _, err := m.Rotate(load(t, m, token))
		testkit.NoError(t, err)
		testkit.NoError(t, errorOf(m.RevokeAll(background, "u", "", Revoked)))
		current, token := begin(t, m)

		want := map[string]time.Duration{
			m.keys.tombstone(s.ID):    replacedTTL,
			m.keys.tombstone(next.ID): tombstoneTTL,
			m.keys.record(current.ID): time.Hour + tombstoneTTL,
			m.keys.index("u"):         time.Hour + tombstoneTTL,
			m.keys.generation("u"):    generationTTL,
		}
		for key, ttl := range want {
			millis, err := redis.Int64(conn.Do("PTTL", key))
			elapsed := ttl - time.Duration(millis)*time.Millisecond
			if err != nil || elapsed < 0 || elapsed > 30*time.Second {
				t.Errorf("clock off by %v: %s: got a TTL of %d ms, %v; want %v", skew, key, millis, err, ttl)
			}
		}

		if names, err := redis.Strings(conn.Do("KEYS", "*")); err != nil || len(names) != len(want) {
			t.Errorf("got keys %v, %v; want %v", names, err, want)
		}

		load(t, m, token)
		if live, err := m.List(background, "u"); err != nil || len(live) != 1 {
			t.Errorf("clock off by %v: got %d listed sessions, %v; want 1", skew, len(live), err)
		}
	}
}

// A session that times out during its request, for example while a password is hashed, is
// neither extended nor reported as live. Counting sessions ends none, because the clock of the
// operator's machine may be wrong.
func TestTimeoutDuringRequest(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	_, token := begin(t, m)
	loaded := load(t, m, token)

	m.options.Now = func() time.Time { return time.Now().Add(time.Hour) }
	_, _, err := m.Rotate(loaded)
	assertError(t, err, &EndedError{IdleTimeout})
	assertError(t, m.Recheck(loaded), &EndedError{IdleTimeout})
	if sessions, users, err := m.Count(background); sessions != 0 || users != 0 || err != nil {
		t.Errorf("got %d sessions, %d users, %v; want none", sessions, users, err)
	}

	m.options.Now = time.Now
	reloaded, _ := m.FromContext(load(t, m, token))
	if original, _ := m.FromContext(loaded); reloaded.value != original.value {
		t.Errorf("got record %q, want %q", reloaded.value, original.value)
	}
}

// The index contains exactly the existing records, even if nobody lists the sessions.
func TestIndexFollowsRecords(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	index := m.keys.index("u")
	assertIndex := func(step string, want ...string) {
		t.Helper()
		ids, err := redis.Strings(conn.Do("ZRANGE", index, 0, -1))
		testkit.NoError(t, err)
		slices.Sort(ids)
		slices.Sort(want)
		if !slices.Equal(ids, want) {
			t.Errorf("%s: got index %v, want %v", step, ids, want)
		}
	}

	first, token := begin(t, m)
	second, _ := begin(t, m)
	assertIndex("two logins", first.ID, second.ID)

	rotated, token, err := m.Rotate(load(t, m, token))
	testkit.NoError(t, err)
	assertIndex("rotated", rotated.ID, second.ID)

	testkit.NoError(t, m.Revoke(background, "u", second.ID, "by"))
	assertIndex("revoked", rotated.ID)

	testkit.NoError(t, logOut(m, token))
	assertIndex("logged out")

	expiredAt := time.Now().Add(-tombstoneTTL - time.Hour).UnixMicro()
	_, err = conn.Do("ZADD", index, expiredAt, first.ID)
	testkit.NoError(t, err)
	third, _ := begin(t, m)
	assertIndex("login after another record expired", third.ID)
}

// If the script of a login runs twice because its reply was lost, it does not bring back a
// session that has ended in between.
func TestBeginRunsTwice(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	s, token := begin(t, m)
	testkit.NoError(t, m.Revoke(background, "u", s.ID, "by"))

	start := login(t, m, "u")
	assertError(t, m.begin(background, m.newSession(s.ID, start), start), &EndedError{Revoked})
	assertError(t, errorOf(m.Load(background, token)), &EndedError{Revoked})
}

// A login does not count the session that it replaces, even if that was just rotated.
func TestLoginOverRotatedSessionAtLimit(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	m.options.MaxPerUser = 2
	other, _ := begin(t, m)
	own, token := begin(t, m)
	_, _, err := m.Rotate(load(t, m, token))
	testkit.NoError(t, err)

	start := login(t, m, "u")
	start.Replaces = []string{own.ID}
	_, _, err = m.Begin(background, start)
	testkit.NoError(t, err)
	testkit.NoError(t, errorOf(m.ByID(background, other.ID)))
}

// If there are too many sessions, the one that would expire first ends. Near its absolute
// timeout, that is not necessarily the least recently used one.
func TestTooManySessionsNearAbsoluteTimeout(t *testing.T) {
	t.Parallel()
	for uses := range 3 {
		m, _ := newManager(t)
		var elapsed time.Duration
		m.options.Now = func() time.Time { return time.Now().Add(elapsed) }
		m.options.MaxPerUser = 2
		m.options.TouchInterval = time.Nanosecond
		m.options.Idle = 3*time.Hour - time.Minute // Redis's clock does not advance
		_, first := begin(t, m)
		m.options.Idle = 3 * time.Hour
		elapsed = 2 * time.Hour
		_, second := begin(t, m)
		for range uses {
			load(t, m, first)
		}

		begin(t, m)
		assertError(t, errorOf(m.Load(background, first)), &EndedError{TooManySessions})
		load(t, m, second)
	}
}

// While Redis refuses writes, sessions still work. Failures to extend them cost little and do not
// flood the log, and sessions are extended again soon after Redis recovers.
func TestTouchWhileRedisRefusesWrites(t *testing.T) {
	t.Parallel()

	_, proxied, proxy := storetest.ProxiedRedis(t)
	m := newManagerOn(t, proxied)
	log := &testkit.Buffer{}
	now := time.Now()
	m.options.Log = slog.New(slog.NewTextHandler(log, nil))
	m.options.Now = func() time.Time { return now }
	_, token := begin(t, m)

	var scripts atomic.Int32
	proxy.Set(storetest.Faults{Command: storetest.OnWrites(func(client net.Conn, chunk []byte) bool {
		scripts.Add(1)
		return storetest.Say("-READONLY You can't write against a read only replica.\r\n")(client, chunk)
	})})

	const seconds = 20
	now = now.Add(10 * time.Minute).Truncate(time.Minute)
	for range seconds {
		for range 10 {
			load(t, m, token)
		}
		now = now.Add(time.Second)
	}
	if got, limit := int(scripts.Load()), 2*seconds/touchPause; got == 0 || got > limit {
		t.Errorf("failing scripts: got %d, want 1 to %d", got, limit)
	}
	if got := strings.Count(log.String(), "cannot extend sessions"); got != 1 {
		t.Errorf("log lines: got %d, want 1:\n%s", got, log)
	}

	proxy.Set(storetest.Faults{})
	now = now.Add(touchPause * time.Second)
	touched, _ := m.FromContext(load(t, m, token))
	if !touched.LastSeenAt.Equal(toMillis(now)) {
		t.Errorf("last seen: got %v, want %v", touched.LastSeenAt, now)
	}
}

// New starts no goroutines, because nothing could stop them.
func TestNewStartsNoGoroutine(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(*testing.T) { // fails if a goroutine is left
		client := redisconn.New(redisconn.Options{Addr: "127.0.0.1:1"})
		defer client.Close()
		New(client, Options{Secrets: [][]byte{[]byte("a secret")}})
	})
}
