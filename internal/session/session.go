package session

import (
	"fmt"
	"time"
)

// Session is one signed-in client. Times are UTC with milliseconds.
type Session struct {
	// Handle names the session in Redis (after "sess:") and in the API. It is
	// not a secret.
	Handle string

	UserID string
	Email  string

	CreatedAt  time.Time
	LastSeenAt time.Time // as of the last touch, so up to Options.TouchInterval ago
	// IdleExpiresAt is when the session ends unless it is used before; it never
	// lies after ExpiresAt.
	IdleExpiresAt time.Time
	// ExpiresAt is when the session ends however much it is used. Neither a touch
	// nor a rotation moves it (OWASP ASVS 5.0 7.3.2).
	ExpiresAt time.Time
	// AuthenticatedAt is when the user last proved who they are.
	AuthenticatedAt time.Time
	// Methods are the ways in which they proved it, for example "password".
	Methods []string
	// Persistent says that the cookie outlives the browser's run.
	Persistent bool
	// IP is the address of the client that the session began with; UserAgent is a method.
	IP string

	// agent is the User-Agent of that client, as shorten writes it.
	agent string
	// epoch is Epoch.all of the login.
	epoch string
	// movedFrom is the handle of before, while the session moves to another secret.
	movedFrom string
	// later is what a later release has added to the value, kept as it is.
	later string
	// raw is the value that was read from Redis, to compare with when saving.
	raw []byte
}

// UserAgent is what the client that the session began with says it is.
func (s *Session) UserAgent() string { return expand(s.agent) }

// valueKey is where a Session stands among the values that scs keeps.
const valueKey = "session"

// codec is the scs.Codec of this package. scs's own is gob, which cannot be read
// by a person, and answers every request with an error once a type has changed.
type codec struct{}

// Encode implements scs.Codec. The deadline stands in the session itself.
func (codec) Encode(_ time.Time, values map[string]any) ([]byte, error) {
	s, ok := values[valueKey].(*Session)
	if !ok {
		return nil, fmt.Errorf("no session among the %d values to encode", len(values))
	}
	return s.encode()
}

// Decode implements scs.Codec. It takes what store.FindCtx returns: the handle
// under which the value was found, then the value.
func (codec) Decode(found []byte) (time.Time, map[string]any, error) {
	s, err := decode(string(found[:handleLen]), found[handleLen:])
	if err != nil {
		return time.Time{}, nil, err
	}
	return s.IdleExpiresAt, map[string]any{valueKey: s}, nil
}
