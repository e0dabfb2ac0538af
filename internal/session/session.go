package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
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
	// IP and UserAgent are those of the client that the session began with.
	IP        string
	UserAgent string

	// epoch is Epoch.all of the login.
	epoch string
	// movedFrom is the handle of before, while the session moves to another secret.
	movedFrom string
	// raw is the value that was read from Redis, to compare with when saving.
	raw []byte
}

// formatVersion is the version of the value in Redis. A release that changes the
// meaning of a member raises it; adding a member does not.
const formatVersion = 1

// record is the value of a session in Redis: JSON that a person can read with
// redis-cli GET.
type record struct {
	Version         int       `json:"v"`
	UserID          string    `json:"userId"`
	Email           string    `json:"email"`
	CreatedAt       time.Time `json:"createdAt"`
	LastSeenAt      time.Time `json:"lastSeenAt"`
	IdleExpiresAt   time.Time `json:"idleExpiresAt"`
	ExpiresAt       time.Time `json:"expiresAt"`
	AuthenticatedAt time.Time `json:"authenticatedAt"`
	Methods         []string  `json:"methods"`
	Persistent      bool      `json:"persistent"`
	IP              string    `json:"ip,omitempty"`
	UserAgent       string    `json:"userAgent,omitempty"`
	Epoch           string    `json:"epoch,omitempty"`
	MovedFrom       string    `json:"movedFrom,omitempty"`
}

// errUndecodable marks a value in Redis that is not a session of this format.
var errUndecodable = errors.New("not a session value")

func (s *Session) encode() ([]byte, error) {
	return json.Marshal(record{
		Version: formatVersion, UserID: s.UserID, Email: s.Email,
		CreatedAt: s.CreatedAt, LastSeenAt: s.LastSeenAt,
		IdleExpiresAt: s.IdleExpiresAt, ExpiresAt: s.ExpiresAt,
		AuthenticatedAt: s.AuthenticatedAt, Methods: s.Methods, Persistent: s.Persistent,
		IP: s.IP, UserAgent: s.UserAgent, Epoch: s.epoch, MovedFrom: s.movedFrom,
	})
}

func decode(handle string, raw []byte) (*Session, error) {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		// The decoder's text may quote the value, which holds an email address.
		return nil, errUndecodable
	}
	if r.Version != formatVersion || r.UserID == "" || r.ExpiresAt.IsZero() || r.IdleExpiresAt.IsZero() {
		return nil, errUndecodable
	}
	return &Session{
		Handle: handle, UserID: r.UserID, Email: r.Email,
		CreatedAt: r.CreatedAt, LastSeenAt: r.LastSeenAt,
		IdleExpiresAt: r.IdleExpiresAt, ExpiresAt: r.ExpiresAt,
		AuthenticatedAt: r.AuthenticatedAt, Methods: r.Methods, Persistent: r.Persistent,
		IP: r.IP, UserAgent: r.UserAgent,
		epoch: r.Epoch, movedFrom: r.MovedFrom, raw: raw,
	}, nil
}

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
