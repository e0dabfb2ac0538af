package session

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
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

// newManager returns a Manager on an empty database, and a connection to inspect that.
func newManager(t testing.TB) (*Manager, redis.Conn) {
	t.Helper()
	r := storetest.NewRedis(t)
	conns := conntest.Redis(t, r, redisconn.Options{})
	m := New(conns, Options{
		Secrets:       [][]byte{[]byte("a secret")},
		Idle:          time.Hour,
		Absolute:      4 * time.Hour,
		TouchInterval: time.Minute,
		Log:           slog.New(slog.DiscardHandler),
	})

	return m, r.Conn(t)
}

func generation(t testing.TB, m *Manager) Generation {
	t.Helper()
	g, err := m.Generation(context.Background(), "u")
	testkit.NoError(t, err)

	return g
}

func begin(t testing.TB, m *Manager) (*Session, string) {
	t.Helper()
	s, token, err := m.Begin(context.Background(), Start{Owner: Owner{UserID: "u", Email: "ann@example.com"}, Method: "password", Generation: generation(t, m)})
	testkit.NoError(t, err)

	return s, token
}

// load returns a context that carries the session of a token.
func load(t *testing.T, m *Manager, token string) context.Context {
	t.Helper()
	ctx, err := m.Load(context.Background(), token)
	testkit.NoError(t, err)

	return ctx
}

func TestTokenForm(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100_000 {
		token := newToken("AA")
		if !IsToken(token) || seen[token] {
			t.Fatalf("got token %q, want a well-formed one that is new", token)
		}

		seen[token] = true
	}

	good := newToken("AA")
	for _, bad := range []string{
		"", "x", good[:42], good + "A", good[:42] + "=", good[:42] + "+", good[:42] + "/", good[:42] + "\n", good[:42] + "\x00",
		strings.Repeat("A", 42) + "B", // the last two bits are not part of the value
		"sess:" + good[:38], strings.Repeat("é", 21) + "x",
	} {
		if IsToken(bad) {
			t.Errorf("IsToken(%q) = true, want false", bad)
		}
	}
}

// Load returns the session that Begin stored. Redis contains neither the token nor anything
// that it could be derived from.
func TestBeginLoad(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	begun, token := begin(t, m)
	ctx := load(t, m, token)
	loaded, ok := m.FromContext(ctx)
	if !ok {
		t.Fatal("got no session from the context, want one")
	}

	if diff := cmp.Diff(begun, loaded, cmpopts.IgnoreUnexported(Session{})); diff != "" {
		t.Error(diff)
	}

	if _, err := redis.String(conn.Do("GET", m.keys.record(begun.ID))); err != nil {
		t.Error(err)
	}

	raw, _ := base64.RawURLEncoding.DecodeString(token)
	names, err := redis.Strings(conn.Do("KEYS", "*"))
	if err != nil || len(names) != 2 {
		t.Fatalf("got keys %v, %v; want a record and an index", names, err)
	}

	for _, name := range names {
		dump, err := redis.String(conn.Do("GET", name))
		if strings.HasPrefix(name, "idx:") {
			var members []string
			members, err = redis.Strings(conn.Do("ZRANGE", name, 0, -1))
			dump = strings.Join(members, " ")
		}
		if err != nil || strings.Contains(name+dump, token) || strings.Contains(name+dump, string(raw)) {
			t.Errorf("%s: got %q, %v; want no token", name, dump, err)
		}
	}
}

// A touch must not bring back a session that has ended.
func TestTouchIsConditional(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	begun, token := begin(t, m)
	ctx := load(t, m, token)
	s, _ := m.FromContext(ctx)
	testkit.NoError(t, m.End(ctx, LoggedOut))

	m.touch(ctx, s, time.Now().Add(time.Hour))
	if n, err := redis.Int(conn.Do("EXISTS", m.keys.record(begun.ID))); err != nil || n != 0 {
		t.Errorf("after a touch: got %d records, %v; want 0", n, err)
	}

	if listed, err := m.List(ctx, "u"); err != nil || len(listed) != 0 {
		t.Errorf("after a touch: got list %v, %v; want none", listed, err)
	}

	if _, err := m.Load(context.Background(), token); !errors.Is(err, ErrNone) {
		t.Errorf("load after the end: got %v, want ErrNone", err)
	}
}

