package pending

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"latchkey/internal/redisconn"
	"latchkey/internal/seal"
	"latchkey/internal/token"
)

const (
	// MaxAge is how long a login waits for the second factor.
	MaxAge = 5 * time.Minute

	// MaxAttempts is the number of codes that may be tried. The login ends with the last of them.
	MaxAttempts = 5

	// doneTTL is how long a completed login is kept, so that a logout that was sent at the same time
	// still ends its session.
	doneTTL = time.Minute
)

// KeyPrefix is the prefix of all keys in Redis.
const KeyPrefix = "mfa:"

var (
	// ErrNone is returned if there is no pending login: the token is unknown, the login has expired or was
	// completed or cancelled, or all attempts are used up.
	ErrNone = errors.New("no pending login")

	// ErrUntrusted is an ErrNone for a record that was not signed with any of our secrets.
	ErrUntrusted = fmt.Errorf("%w: wrong signature", ErrNone)
)

// Login is a login that waits for the second factor.
type Login struct {
	UserID string `json:"userId"`

	// Method and Provider are the first factor, as in session.Method, and At is when it was proved.
	Method   string    `json:"method"`
	Provider string    `json:"provider,omitempty"`
	At       time.Time `json:"at"`

	// Issuer and Subject identify the external account, if the first factor is a provider.
	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`

	// Persistent is set if the cookie of the session survives a browser restart.
	Persistent bool `json:"persistent,omitempty"`

	// Generation is the session generation when the login started: see session.Generation. Email and
	// DeviceGeneration are those of the account at that time. If one of them has changed, the login is
	// void.
	Generation       string `json:"generation"`
	Email            string `json:"email"`
	DeviceGeneration string `json:"deviceGeneration,omitempty"`

	ExpiresAt time.Time `json:"expiresAt"`
}

// Store keeps the pending logins in Redis. It is safe for concurrent use.
type Store struct {
	redis *redisconn.Client
	keys  seal.Keys
	now   func() time.Time
}

// New returns a Store. The keys that sign the records are derived from secrets: the first one signs, all
// are accepted.
func New(redis *redisconn.Client, secrets [][]byte, now func() time.Time) *Store {
	return &Store{
		redis: redis,
		keys:  seal.New(secrets, "latchkey pending login v1"),
		now:   now,
	}
}

// The fields of a hash: the record of a pending login and the number of codes tried, or the ID of the
// session of a completed one. A script may run twice, because a lost reply is retried. The ID of a call
// identifies its second run.
var (
	beginScript = redisconn.NewScript(1, `
redis.call('HSET', KEYS[1], 'record', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`).WaitForReplicas()

	// tryScript counts an attempt and returns its number and the record. ARGV[2] is the ID of the attempt.
	tryScript = redisconn.NewScript(1, `
local record = redis.call('HGET', KEYS[1], 'record')
if not record then return {0, ''} end

if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[2] then
  redis.call('HINCRBY', KEYS[1], 'attempts', 1)
  redis.call('HSET', KEYS[1], 'attempt', ARGV[2])
end

local n = tonumber(redis.call('HGET', KEYS[1], 'attempts'))
if n > tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
  return {0, ''}
end
return {n, record}`).WaitForReplicas()

	// finishScript replaces the record with the ID of the session that has begun. Of several calls with
	// different sessions, one succeeds.
	finishScript = redisconn.NewScript(1, `
if redis.call('HGET', KEYS[1], 'session') == ARGV[1] then return 1 end
if redis.call('HDEL', KEYS[1], 'record') == 0 then return 0 end

redis.call('HSET', KEYS[1], 'session', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`).WaitForReplicas()

	// cancelScript removes the record, and returns whether it did and the session of a login that was
	// completed. ARGV[1] is the ID of the call.
	cancelScript = redisconn.NewScript(1, `
if redis.call('HDEL', KEYS[1], 'record') == 1 then
  redis.call('HSET', KEYS[1], 'cancelled', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end

local cancelled = redis.call('HGET', KEYS[1], 'cancelled') == ARGV[1] and 1 or 0
return {cancelled, redis.call('HGET', KEYS[1], 'session') or ''}`).WaitForReplicas()
)

// keyOf returns the key of a login in Redis. The token cannot be derived from it.
func keyOf(loginToken string) string { return KeyPrefix + token.Hash(loginToken) }

// Begin stores a pending login and returns its token, which must go into the cookie and nowhere else. It
// sets l.ExpiresAt. Errors: redisconn.ErrUnavailable.
func (s *Store) Begin(ctx context.Context, l *Login) (string, error) {
	l.ExpiresAt = s.now().Add(MaxAge).UTC().Truncate(time.Millisecond)

	record, err := json.Marshal(l)
	if err != nil {
		return "", err
	}

	loginToken := token.New()
	key := keyOf(loginToken)
	_, err = s.redis.Eval(ctx, beginScript, key, s.keys.Seal(key, record), MaxAge.Milliseconds())

	return loginToken, err
}

// Find returns a pending login without counting an attempt. Errors: ErrNone, redisconn.ErrUnavailable.
func (s *Store) Find(ctx context.Context, loginToken string) (Login, error) {
	if !token.Valid(loginToken) {
		return Login{}, ErrNone
	}

	key := keyOf(loginToken)
	record, err := redisconn.String(s.redis.Do(ctx, "HGET", key, "record"))
	if errors.Is(err, redisconn.ErrNil) {
		return Login{}, ErrNone
	}
	if err != nil {
		return Login{}, err
	}

	return s.open(key, record)
}

// Try counts an attempt to complete a login, and returns the login and how many attempts are left. Errors:
// ErrNone, redisconn.ErrUnavailable.
func (s *Store) Try(ctx context.Context, loginToken string) (l Login, left int, err error) {
	if !token.Valid(loginToken) {
		return Login{}, 0, ErrNone
	}

	key := keyOf(loginToken)
	reply, err := s.redis.Eval(ctx, tryScript, key, MaxAttempts, rand.Text())

	var n int
	var record string
	if err := redisconn.Scan(reply, err, &n, &record); err != nil {
		return Login{}, 0, err
	}
	if n == 0 {
		return Login{}, 0, ErrNone
	}

	l, err = s.open(key, record)

	return l, MaxAttempts - n, err
}

// open verifies and parses a record. Errors: ErrNone.
func (s *Store) open(key, sealed string) (Login, error) {
	record, ok := s.keys.Open(key, []byte(sealed))
	if !ok {
		return Login{}, ErrUntrusted
	}

	var l Login
	if err := json.Unmarshal(record, &l); err != nil {
		return Login{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if !s.now().Before(l.ExpiresAt) {
		return Login{}, ErrNone
	}

	return l, nil
}

// Finish completes a login after its session has begun. If the login was completed or cancelled meanwhile,
// it returns ErrNone, and the caller must end the session. Errors: ErrNone, redisconn.ErrUnavailable.
func (s *Store) Finish(ctx context.Context, loginToken, sessionID string) error {
	finished, err := redisconn.Bool(s.redis.Eval(ctx, finishScript, keyOf(loginToken), sessionID, doneTTL.Milliseconds()))
	if err == nil && !finished {
		err = ErrNone
	}

	return err
}

// Cancel ends a pending login, and reports whether there was one. If the login was completed within the
// last minute, Cancel returns the ID of its session. Errors: redisconn.ErrUnavailable.
func (s *Store) Cancel(ctx context.Context, loginToken string) (cancelled bool, sessionID string, err error) {
	if !token.Valid(loginToken) {
		return false, "", nil
	}

	reply, err := s.redis.Eval(ctx, cancelScript, keyOf(loginToken), rand.Text(), doneTTL.Milliseconds())
	err = redisconn.Scan(reply, err, &cancelled, &sessionID)

	return cancelled, sessionID, err
}
