package session

import (
	"strconv"
	"strings"
	"time"
)

// Reason is why a session ended. The text is part of the API.
type Reason string

// The reasons that the holder of an ended session is told.
const (
	IdleTimeout     Reason = "idle_timeout"
	AbsoluteTimeout Reason = "absolute_timeout"
	LoggedOut       Reason = "logged_out"
	Revoked         Reason = "revoked"
	PasswordChanged Reason = "password_changed"
	EmailChanged    Reason = "email_changed"
	AccountDisabled Reason = "account_disabled"
	AccountDeleted  Reason = "account_deleted"
	TooManySessions Reason = "too_many_sessions"
)

// replaced is the reason of a session whose client has another token now, after a
// rotation or a login. It is between us and the cookie: see ErrReplaced.
const replaced Reason = "replaced"

const (
	// traceTTL is how long the reason of an ended session is kept.
	traceTTL = 24 * time.Hour
	// replacedTTL is how long a token that was replaced is known as such. It outlives
	// every request that was under way then.
	replacedTTL = time.Minute
	// maxSuccessors is more than anyone can rotate in that time.
	maxSuccessors = 1000
)

// EndedError is an ErrNone of which the reason is known.
type EndedError struct{ Reason Reason }

// Error implements error.
func (e *EndedError) Error() string { return "session ended: " + string(e.Reason) }

// Is makes every EndedError an ErrNone.
func (e *EndedError) Is(target error) bool { return target == ErrNone }

// trace is what is kept of a session that has ended. While it lives it has one,
// too, which says what will be true once the key is gone by itself: nothing runs
// when a key in Redis expires.
//
// In Redis it is text: the reason, a space and the successor where there is one. Of a
// session that lives it is At, negative where the absolute lifetime will have ended it,
// a space and HeirOf, or At alone: Redis keeps a number in the 16 bytes that every value
// takes.
type trace struct {
	Reason Reason
	// At is when the session is to end by itself, in Unix milliseconds; 0 in the
	// trace of one that was ended.
	At int64
	// Successor is the handle that a rotation moved the session to.
	Successor string
	// HeirOf is the handle in whose place a session that lives was made, until its first
	// touch.
	HeirOf string
}

// foretell makes the trace of a session that lives until expiry.
func foretell(value []byte, expiry time.Time) trace {
	t := trace{Reason: IdleTimeout, At: expiry.UnixMilli()}
	if s, err := decode("", value); err == nil && !expiry.Before(s.ExpiresAt) {
		t.Reason = AbsoluteTimeout
	}
	return t
}

func (t trace) encode() string {
	is, handle := string(t.Reason), t.Successor
	if t.At != 0 {
		at := t.At
		if t.Reason == AbsoluteTimeout {
			at = -at
		}
		is, handle = strconv.FormatInt(at, 10), t.HeirOf
	}
	if handle != "" {
		is += " " + handle
	}
	return is
}

// decodeTrace reads a trace. One that cannot be read says nothing. A reason of a later
// release is passed on.
func decodeTrace(value []byte) *trace {
	is, handle, _ := strings.Cut(string(value), " ")
	at, ok := number(is)
	switch {
	case ok && at < 0:
		return &trace{Reason: AbsoluteTimeout, At: -at, HeirOf: handle}
	case ok:
		return &trace{Reason: IdleTimeout, At: at, HeirOf: handle}
	case strings.Trim(is, "abcdefghijklmnopqrstuvwxyz_") != "":
		return &trace{}
	}
	return &trace{Reason: Reason(is), Successor: handle}
}

// verdict is the error for a request with the token of a session that is gone.
func (t *trace) verdict(now time.Time) error {
	switch {
	case t.Reason == replaced:
		return ErrReplaced
	case t.Reason == "":
		return ErrNone
	case t.At != 0 && now.UnixMilli() < t.At-time.Second.Milliseconds():
		// Gone before its time: someone has deleted the key, as the guides do it.
		return &EndedError{Revoked}
	}
	return &EndedError{t.Reason}
}
