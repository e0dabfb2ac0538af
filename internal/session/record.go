package session

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Session is one signed-in client. All times are in UTC with millisecond precision. Its JSON
// form is what the API returns.
type Session struct {
	// ID identifies the session in Redis (after "sess:") and in the API. It is not secret.
	ID string `json:"id"`

	Owner
	Client
	Times
	Proof

	// Persistent is set if the cookie survives a browser restart.
	Persistent bool `json:"-"`

	generation string // the global generation in which the session began
	extra      string // lines of the record that only a newer release understands
	value      string // the record as it was read; touchLua compares it with the stored one
	response   *response
}

// response is the encoded response to the check of a session in memory.
type response struct {
	session *Session // a copy may differ, so it must not use the response
	body    atomic.Pointer[[]byte]
}

// Response returns the response to a check of the session, as encode encodes it. Requests that get
// the session from memory share the result, so it must depend on the session alone. Errors: those of
// encode.
func (s *Session) Response(encode func(*Session) ([]byte, error)) ([]byte, error) {
	if s.response == nil || s.response.session != s {
		return encode(s)
	}
	if body := s.response.body.Load(); body != nil {
		return *body, nil
	}

	body, err := encode(s)
	if err == nil {
		s.response.body.Store(&body)
	}

	return body, err
}

// Owner is the account that a session belongs to.
type Owner struct {
	UserID string `json:"userId" pattern:"^[0-9a-f]{24}$"`
	Email  string `json:"email"`

	// EmailVerified is set if Email was verified when the session began or later. It is never cleared,
	// because a verified email stays verified until another one replaces it, which ends sessions. If
	// it is not set, the email may have been verified meanwhile.
	EmailVerified bool `json:"-"`
}

// Client is the device that logged in.
type Client struct {
	Device string `json:"device" description:"The browser with which the session began, such as Firefox 142 on Linux."`
	IP     string `json:"ip" description:"The IP from which the session began."`
}

// Times are a session's timestamps.
type Times struct {
	CreatedAt time.Time `json:"createdAt"`

	// LastSeenAt is when the session was last used, up to Options.TouchInterval late.
	LastSeenAt time.Time `json:"lastSeenAt" description:"Updated at most once per SESSION_TOUCH_INTERVAL."`

	// IdleExpiresAt is when the session ends unless it is used again. It is never after
	// ExpiresAt.
	IdleExpiresAt time.Time `json:"idleExpiresAt" description:"When the session ends unless it is used before."`

	// ExpiresAt is when the session ends in any case (OWASP ASVS 5.0 7.3.2).
	ExpiresAt time.Time `json:"expiresAt" description:"When the session ends, even if it is used."`
}

// A record is text with one field per line. To read one, run redis-cli --raw GET sess:...
//
//	user=65f0c0ffee0123456789abcd
//	email=ann@example.com
//	verified=true                           omitted if the email was not verified
//	created=2026-01-01T00:00:00.000Z
//	seen=2026-01-01T00:05:00.000Z           omitted if equal to created
//	authenticated=2026-01-01T00:03:00.000Z  omitted if equal to created
//	idle=24h                                idle timeout, counted from seen
//	lasts=720h                              absolute timeout, counted from created
//	methods=pwd otp                         see proof.go
//	cookie=session                          omitted if the cookie is persistent
//	ip=203.0.113.7
//	device=Firefox 142 on Linux
//	generation=1767225500000000             omitted if there was none, see keys.go
//	mac=...                                 see mac.go
//
// The user must come first, because the scripts read it. Unknown lines come from a newer
// release and are written back unchanged, so that servers of two releases can run side by
// side.

// timeLayout is RFC 3339 with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// maxClockSkew is how far the clocks of two servers may differ. Records from further in the
// future are rejected: their users would count as recently authenticated until our clock has
// caught up.
const maxClockSkew = 5 * time.Minute

var errMalformed = errors.New("malformed session record")