// A user who revokes all other sessions while their own is being rotated stays logged in, and
// the rotation succeeds.
func TestRotateDuringRevokeOthers(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	for range 200 {
		_, token := begin(t, m)
		ctx := load(t, m, token)
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := m.RevokeAll(context.Background(), "u", IDOf(token), Revoked); err != nil {
				t.Error(err)
			}
		})

		_, next, err := m.Rotate(ctx)
		group.Wait()
		if err != nil {
			t.Fatalf("rotate: got %v, want no error", err)
		}

		load(t, m, next)
		if listed, err := m.List(ctx, "u"); err != nil || len(listed) != 1 {
			t.Fatalf("got list %v, %v; want one session", listed, err)
		}

		if n, err := m.RevokeAll(ctx, "u", "", Revoked); n != 1 || err != nil {
			t.Fatalf("got %d ended, %v; want 1", n, err)
		}
	}
}

// A logout with an old token ends the session after several rotations.
func TestEndFollowsRotations(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	_, first := begin(t, m)
	token := first
	for range 5 {
		var err error
		if _, token, err = m.Rotate(load(t, m, token)); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := m.Load(context.Background(), first); !errors.Is(err, ErrReplaced) {
		t.Errorf("load with the first token: got %v, want ErrReplaced", err)
	}
	testkit.NoError(t, logOut(context.Background(), m, first))

	if _, err := m.Load(context.Background(), token); !errors.Is(err, ErrNone) {
		t.Errorf("load with the last token: got %v, want ErrNone", err)
	}

	if live, err := redis.Strings(conn.Do("KEYS", "sess:*")); err != nil || len(live) != 0 {
		t.Errorf("got live sessions %v, %v; want none", live, err)
	}
}

// If Redis fails while a logout follows the rotations of a session, nobody knows whether the
// session is live. The logout must not report that there was nothing to end.
func TestFailureWhileFollowingRotations(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m, conn := newManager(t)
	s, token := begin(t, m)
	next, _, err := m.Rotate(load(t, m, token))
	testkit.NoError(t, err)

	_, err = conn.Do("DEL", m.keys.record(next.ID))
	testkit.NoError(t, err)
	_, err = conn.Do("HSET", m.keys.tombstone(next.ID), "a", "1") // GET fails
	testkit.NoError(t, err)

	assertError(t, logOut(ctx, m, token), ErrUnavailable)
	assertError(t, m.Revoke(ctx, "u", s.ID, Revoked), ErrUnavailable)
	assertError(t, m.supersede(ctx, s.ID), ErrUnavailable)
}

// A session that times out during its request, for example while a password is hashed, is
// neither extended nor reported as live.
func TestTimeoutDuringRequest(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	s, token := begin(t, m)
	loaded := load(t, m, token)
	before, err := redis.String(conn.Do("GET", m.keys.record(s.ID)))
	testkit.NoError(t, err)

	m.options.Now = func() time.Time { return time.Now().Add(time.Hour) }
	_, _, err = m.Rotate(loaded)
	assertError(t, err, &EndedError{IdleTimeout})
	assertError(t, m.Recheck(loaded), &EndedError{IdleTimeout})

	if after, err := redis.String(conn.Do("GET", m.keys.record(s.ID))); err != nil || after != before {
		t.Errorf("got record %q, %v; want %q", after, err, before)
	}
}

// Counting sessions ends none, even on a machine with a wrong clock.
func TestCountEndsNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m, _ := newManager(t)
	_, token := begin(t, m)

	m.options.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if sessions, users, err := m.Count(ctx); sessions != 0 || users != 0 || err != nil {
		t.Errorf("got %d sessions, %d users, %v; want none", sessions, users, err)
	}

	m.options.Now = time.Now
	load(t, m, token)
}

