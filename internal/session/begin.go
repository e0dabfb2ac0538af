package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"latchkey/internal/redisconn"
)

// Generation identifies the period between two revocations of all sessions: those of one
// user, and those of all users. A login notes the generation when it starts, and fails if the
// generation has changed by the time it ends. A revocation therefore also covers sessions that
// are about to begin.
// Generations are only compared for equality, so a wrong clock does no harm.
type Generation struct {
	user   string
	global string
}

// String returns the generation as text, for ParseGeneration.
func (g Generation) String() string { return g.user + "|" + g.global }

// ParseGeneration parses what Generation.String returns.
func ParseGeneration(text string) Generation {
	user, global, _ := strings.Cut(text, "|")

	return Generation{user: user, global: global}
}

// generationTTL is longer than a login can take, including the wait for a second factor.
const generationTTL = time.Hour

// Generation returns a user's current generation, for Start. Call it before checking any
// credentials. If the account does not exist, pass any ID. Errors: ErrUnavailable.
func (m *Manager) Generation(ctx context.Context, userID string) (Generation, error) {
	user := m.keys.generation(userID)
	global := m.keys.globalGeneration(shardOf(userID))

	var current Generation
	reply, err := m.redis.Do(ctx, "MGET", user, global)
	err = redisconn.Scan(reply, err, &current.user, &current.global)
	return current, err
}

// Start describes the session to begin.
type Start struct {
	Owner
	Client

	// Methods are how the user authenticated, the first factor first. A method without a time was proved
	// now.
	Methods []Method

	// Persistent is set if the cookie survives a browser restart.
	Persistent bool

	// Generation is the user's generation when the login started.
	Generation Generation

	// Replaces are the IDs of the sessions that the client had before, usually one. They may
	// belong to any user. They end once the new one has begun, so that a token planted in a
	// browser before a login is worthless afterwards (session fixation). They do not count
	// towards Options.MaxPerUser.
	Replaces []string
}

// Begin starts a session and returns it with its token, which must go into the cookie and
// nowhere else. If Begin fails, the session to be replaced stays live; of several, some may
// have ended. Redis commands: 1, and 2 per session to replace. Errors: ErrUnavailable; an
// EndedError if all of the user's sessions have been revoked since the login started.
func (m *Manager) Begin(ctx context.Context, start Start) (*Session, string, error) {
	token := newToken(shardOf(start.UserID))
	s := m.newSession(IDOf(token), start)

	if err := m.begin(ctx, s, start); err != nil {
		if errors.Is(err, ErrUnavailable) {
			m.undo(ctx, s) // the session may have begun
		}

		return nil, "", err
	}

	for _, id := range start.Replaces {
		if err := m.supersede(ctx, id); err != nil {
			m.undo(ctx, s)
			return nil, "", err
		}
	}

	m.options.Metrics.SessionStarted(s.Methods[0].Label(), s.Level())

	return s, token, nil
}

func (m *Manager) newSession(id string, start Start) *Session {
	now := toMillis(m.options.Now())

	s := &Session{
		ID:         id,
		Owner:      start.Owner,
		Client:     start.Client,
		Times:      Times{CreatedAt: now, ExpiresAt: now.Add(m.options.Absolute)},
		Proof:      newProof(start.Methods, now),
		Persistent: start.Persistent,
		generation: start.Generation.global,
	}
	s.markSeen(now, m.options.Idle)

	return s
}

func (m *Manager) begin(ctx context.Context, s *Session, start Start) error {
	value, err := s.seal(m.macKeys)
	if err != nil {
		return err
	}

	args := []any{
		m.keys.index(s.UserID), m.keys.generation(s.UserID), m.keys.globalGeneration(shardOf(s.UserID)),
		s.ID, value, m.ttl(s.IdleExpiresAt), start.Generation.user, start.Generation.global, m.options.MaxPerUser,
	}
	for _, id := range start.Replaces {
		args = append(args, id)
	}
	began, surplus, err := parseEnded(m.redis.Eval(ctx, m.scripts.begin, m.keys.record(s.ID), args...))
	if err != nil {
		return err
	}

	if began == 0 {
		return &EndedError{Reason: Revoked}
	}

	m.invalidate(ctx, surplus)
	m.options.Metrics.SessionsEnded(string(TooManySessions), len(surplus))

	return nil
}

// supersede ends a session whose client has been given a new one. For the next minute, the
// old token gets ErrReplaced instead of ErrNone, so that a late response to a request with the
// old token does not clear the new session's cookie.
func (m *Manager) supersede(ctx context.Context, id string) error {
	s, err := m.follow(ctx, id)
	if IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}

	_, err = m.end(ctx, s.ID, replaced)
	return err
}

// undo ends a session whose token was never sent to the client. It has its own time budget,
// since the request's budget may be used up. A failure is only logged: without the token, nobody
// can use the session.
func (m *Manager) undo(ctx context.Context, s *Session) {
	ctx = redisconn.WithBudget(ctx, m.redis.Timeout()/2)

	if _, err := m.end(ctx, s.ID, replaced); err != nil {
		m.options.Log.ErrorContext(ctx, "cannot undo session", "sessionId", s.ID, "error", err)
	}
}

// IsGone reports whether err means that there is no usable session, as opposed to
// ErrUnavailable, which leaves that open.
func IsGone(err error) bool {
	return errors.Is(err, ErrNone) || errors.Is(err, ErrReplaced) || errors.Is(err, ErrUntrusted) || errors.Is(err, ErrAmbiguous)
}