// seal returns the session's record: its text and the MAC. Errors: errMalformed.
func (s *Session) seal(keys macKeys) (string, error) {
	var b strings.Builder
	valid := true

	line := func(name, value string) {
		if value == "" {
			return
		}

		valid = valid && !strings.Contains(value, "\n") && utf8.ValidString(value)
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(value)
		b.WriteByte('\n')
	}

	timeLine := func(name string, t, omitIfEqual time.Time) {
		if !t.Equal(omitIfEqual) {
			line(name, t.UTC().Format(timeLayout))
		}
	}

	line("user", s.UserID)
	line("email", s.Email)
	if s.EmailVerified {
		line("verified", "true")
	}
	timeLine("created", s.CreatedAt, time.Time{})
	timeLine("seen", s.LastSeenAt, s.CreatedAt)
	timeLine("authenticated", s.AuthenticatedAt, s.CreatedAt)
	line("idle", formatDuration(s.IdleExpiresAt.Sub(s.LastSeenAt)))
	line("lasts", formatDuration(s.ExpiresAt.Sub(s.CreatedAt)))
	methods, hasMethods := s.formatMethods()
	valid = valid && hasMethods
	line("methods", methods)
	if !s.Persistent {
		line("cookie", "session")
	}
	line("ip", s.IP)
	line("device", s.Device)
	line("generation", s.generation)
	b.WriteString(s.extra)

	if !valid || s.UserID == "" {
		return "", errMalformed
	}

	text := b.String()

	return text + macOf(keys[0], s.ID, text), nil
}

// parse parses the text of a record. Errors: errMalformed.
func parse(text string) (*Session, error) {
	s := &Session{Persistent: true}
	var idle, absolute time.Duration
	methods := ""

	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")

		var err error
		switch name {
		case "user":
			s.UserID = value
		case "email":
			s.Email = value
		case "verified":
			s.EmailVerified = value == "true"
		case "created":
			s.CreatedAt, err = time.Parse(time.RFC3339, value)
			s.LastSeenAt = s.CreatedAt
			s.AuthenticatedAt = s.CreatedAt
		case "seen":
			s.LastSeenAt, err = time.Parse(time.RFC3339, value)
		case "authenticated":
			s.AuthenticatedAt, err = time.Parse(time.RFC3339, value)
		case "idle":
			idle, err = time.ParseDuration(value)
		case "lasts":
			absolute, err = time.ParseDuration(value)
		case "methods":
			methods = value
		case "cookie":
			s.Persistent = value != "session"
		case "ip":
			s.IP = value
		case "device":
			s.Device = value
		case "generation":
			s.generation = value
		default:
			s.extra += line
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
	}

	s.IdleExpiresAt = s.LastSeenAt.Add(idle)
	s.ExpiresAt = s.CreatedAt.Add(absolute)

	parsed, err := parseMethods(methods, s.AuthenticatedAt)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	s.Methods = parsed

	incomplete := s.UserID == "" || s.CreatedAt.IsZero() || idle <= 0 || absolute <= 0
	if incomplete || s.IdleExpiresAt.After(s.ExpiresAt) {
		return nil, errMalformed
	}

	return s, nil
}

// formatDuration is like Duration.String without zero units at the end: 24h, not 24h0m0s.
func formatDuration(d time.Duration) string {
	s := strings.Replace(d.String()+" ", "m0s ", "m ", 1)
	s = strings.Replace(s, "h0m ", "h ", 1)
	return strings.TrimSuffix(s, " ")
}

// expired returns the kind of timeout that has ended the session by now, or "".
func (s *Session) expired(now time.Time) Reason {
	switch {
	case now.Before(s.IdleExpiresAt):
		return ""
	case s.IdleExpiresAt.Before(s.ExpiresAt):
		return IdleTimeout
	}
	return AbsoluteTimeout
}

// markSeen records that the session was used at now and extends its idle timeout.
func (s *Session) markSeen(now time.Time, idle time.Duration) {
	s.LastSeenAt = toMillis(now)
	s.IdleExpiresAt = s.LastSeenAt.Add(idle)

	if s.IdleExpiresAt.After(s.ExpiresAt) {
		s.IdleExpiresAt = s.ExpiresAt
	}
}

// toMillis returns t in UTC, truncated to milliseconds as in a record.
func toMillis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