// A client that has disconnected leaves no change half done.
func TestCancelledRequest(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, token, err := m.Begin(gone, Start{Owner: Owner{UserID: "u"}, Method: "password"})
	testkit.NoError(t, err)

	ctx, err := m.Load(gone, token)
	testkit.NoError(t, err)

	if _, token, err = m.Rotate(ctx); err != nil {
		t.Fatal(err)
	}
	testkit.NoError(t, logOut(gone, m, token))

	if live, err := redis.Strings(conn.Do("KEYS", "sess:*")); err != nil || len(live) != 0 {
		t.Errorf("got live sessions %v, %v; want none", live, err)
	}
}

// A session that begins in the context of another one leaves that one live.
func TestBeginBesideAnother(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	first, token := begin(t, m)
	ctx := load(t, m, token)
	second, _, err := m.Begin(ctx, Start{Owner: Owner{UserID: "v"}, Method: "password"})
	if err != nil || second.ID == first.ID {
		t.Fatalf("got %+v, %v; want a new session", second, err)
	}

	if current, _ := m.FromContext(ctx); current.ID != first.ID || current.UserID != "u" {
		t.Errorf("got %+v from the context, want the first session", current)
	}
}

// No operation passes a malformed token to Redis.
func TestMalformedTokens(t *testing.T) {
	t.Parallel()
	nowhere := redisconn.New(redisconn.Options{Addr: "127.0.0.1:1"})
	m := New(nowhere, Options{Secrets: [][]byte{[]byte("x")}, Log: slog.New(slog.DiscardHandler)})
	for _, token := range []string{"", "x", "sess:y"} {
		if _, err := m.Load(context.Background(), token); !errors.Is(err, ErrNone) {
			t.Errorf("load with %q: got %v, want ErrNone", token, err)
		}
		if err := logOut(context.Background(), m, token); !errors.Is(err, ErrNone) {
			t.Errorf("logout with %q: got %v, want ErrNone", token, err)
		}

		if id := IDOf(token); id != "" {
			t.Errorf("IDOf(%q) = %q, want none", token, id)
		}
	}
}

// Tombstones that form a cycle do not keep Redis busy forever. Only someone with write access
// to Redis can create them.
func TestTombstoneCycle(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	token := newToken(shardOf("u"))
	id := IDOf(token)
	_, err := conn.Do("SET", m.keys.tombstone(id), "replaced "+id)
	testkit.NoError(t, err)
	if err := logOut(context.Background(), m, token); !errors.Is(err, ErrReplaced) {
		t.Errorf("logout: got %v, want ErrReplaced", err)
	}

	if ended, err := m.end(context.Background(), id, LoggedOut); ended || err != nil {
		t.Errorf("got ended %v, %v; want false", ended, err)
	}

	if _, err := m.RevokeAll(context.Background(), "u", id, Revoked); err != nil {
		t.Error(err)
	}
}

// Every key expires, including the tombstone of a rotation.
func TestEveryKeyExpires(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	_, token := begin(t, m)
	ctx := load(t, m, token)
	if _, _, err := m.Rotate(ctx); err != nil {
		t.Fatal(err)
	}

	if _, err := m.RevokeAll(context.Background(), "u", "", Revoked); err != nil {
		t.Fatal(err)
	}

	begin(t, m)
	names, err := redis.Strings(conn.Do("KEYS", "*"))
	if err != nil || len(names) != 5 { // two tombstones of the first; record, index and generation
		t.Fatalf("got keys %v, %v; want 5", names, err)
	}

	for _, key := range names {
		ttl, err := redis.Int64(conn.Do("PTTL", key))
		if err != nil || ttl <= 0 || time.Duration(ttl)*time.Millisecond > time.Hour+tombstoneTTL {
			t.Errorf("%s: got TTL %d ms, %v; want at most %v", key, ttl, err, time.Hour+tombstoneTTL)
		}
	}
}

// A login that started before all sessions were revoked fails; one that starts afterwards
// succeeds.
func TestGeneration(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	ctx := context.Background()
	early := Start{Owner: Owner{UserID: "u"}, Method: "password", Generation: generation(t, m)}
	if n, err := m.RevokeAll(ctx, "u", "", Revoked); n != 0 || err != nil {
		t.Fatalf("got %d ended, %v; want 0", n, err)
	}

	var ended *EndedError
	if _, _, err := m.Begin(ctx, early); !errors.As(err, &ended) || ended.Reason != Revoked {
		t.Errorf("earlier login: got %v, want it revoked", err)
	}

	if live, err := redis.Strings(conn.Do("KEYS", "sess:*")); err != nil || len(live) != 0 {
		t.Errorf("got live sessions %v, %v; want none", live, err)
	}

	late := early
	late.Generation = generation(t, m)
	if _, _, err := m.Begin(ctx, late); err != nil {
		t.Errorf("later login: got %v, want no error", err)
	}
}

