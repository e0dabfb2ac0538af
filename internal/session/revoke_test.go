package session

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// A login that started before the sessions were revoked fails; one that starts afterwards
// succeeds. If a session is rotated after RevokeEverything has scanned past its new ID, it ends
// during the rotation.
func TestGeneration(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		revoke    func(m *Manager) error
		rotateErr error // of a session from the old generation
	}{
		"one user": {func(m *Manager) error { return errorOf(m.RevokeAll(background, "u", "", Revoked)) }, ErrReplaced},
		// Only the first step, because the scan that follows it could find the session here.
		"everything": {func(m *Manager) error { return m.startGeneration(background) }, &EndedError{Revoked}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, conn := newManager(t)
			earlyLogin := login(t, m, "u")
			_, token := begin(t, m)
			loaded := load(t, m, token)
			testkit.NoError(t, tc.revoke(m))

			_, _, err := m.Begin(background, earlyLogin)
			assertError(t, err, &EndedError{Revoked})
			_, _, err = m.Rotate(loaded)
			assertError(t, err, tc.rotateErr)
			assertRecords(t, conn, 0)

			_, token = begin(t, m)
			_, _, err = m.Rotate(load(t, m, token))
			testkit.NoError(t, err)
		})
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
			t.Fatalf("key %s is missing, want one for every shard", key)
		}
	}
}

// A session that timed out long ago does not count as ended by a revocation. If only the user's
// sessions are revoked, the timeout remains the reason for its end.
func TestRevokeAfterTimeout(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end    func(*Manager) (int, error)
		reason Reason
	}{
		"everything": {func(m *Manager) (int, error) { return m.RevokeEverything(background, func(int) {}) }, Revoked},
		"one user":   {func(m *Manager) (int, error) { return m.RevokeAll(background, "u", "", Revoked) }, IdleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, conn := newManager(t)
			s, token := begin(t, m)

			// Redis now looks as it does ten minutes after the timeout.
			remaining := tombstoneTTL - 10*time.Minute
			_, err := conn.Do("PEXPIRE", m.keys.record(s.ID), remaining.Milliseconds())
			testkit.NoError(t, err)
			_, err = conn.Do("ZADD", m.keys.index("u"), time.Now().Add(-10*time.Minute).UnixMicro(), s.ID)
			testkit.NoError(t, err)

			if n, err := tc.end(m); n != 0 || err != nil {
				t.Errorf("got %d ended sessions, %v; want 0", n, err)
			}

			m.options.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
			assertError(t, errorOf(m.Load(background, token)), &EndedError{tc.reason})
		})
	}
}

// If Redis fails while a logout follows the rotations of a session, nobody knows whether the
// session is live. The logout must not report that there was nothing to end.
func TestFailureWhileFollowingRotations(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	s, token := begin(t, m)
	next, _, err := m.Rotate(load(t, m, token))
	testkit.NoError(t, err)

	_, err = conn.Do("DEL", m.keys.record(next.ID))
	testkit.NoError(t, err)
	_, err = conn.Do("HSET", m.keys.tombstone(next.ID), "a", "1") // GET fails
	testkit.NoError(t, err)

	assertError(t, logOut(m, token), ErrUnavailable)
	assertError(t, m.Revoke(background, "u", s.ID, "by"), ErrUnavailable)
	assertError(t, m.supersede(background, s.ID), ErrUnavailable)
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

	assertError(t, logOut(m, token), ErrReplaced)
	ended, err := m.end(background, id, LoggedOut)
	if ended || err != nil {
		t.Errorf("got ended %v, %v; want false", ended, err)
	}

	testkit.NoError(t, errorOf(m.RevokeAll(background, "u", id, Revoked)))
}

// The ACL user in the example of configs/redis.conf has all necessary permissions, and no more.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	file, err := os.ReadFile("../../configs/redis.conf")
	testkit.NoError(t, err)
	_, rules, _ := strings.Cut(string(file), "# user ")
	args := []any{"SETUSER"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}

	_, err = server.Conn(t).Do("ACL", args...)
	testkit.NoError(t, err)

	limited := server.Redis
	limited.DB = 1
	limited.Username = "latchkey"
	limited.Password = "a-long-random-password"
	cached := newCachedManagers(t, limited, 1)[0]
	_, token := begin(t, cached)
	awaitInMemory(t, cached, token)
	testkit.NoError(t, logOut(cached, token))

	m := newManagerOn(t, limited)
	m.options.MaxPerUser = 2
	for _, op := range operations {
		s := newSpecimen(t, m, limited.Conn(t))
		if err := op.run(s); err != nil {
			t.Errorf("%s: %v", op.name, err)
		}
	}

	assertError(t, logOut(m, newToken("AA")), ErrNone) // reads a tombstone
	if sessions, users, err := m.Count(background); err != nil || sessions != 1 || users != 1 {
		t.Errorf("got %d sessions, %d users, %v; want 1, 1", sessions, users, err)
	}

	for _, forbidden := range [][]any{{"KEYS", "*"}, {"GET", "x"}, {"CONFIG", "GET", "*"}} {
		if _, err := m.redis.Do(background, forbidden[0].(string), forbidden[1].(string), forbidden[2:]...); err == nil {
			t.Errorf("%v: got no error, want the command to be forbidden", forbidden)
		}
	}
}
