package session

import (
	"net"
	"sync"
	"testing"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// A login replaces all sessions of the browser, and counts none of them.
func TestLoginOverSeveralSessionsAtLimit(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	m.options.MaxPerUser = 3
	other, _ := begin(t, m)
	first, firstToken := begin(t, m)
	second, secondToken := begin(t, m)

	start := login(t, m, "u")
	start.Replaces = []string{first.ID, second.ID}
	_, token, err := m.Begin(background, start)
	testkit.NoError(t, err)

	testkit.NoError(t, errorOf(m.ByID(background, other.ID)))
	assertError(t, errorOf(m.Load(background, firstToken)), ErrReplaced)
	assertError(t, errorOf(m.Load(background, secondToken)), ErrReplaced)
	testkit.NoError(t, errorOf(m.Load(background, firstToken, token, secondToken)))
}

// If Redis cannot answer for one of several tokens, the others do not decide.
func TestSeveralTokensWithoutAnswer(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	_, live := begin(t, m)
	unknown := newToken(shardOf("u"))
	_, err := conn.Do("HSET", m.keys.tombstone(IDOf(unknown)), "a", "1") // GET fails
	testkit.NoError(t, err)

	for _, tokens := range [][]string{{live, unknown}, {unknown, live}} {
		assertError(t, errorOf(m.Load(background, tokens...)), ErrUnavailable)
		assertError(t, errorOf(m.EndTokens(background, tokens, LoggedOut)), ErrUnavailable)
	}
}

// A logout that loses a race against a login over the same session has ended nothing. Its response
// must not clear the cookie, which is that of the new session by then. A logout that loses against
// another logout succeeds.
func TestLogoutLosesRace(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first func(m *Manager, s *Session) error
		want  error
	}{
		"against a login":        {func(m *Manager, s *Session) error { return m.supersede(background, s.ID) }, ErrReplaced},
		"against a logout":       {func(m *Manager, s *Session) error { return errorOf(m.end(background, s.ID, LoggedOut)) }, nil},
		"against a revocation":   {func(m *Manager, s *Session) error { return errorOf(m.RevokeAll(background, "u", "", Revoked)) }, nil},
		"against nothing at all": {func(*Manager, *Session) error { return nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct, proxied, proxy := storetest.ProxiedRedis(t)
			winner := newManagerOn(t, direct)
			loser := newManagerOn(t, proxied)
			s, token := begin(t, winner)

			// The first write of the logout comes after it has read the session.
			var once sync.Once
			var err error
			proxy.Set(storetest.Faults{Command: storetest.OnWrites(func(net.Conn, []byte) bool {
				once.Do(func() { err = tc.first(winner, s) })

				return false
			})})

			assertError(t, logOut(loser, token), tc.want)
			testkit.NoError(t, err)
		})
	}
}
