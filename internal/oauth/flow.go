package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/oauth2"

	"latchkey/internal/redisconn"
	"latchkey/internal/token"
)

// FlowTTL is the maximum time that a user may spend at a provider.
const FlowTTL = 10 * time.Minute

// Flow is one sign-in, from the redirect to a provider until the callback.
type Flow struct {
	// ReturnTo is where the browser goes at the end. The caller must validate it.
	ReturnTo string `json:"returnTo,omitzero"`
	// UserID and SessionID are the user who was signed in at the start, and the ID of their
	// session. They are empty if nobody was signed in.
	UserID    string `json:"userId,omitzero"`
	SessionID string `json:"sessionId,omitzero"`
	// Link requests that the external account is linked to this user.
	Link bool `json:"link,omitzero"`
	// Reauthenticate requests that the provider authenticates the user again, even if they are
	// already signed in there.
	Reauthenticate bool `json:"reauthenticate,omitzero"`
	// KeepAccount requests that the sign-in does not replace the session of another account.
	KeepAccount bool `json:"keepAccount,omitzero"`
	// Temporary requests a session that ends with the browser, as the session at the start does.
	Temporary bool `json:"temporary,omitzero"`
}

// flowRecord is a Flow as stored in Redis under the key oauth:<name>, followed by a MAC: see
// package seal. The record is not enough to finish the flow: neither the state nor the code verifier
// can be derived from it.
type flowRecord struct {
	Provider  string    `json:"provider"`
	Flow      Flow      `json:"flow"`
	StartedAt time.Time `json:"startedAt"`
}

// FlowIDLength is the length of a flow ID in characters: enough to distinguish the flows of one
// browser.
const FlowIDLength = 10

// flowKeys are derived from the secret of a flow. None can be derived from the others: the
// provider learns state and nonce, the browser history contains the state, and Redis contains
// the name.
type flowKeys struct {
	state    string
	nonce    string
	verifier string
	name     string // the key in Redis
}

// KeyPrefix is the prefix of all keys in Redis.
const KeyPrefix = "oauth:"

// newKeys returns a new secret and the keys that are derived from it.
func newKeys() (secret string, keys flowKeys) {
	secret = token.New()
	keys, _ = keysOf(secret)

	return secret, keys
}

// keysOf derives the keys of a flow from its secret. It returns false if the secret is
// malformed.
func keysOf(secret string) (keys flowKeys, ok bool) {
	raw, ok := token.Decode(secret, token.Size)
	if !ok {
		return flowKeys{}, false
	}

	derive := func(purpose string) string {
		mac := hmac.New(sha256.New, raw)
		mac.Write([]byte(purpose))

		return token.Encode(mac.Sum(nil))
	}

	return flowKeys{
		state:    derive("state"),
		nonce:    derive("nonce"),
		verifier: derive("code verifier"),
		name:     KeyPrefix + derive("name"),
	}, true
}

// FlowID returns the ID of the flow with the given state, which is part of the name of its
// cookie. It returns "" if the state is malformed.
func FlowID(state string) string {
	if !token.Valid(state) {
		return ""
	}

	return state[:FlowIDLength]
}

// Start starts a flow. It returns the URL to redirect the browser to, an ID that distinguishes
// the flows of one browser, and a secret that the browser keeps in a cookie. The secret proves
// to Finish that the same browser started the flow. Without it, an attacker could send victims
// a link that signs them in as the attacker (login CSRF; RFC 6749 section 10.12). Errors:
// ErrUnknownProvider, ErrUnavailable, redisconn.ErrUnavailable.
func (s *Service) Start(ctx context.Context, provider string, f Flow) (redirect, id, secret string, err error) {
	p, ok := s.providers[provider]
	if !ok {
		return "", "", "", fmt.Errorf("%q: %w", provider, ErrUnknownProvider)
	}

	ctx, cancel := context.WithTimeout(ctx, s.startTimeout)
	defer cancel()

	srv, err := p.server(ctx)
	if err != nil {
		return "", "", "", withProvider(provider, err)
	}

	secret, keys := newKeys()
	record, err := json.Marshal(flowRecord{Provider: provider, Flow: f, StartedAt: s.now().UTC()})
	if err != nil {
		return "", "", "", fmt.Errorf("flow: %w", err)
	}

	sealed := s.sealKeys.Seal(keys.name, record)
	if _, err := s.redis.Do(ctx, "SET", keys.name, sealed, "EX", int(FlowTTL/time.Second)); err != nil {
		return "", "", "", err
	}

	parameters := append(p.parameters(ctx, keys, f), oauth2.S256ChallengeOption(keys.verifier))

	return srv.AuthCodeURL(keys.state, parameters...), FlowID(keys.state), secret, nil
}

