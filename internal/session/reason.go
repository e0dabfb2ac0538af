package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"latchkey/internal/redisconn"
)

// Reason is why a session ended. Its values are part of the API.
type Reason string

// The reasons that the API reports to the client of an ended session.
const (
	IdleTimeout     Reason = "idle_timeout"
	AbsoluteTimeout Reason = "absolute_timeout"
	LoggedOut       Reason = "logged_out"
	Revoked         Reason = "revoked"
	PasswordChanged Reason = "password_changed"
	EmailChanged    Reason = "email_changed"
	FactorsChanged  Reason = "factors_changed"
	AccountDisabled Reason = "account_disabled"
	AccountDeleted  Reason = "account_deleted"
	TooManySessions Reason = "too_many_sessions"
)

// SeveralSessions is reported to a client whose request has several live sessions, of which
// none is used: see ErrAmbiguous. No session ends for this reason.
const SeveralSessions Reason = "several_sessions"

// replaced is the reason for a session whose client has a new token, after a rotation or a
// login. The API never reports it: see ErrReplaced.
const replaced Reason = "replaced"

// endReasons are the reasons for which sessions end, except for replaced.
var endReasons = []Reason{
	IdleTimeout,
	AbsoluteTimeout,
	LoggedOut,
	Revoked,
	PasswordChanged,
	EmailChanged,
	FactorsChanged,
	AccountDisabled,
	AccountDeleted,
	TooManySessions,
}

// Reasons are the reasons that the API reports.
var Reasons = append(slices.Clone(endReasons), SeveralSessions)

// allReasons are the values of the reason label in the metrics.
var allReasons = append(slices.Clone(endReasons), replaced)

const (
	// tombstoneTTL is how long the reason for a session's end is kept.
	tombstoneTTL = 24 * time.Hour

	// replacedTTL is how long the tombstone of a replaced token is kept. It must outlive
	// every request that was in flight when the token was replaced.
	replacedTTL = time.Minute

	// maxSuccessors bounds how many rotations are followed from an old token to the current
	// one. No client rotates more often within replacedTTL.
	maxSuccessors = 1000
)

// EndedError is an ErrNone with a known reason.
type EndedError struct{ Reason Reason }

// Error implements error.
func (e *EndedError) Error() string { return "session ended: " + string(e.Reason) }

// Is makes errors.Is report every EndedError as ErrNone.
func (e *EndedError) Is(target error) bool { return target == ErrNone }

// replacedError is an ErrReplaced that names the session's new ID. After a login, which
// starts an independent session, successor is empty.
type replacedError struct{ successor string }

func (e *replacedError) Error() string        { return ErrReplaced.Error() }
func (e *replacedError) Is(target error) bool { return target == ErrReplaced }

// whyEnded returns the error that a session's tombstone stands for, or ErrNone if there is no
// tombstone. Errors: also ErrUnavailable.
func (m *Manager) whyEnded(ctx context.Context, id string) error {
	text, err := redisconn.String(m.redis.Do(ctx, "GET", m.keys.tombstone(id)))
	if errors.Is(err, redisconn.ErrNil) {
		return ErrNone
	}
	if err != nil {
		return err
	}

	return readTombstone(text)
}

// readTombstone parses a tombstone: the reason, a space and an ID. After a rotation, that is the ID
// of the successor. Otherwise it identifies the caller that ended the session, or is random: see
// Manager.Revoke and Manager.end. It accepts reasons that it does not know, since a newer release
// may have added them, but ignores text that cannot be a reason.
func readTombstone(text string) error {
	reason, successor, _ := strings.Cut(text, " ")

	if Reason(reason) == replaced {
		return &replacedError{successor: successor}
	}

	const allowed = "abcdefghijklmnopqrstuvwxyz_"
	if reason == "" || strings.Trim(reason, allowed) != "" {
		return ErrNone
	}

	return &EndedError{Reason: Reason(reason)}
}
