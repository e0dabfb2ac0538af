package session

import (
	"testing"

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