// Finish ends a flow with the query of the callback, and returns who signed in. A flow can be
// finished only once, whatever the result. If the flow was found, it is returned even with an
// error. Errors: ErrUnknownProvider, ErrNoFlow, ErrDenied, ErrRefused, ErrUnavailable,
// redisconn.ErrUnavailable.
func (s *Service) Finish(ctx context.Context, provider, secret string, query url.Values) (Finished, error) {
	p, ok := s.providers[provider]
	if !ok {
		return Finished{}, fmt.Errorf("%q: %w", provider, ErrUnknownProvider)
	}

	deadline := time.Now().Add(s.finishTimeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()

	keys, err := matchingKeys(secret, query["state"])
	if err != nil {
		return Finished{}, withProvider(provider, err)
	}

	r, err := s.take(ctx, keys, provider)
	if err != nil {
		return Finished{Flow: r.Flow}, withProvider(provider, err)
	}

	claims, more, err := claimsOf(ctx, p, keys, r, query)
	if err != nil {
		return Finished{Flow: r.Flow}, withProvider(provider, err)
	}
	claims.Provider = provider

	return Finished{
		Flow:     r.Flow,
		Claims:   claims,
		more:     more,
		deadline: deadline,
	}, nil
}

// matchingKeys returns the keys of a secret if the state was derived from the same secret.
func matchingKeys(secret string, states []string) (flowKeys, error) {
	keys, ok := keysOf(secret)
	if !ok || len(states) != 1 || !hmac.Equal([]byte(keys.state), []byte(states[0])) {
		return flowKeys{}, fmt.Errorf("%w: state belongs to another browser", ErrNoFlow)
	}

	return keys, nil
}

// takeScript marks a flow as taken by the callback with the ID ARGV[1], and returns its record. It
// returns nothing to other callbacks. The mark is kept for ARGV[2] milliseconds, during which a
// lost reply may make Redis run the script again.
var takeScript = redisconn.NewScript(1, `
local record = redis.call('GET', KEYS[1])
if not record then return false end

local by, taken = string.match(record, '^taken by (%w+) (.*)$')
if by then return by == ARGV[1] and taken end

redis.call('SET', KEYS[1], 'taken by ' .. ARGV[1] .. ' ' .. record, 'PX', ARGV[2])
return record`).WaitForReplicas()

// takenTTL is longer than any callback can take.
const takenTTL = time.Minute

// take reads a flow and marks it as taken, so that only one of several callbacks can continue.
func (s *Service) take(ctx context.Context, keys flowKeys, provider string) (flowRecord, error) {
	value, err := redisconn.Bytes(s.redis.Eval(ctx, takeScript, keys.name, rand.Text(), takenTTL.Milliseconds()))
	if errors.Is(err, redisconn.ErrNil) {
		return flowRecord{}, fmt.Errorf("%w: already finished or expired", ErrNoFlow)
	}
	if err != nil {
		return flowRecord{}, err
	}

	record, ok := s.sealKeys.Open(keys.name, value)
	if !ok {
		return flowRecord{}, fmt.Errorf("%w: record signed with another SESSION_SECRET or tampered with", ErrNoFlow)
	}

	var r flowRecord
	if json.Unmarshal(record, &r) != nil {
		return flowRecord{}, fmt.Errorf("%w: malformed record", ErrNoFlow)
	}

	switch {
	case r.Provider != provider:
		// A malicious provider could send the code of another provider to our callback, to have
		// it redeemed as its own (mix-up attack; RFC 9700 section 4.4).
		return r, fmt.Errorf("%w: started with another provider", ErrNoFlow)
	case s.now().Sub(r.StartedAt) > FlowTTL:
		return r, fmt.Errorf("%w: expired", ErrNoFlow)
	}

	return r, nil
}