// On a Redis Cluster, every shard has a key of the global generation.
func TestGenerationInEveryShard(t *testing.T) {
	t.Parallel()
	k := keys{cluster: true}
	all := map[string]bool{}
	for _, key := range k.globalGenerations() {
		all[key] = true
	}

	if len(all) != 4096 {
		t.Errorf("got %d keys, want 4096", len(all))
	}

	for i := range 20_000 {
		if key := k.globalGeneration(shardOf(strconv.Itoa(i))); !all[key] {
			t.Fatalf("got no key %s, want one for every shard", key)
		}
	}
}

// The same for the sessions of all users. A session that is rotated after the scan has passed
// its new ID ends during the rotation.
func TestGlobalGeneration(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	ctx := context.Background()
	early := Start{Owner: Owner{UserID: "u"}, Method: "password", Generation: generation(t, m)}
	_, token := begin(t, m)
	loaded := load(t, m, token)
	// This is the first step of RevokeEverything. The scan that follows it finds nothing here.
	testkit.NoError(t, m.startGeneration(ctx))

	var ended *EndedError
	if _, _, err := m.Begin(ctx, early); !errors.As(err, &ended) || ended.Reason != Revoked {
		t.Errorf("earlier login: got %v, want it revoked", err)
	}

	if _, _, err := m.Rotate(loaded); !errors.As(err, &ended) || ended.Reason != Revoked {
		t.Errorf("rotate: got %v, want it revoked", err)
	}

	if n, err := m.RevokeEverything(ctx, func(int) {}); n != 0 || err != nil {
		t.Errorf("got %d ended, %v; want 0", n, err)
	}

	if live, err := redis.Strings(conn.Do("KEYS", "sess*")); err != nil || len(live) != 0 {
		t.Errorf("got live sessions %v, %v; want none", live, err)
	}

	late := early
	late.Generation = generation(t, m)
	if _, token, err := m.Begin(ctx, late); err != nil {
		t.Errorf("later login: got %v, want no error", err)
	} else if _, _, err := m.Rotate(load(t, m, token)); err != nil {
		t.Errorf("rotate after the later login: got %v, want no error", err)
	}
}

// A difference of an hour between the clocks of the server and Redis changes no timeout.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{time.Hour, -time.Hour} {
		m, conn := newManager(t)
		m.options.Now = func() time.Time { return time.Now().Add(skew) }
		begun, token := begin(t, m)
		for name, want := range map[string]time.Duration{m.keys.record(begun.ID): time.Hour + tombstoneTTL, m.keys.index("u"): time.Hour + tombstoneTTL} {
			ttl, err := redis.Int64(conn.Do("PTTL", name))
			if off := want - time.Duration(ttl)*time.Millisecond; err != nil || off < 0 || off > 30*time.Second {
				t.Errorf("clock off by %v: %s: got TTL %d ms, %v; want %v", skew, name, ttl, err, want)
			}
		}

		if _, err := m.Load(context.Background(), token); err != nil {
			t.Errorf("clock off by %v: load: got %v, want no error", skew, err)
		}

		if live, err := m.List(context.Background(), "u"); err != nil || len(live) != 1 {
			t.Errorf("clock off by %v: got %d listed, %v; want 1", skew, len(live), err)
		}
	}
}

// If there are too many sessions, the one that would expire first ends. Near its absolute
// timeout, that is not necessarily the least recently used one.
func TestTooManySessionsNearAbsoluteTimeout(t *testing.T) {
	t.Parallel()
	for uses := range 3 {
		m, _ := newManager(t)
		var passed time.Duration
		m.options.Now = func() time.Time { return time.Now().Add(passed) }
		m.options.MaxPerUser = 2
		m.options.TouchInterval = time.Nanosecond
		m.options.Idle = 3*time.Hour - time.Minute // the clock of Redis does not advance
		_, first := begin(t, m)
		m.options.Idle = 3 * time.Hour
		passed = 2 * time.Hour
		_, second := begin(t, m)
		for range uses {
			load(t, m, first)
		}

		begin(t, m)
		if _, err := m.Load(context.Background(), first); err == nil {
			t.Errorf("used %d times: got the session that expires first live, want it ended", uses)
		}

		load(t, m, second)
	}
}

