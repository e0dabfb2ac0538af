package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/oauth2"

	"latchkey/internal/redisconn"
	"latchkey/internal/user"
)

// flowLife is how long a user may take at a provider.
const flowLife = 10 * time.Minute

// Flow is one sign-in, from when the browser leaves for a provider until it comes back.
type Flow struct {
	// ReturnTo is where the browser goes at the end. It is the caller's to judge.
	ReturnTo string `json:"returnTo,omitzero"`
	// UserID and SessionID are who was signed in when it began, and the handle of their
	// session. They are empty where nobody was.
	UserID    string `json:"userId,omitzero"`
	SessionID string `json:"sessionId,omitzero"`
	// Link wants the account elsewhere added to theirs.
	Link bool `json:"link,omitzero"`
	// Reauthenticate wants the provider to ask for the proof again, even of a user who is
	// signed in there.
	Reauthenticate bool `json:"reauthenticate,omitzero"`
}

// flowRecord is a Flow in Redis, under oauth:<key>. With it alone nobody can finish the
// flow: neither the state nor the verifier can be made of anything in it.
type flowRecord struct {
	Provider  string    `json:"provider"`
	Flow      Flow      `json:"flow"`
	StartedAt time.Time `json:"startedAt"`
}

const (
	// secretBytes is the entropy of a flow: 256 bits.
	secretBytes = 32
	// idLength is how much of a state names its cookie: enough to tell the flows of one
	// browser apart, which may have several pages open.
	idLength = 10
)

// strict refuses what a lenient decoder lets pass: line breaks, and several spellings of
// one secret.
var strict = base64.RawURLEncoding.Strict()

// flowKeys are all that is made of the secret of a flow. Each is a key of its own, so
// that none can be made of another: the provider learns the state and the nonce, whoever
// sees the browser's history the state, Redis the name.
type flowKeys struct{ state, nonce, verifier, name string }

// keysOf makes the keys of a secret, which may be anything.
func keysOf(secret string) (k flowKeys, ok bool) {
	raw, ok := decoded(secret)
	if !ok {
		return flowKeys{}, false
	}
	derive := func(purpose string) string {
		mac := hmac.New(sha256.New, raw)
		mac.Write([]byte(purpose))
		return strict.EncodeToString(mac.Sum(nil))
	}
	return flowKeys{state: derive("state"), nonce: derive("nonce"), verifier: derive("code verifier"), name: "oauth:" + derive("name")}, true
}

// decoded reads 32 bytes as this package writes them.
func decoded(s string) (raw []byte, ok bool) {
	if len(s) != strict.EncodedLen(secretBytes) {
		return nil, false
	}
	raw, err := strict.DecodeString(s)
	return raw, err == nil && len(raw) == secretBytes
}

// FlowID is the id of the flow of a callback by its state, by which its cookie is found.
// It is empty where the state is none of ours.
func FlowID(state string) string {
	if _, ok := decoded(state); !ok {
		return ""
	}
	return state[:idLength]
}

// Start begins a flow. The browser is sent to address, and keeps secret, by which it
// proves at the end that it is the one that began: without that, anyone could sign a
// victim in as themselves by a link (login CSRF; RFC 6749 section 10.12). id tells the
// flows of one browser apart. Errors: ErrUnknown, ErrUnavailable, redisconn.ErrUnavailable.
func (s *Service) Start(ctx context.Context, provider string, f Flow) (address, id, secret string, err error) {
	p, ok := s.providers[provider]
	if !ok {
		return "", "", "", fmt.Errorf("%q: %w", provider, ErrUnknown)
	}
	ctx, cancel := context.WithTimeout(ctx, s.startLimit)
	defer cancel()
	at, err := p.server(ctx)
	if err != nil {
		return "", "", "", named(provider, err)
	}
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
	secret = strict.EncodeToString(random)
	keys, _ := keysOf(secret)
	if err := s.keep(ctx, keys, flowRecord{Provider: provider, Flow: f, StartedAt: s.now().UTC()}); err != nil {
		return "", "", "", err
	}
	parameters := append(p.request(ctx, keys, f), oauth2.S256ChallengeOption(keys.verifier))
	return at.AuthCodeURL(keys.state, parameters...), FlowID(keys.state), secret, nil
}

func (s *Service) keep(ctx context.Context, keys flowKeys, r flowRecord) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("flow: %w", err)
	}
	_, err = s.redis.Do(ctx, "SET", keys.name, value, "EX", int(flowLife/time.Second))
	return err
}

// Finish ends a flow with what the provider has sent the browser back with, and says who
// has signed in there. The flow is returned with an error, too, where it is known.
// Whatever comes of it, a flow ends once. Errors: ErrUnknown, ErrNoFlow, ErrDenied,
// ErrRefused, ErrUnavailable, redisconn.ErrUnavailable.
func (s *Service) Finish(ctx context.Context, provider, secret string, query url.Values) (user.Claims, Flow, error) {
	p, ok := s.providers[provider]
	if !ok {
		return user.Claims{}, Flow{}, fmt.Errorf("%q: %w", provider, ErrUnknown)
	}
	ctx, cancel := context.WithTimeout(ctx, s.finishLimit)
	defer cancel()
	keys, err := ownKeys(secret, query["state"])
	if err != nil {
		return user.Claims{}, Flow{}, named(provider, err)
	}
	r, err := s.take(ctx, keys, provider)
	if err != nil {
		return user.Claims{}, r.Flow, named(provider, err)
	}
	claims, err := claimsOf(ctx, p, keys, r, query)
	if err != nil {
		return user.Claims{}, r.Flow, named(provider, err)
	}
	claims.Provider = provider
	return claims, r.Flow, nil
}

// ownKeys are the keys of a secret whose state this is.
func ownKeys(secret string, states []string) (flowKeys, error) {
	keys, ok := keysOf(secret)
	if !ok || len(states) != 1 || !hmac.Equal([]byte(keys.state), []byte(states[0])) {
		return flowKeys{}, fmt.Errorf("%w: the state is not of this browser", ErrNoFlow)
	}
	return keys, nil
}

// take takes a flow out of Redis, so that of several callbacks exactly one goes on. One
// whose answer was lost on the way is lost: the user starts again.
func (s *Service) take(ctx context.Context, keys flowKeys, provider string) (flowRecord, error) {
	reply, err := s.redis.Do(ctx, "GETDEL", keys.name)
	if err != nil {
		return flowRecord{}, err
	}
	if reply == nil {
		return flowRecord{}, fmt.Errorf("%w: it has ended or took too long", ErrNoFlow)
	}
	value, ok := reply.([]byte)
	if !ok {
		return flowRecord{}, fmt.Errorf("%w: strange answer", redisconn.ErrUnavailable)
	}
	var r flowRecord
	if json.Unmarshal(value, &r) != nil {
		return flowRecord{}, fmt.Errorf("%w: it is kept in a form that is not ours", ErrNoFlow)
	}
	switch {
	case r.Provider != provider:
		// A provider that was attacked could send the code of another one here, to have
		// it redeemed as its own (mix-up; RFC 9700 section 4.4).
		return r, fmt.Errorf("%w: it was begun with another provider", ErrNoFlow)
	case s.now().Sub(r.StartedAt) > flowLife:
		return r, fmt.Errorf("%w: it took too long", ErrNoFlow)
	}
	return r, nil
}