// The ACL user in the example of configs/redis.conf has all necessary permissions, and no more.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	file, err := os.ReadFile("../../configs/redis.conf")
	testkit.NoError(t, err)
	_, rules, found := strings.Cut(string(file), "# user ")
	if !found {
		t.Fatal("got no ACL user in configs/redis.conf, want an example")
	}

	args := []any{"SETUSER"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}

	_, err = server.Conn(t).Do("ACL", args...)
	testkit.NoError(t, err)
	conns := redisconn.New(redisconn.Options{Addr: server.Addr, DB: 1, Username: "latchkey", Password: "a-long-random-password"})
	t.Cleanup(conns.Close)
	m := New(conns, Options{
		Secrets: [][]byte{[]byte("a secret")}, Idle: time.Hour, Absolute: 4 * time.Hour, TouchInterval: time.Nanosecond, MaxPerUser: 2,
		Log: slog.New(slog.DiscardHandler),
	})

	ctx := context.Background()
	testkit.NoError(t, m.Ping(ctx))
	var token string
	for range 3 {
		_, token = begin(t, m)
	}

	_, token, err = m.Rotate(load(t, m, token))
	testkit.NoError(t, err)
	m.macKeys = append(newMACKeys([][]byte{[]byte("another")}), m.macKeys...)
	s, _ := m.FromContext(load(t, m, token))
	if err := logOut(ctx, m, newToken("AA")); !errors.Is(err, ErrNone) {
		t.Errorf("logout with an unknown token: got %v, want ErrNone", err)
	}

	if live, err := m.List(ctx, "u"); err != nil || len(live) != 2 {
		t.Errorf("got %d listed, %v; want 2", len(live), err)
	}

	if sessions, _, err := m.Count(ctx); err != nil || sessions != 2 {
		t.Errorf("got %d sessions, %v; want 2", sessions, err)
	}

	testkit.NoError(t, m.Revoke(ctx, "u", s.ID, Revoked))
	if n, err := m.RevokeAll(ctx, "u", "", Revoked); n != 1 || err != nil {
		t.Errorf("got %d ended, %v; want 1", n, err)
	}

	_, err = m.RevokeEverything(ctx, func(int) {})
	testkit.NoError(t, err)
	for _, forbidden := range [][]any{{"KEYS", "*"}, {"GET", "x"}, {"CONFIG", "GET", "*"}} {
		if _, err := conns.Do(ctx, forbidden[0].(string), forbidden[1].(string), forbidden[2:]...); err == nil {
			t.Errorf("%v: got no error, want it forbidden", forbidden)
		}
	}
}

// The index contains exactly the existing records, even if nobody lists the sessions.
func TestIndexFollowsRecords(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m, conn := newManager(t)
	index := m.keys.index("u")
	assertIndex := func(step string, want ...string) {
		t.Helper()
		listed, err := redis.Strings(conn.Do("ZRANGE", index, 0, -1))
		testkit.NoError(t, err)
		slices.Sort(listed)
		slices.Sort(want)
		if !slices.Equal(listed, want) {
			t.Errorf("%s: got index %v, want %v", step, listed, want)
		}
	}

	first, token := begin(t, m)
	second, _ := begin(t, m)
	assertIndex("two logins", first.ID, second.ID)

	rotated, token, err := m.Rotate(load(t, m, token))
	testkit.NoError(t, err)
	assertIndex("rotated", rotated.ID, second.ID)

	testkit.NoError(t, m.Revoke(ctx, "u", second.ID, Revoked))
	assertIndex("revoked", rotated.ID)

	testkit.NoError(t, logOut(ctx, m, token))
	assertIndex("logged out")

	longGone := time.Now().Add(-tombstoneTTL - time.Hour).UnixMicro()
	_, err = conn.Do("ZADD", index, longGone, first.ID)
	testkit.NoError(t, err)
	third, _ := begin(t, m)
	assertIndex("login after another record expired", third.ID)
}

// A session that timed out long ago does not count as ended by a revocation. If only the user's
// sessions are revoked, its reason stays a timeout.
func TestRevokeAfterTimeout(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, tc := range map[string]struct {
		end    func(*Manager) (int, error)
		reason Reason
	}{
		"everything": {func(m *Manager) (int, error) { return m.RevokeEverything(ctx, func(int) {}) }, Revoked},
		"of a user":  {func(m *Manager) (int, error) { return m.RevokeAll(ctx, "u", "", Revoked) }, IdleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, conn := newManager(t)
			s, token := begin(t, m)

			// The state of Redis ten minutes after the timeout.
			left := tombstoneTTL - 10*time.Minute
			_, err := conn.Do("PEXPIRE", m.keys.record(s.ID), left.Milliseconds())
			testkit.NoError(t, err)
			_, err = conn.Do("ZADD", m.keys.index("u"), time.Now().Add(-10*time.Minute).UnixMicro(), s.ID)
			testkit.NoError(t, err)

			if n, err := tc.end(m); n != 0 || err != nil {
				t.Errorf("got %d ended, %v; want 0", n, err)
			}

			m.options.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
			_, err = m.Load(ctx, token)
			assertError(t, err, &EndedError{tc.reason})
		})
	}
}

// The TTL of a record does not decide whether its session is live. If somebody lowers it, the
// session can still be ended and rotated.
func TestLoweredTTL(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, end := range map[string]func(m *Manager, s *Session, token string) error{
		"logout":     func(m *Manager, _ *Session, token string) error { return logOut(ctx, m, token) },
		"revoke":     func(m *Manager, s *Session, _ string) error { return m.Revoke(ctx, "u", s.ID, Revoked) },
		"login over": func(m *Manager, s *Session, _ string) error { return m.supersede(ctx, s.ID) },
		"everything": func(m *Manager, _ *Session, _ string) error {
			_, err := m.RevokeEverything(ctx, func(int) {})
			return err
		},
		"rotate": func(m *Manager, _ *Session, token string) error {
			loaded, err := m.Load(ctx, token)
			if err == nil {
				_, _, err = m.Rotate(loaded)
			}

			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, conn := newManager(t)
			s, token := begin(t, m)
			_, err := conn.Do("EXPIRE", m.keys.record(s.ID), 3600)
			testkit.NoError(t, err)

			testkit.NoError(t, end(m, s, token))
			if _, err := m.Load(ctx, token); !IsGone(err) {
				t.Errorf("load with the old token: got %v, want the session gone", err)
			}
		})
	}
}

// If the script of a login runs twice because its reply was lost, it does not bring back a
// session that has ended in between.
func TestBeginRunsTwice(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m, _ := newManager(t)
	s, token := begin(t, m)
	testkit.NoError(t, m.Revoke(ctx, "u", s.ID, Revoked))

	start := Start{Owner: s.Owner, Method: "password", Generation: generation(t, m)}
	assertError(t, m.begin(ctx, m.newSession(s.ID, start), start), &EndedError{Revoked})
	_, err := m.Load(ctx, token)
	assertError(t, err, &EndedError{Revoked})
}

// A login does not count the session that it replaces, even if that was just rotated.
func TestLoginOverRotatedSessionAtLimit(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m, _ := newManager(t)
	m.options.MaxPerUser = 2
	other, _ := begin(t, m)
	own, token := begin(t, m)
	_, _, err := m.Rotate(load(t, m, token))
	testkit.NoError(t, err)

	_, _, err = m.Begin(ctx, Start{Owner: own.Owner, Method: "password", Generation: generation(t, m), Replaces: own.ID})
	testkit.NoError(t, err)
	if _, err := m.ByID(ctx, other.ID); err != nil {
		t.Errorf("other session: got %v, want it live", err)
	}
}

// logOut ends the session of a token.
func logOut(ctx context.Context, m *Manager, token string) error {
	_, err := m.EndToken(ctx, token, LoggedOut)
	return err
}
