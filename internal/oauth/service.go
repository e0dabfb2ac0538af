package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/oauth2"

	"latchkey/internal/redisconn"
	"latchkey/internal/seal"
	"latchkey/internal/user"
)

var (
	// ErrUnknownProvider is returned if no provider with this name is configured.
	ErrUnknownProvider = errors.New("unknown provider")
	// ErrNoFlow is returned if the flow has expired, was already finished, or was started in
	// another browser or with another provider.
	ErrNoFlow = errors.New("no such sign-in in progress")
	// ErrDenied is returned if the user or the provider declined the sign-in.
	ErrDenied = errors.New("sign-in was denied")
	// ErrRefused is returned if a response of the provider is invalid.
	ErrRefused = errors.New("invalid response of the provider")
	// ErrUnavailable is returned if the provider does not respond in time or is temporarily
	// unusable.
	ErrUnavailable = errors.New("provider unavailable")
)

// Kind is the protocol of a provider.
type Kind string

const (
	// OIDC is a generic OpenID Connect provider.
	OIDC Kind = "oidc"
	// Google is OpenID Connect with the special rules for Google accounts.
	Google Kind = "google"
	// GitHub is OAuth 2.0 with the API of GitHub or of a GitHub Enterprise Server.
	GitHub Kind = "github"
)

// Settings are the settings of one provider.
type Settings struct {
	Kind  Kind
	Name  string // the path segment in URLs, [a-z0-9-]
	Title string // the label of the button

	// Issuer is the issuer identifier in ID tokens. For GitHub it is the URL where users sign
	// in: https://github.com.
	Issuer string
	// APIURL is only used for GitHub: https://api.github.com.
	APIURL string

	ClientID     string
	ClientSecret string
	Scopes       []string // must contain openid, except for GitHub
	CallbackURL  string
}

// Options are the optional settings of a Service.
type Options struct {
	Now func() time.Time // the default is time.Now
	Log *slog.Logger     // the default discards all messages
}

// Provider is a provider that users can choose.
type Provider struct{ Name, Title string }

const (
	// startTimeout limits Start, because a user is waiting for the redirect.
	startTimeout = 3 * time.Second
	// finishTimeout limits Finish and Complete together, which send up to three requests to the
	// provider.
	finishTimeout = 8 * time.Second
)

// sealPurpose separates the keys that sign flows from others that are derived from the same secrets.
// Without a signature, an attacker with write access to Redis could put a victim's session into their
// own flow, and so link their external account to the victim's account.
const sealPurpose = "latchkey sign-in flow v1"

// Service signs users in with external providers. It is safe for concurrent use.
type Service struct {
	redis     *redisconn.Client
	listed    []Provider
	providers map[string]provider
	client    *client
	sealKeys  seal.Keys
	now       func() time.Time

	startTimeout  time.Duration
	finishTimeout time.Duration
}

// provider is implemented by openID (oidc.go) and gitHub (github.go).
type provider interface {
	// server returns the authorization server.
	server(ctx context.Context) (server, error)
	// parameters returns the parameters of the authorization request that are specific to the
	// provider.
	parameters(ctx context.Context, keys flowKeys, f Flow) []oauth2.AuthCodeOption
	// claims verifies the response of the token endpoint and returns the claims that identify
	// the user. If optional claims are missing, more requests them; otherwise it is nil.
	claims(ctx context.Context, response *oauth2.Token, keys flowKeys, r flowRecord) (claims user.Claims, more completion, err error)
	// check requests what is needed before the first sign-in.
	check(ctx context.Context) (Health, error)
}

// server is an authorization server.
type server struct {
	oauth2.Config
	client  *client
	issuers []string // the accepted values of iss in a callback
	// sendsIssuer means that every callback must contain iss (RFC 9207).
	sendsIssuer bool
}

// New returns a Service. It contacts the providers only when they are first used. The keys that
// sign flows are derived from secrets: the first one signs, all are accepted.
func New(redis *redisconn.Client, secrets [][]byte, settings []Settings, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}

	s := &Service{
		redis:         redis,
		providers:     map[string]provider{},
		client:        newClient(),
		sealKeys:      seal.New(secrets, sealPurpose),
		now:           o.Now,
		startTimeout:  startTimeout,
		finishTimeout: finishTimeout,
	}

	for _, p := range settings {
		s.listed = append(s.listed, Provider{Name: p.Name, Title: p.Title})
		if p.Kind == GitHub {
			s.providers[p.Name] = newGitHub(p, s.client, o)
		} else {
			s.providers[p.Name] = newOpenID(p, s.client, o)
		}
	}

	return s
}

// Providers returns the configured providers, in the order of the settings.
func (s *Service) Providers() []Provider { return s.listed }

// Health is what Service.Check finds out about a provider.
type Health struct {
	// Skew is how far the clock of the provider is ahead of ours. A large skew matters because
	// ID tokens are only valid for minutes.
	Skew time.Duration
	// MalformedKeys is the number of keys that are ignored because they are malformed.
	MalformedKeys int
}

// Check checks that a provider can be used. The health may be known in part even with an
// error. Errors: ErrUnknownProvider, ErrUnavailable, ErrRefused.
func (s *Service) Check(ctx context.Context, provider string) (Health, error) {
	p, ok := s.providers[provider]
	if !ok {
		return Health{}, fmt.Errorf("%q: %w", provider, ErrUnknownProvider)
	}

	ctx, cancel := context.WithTimeout(ctx, s.finishTimeout)
	defer cancel()

	health, err := p.check(ctx)

	return health, withProvider(provider, err)
}

// withProvider adds the name of a provider to an error, or returns nil.
func withProvider(provider string, err error) error {
	if err == nil {
		return nil
	}

	return fmt.Errorf("%s: %w", provider, err)
}

// refused returns an ErrRefused with a reason. The reason must not quote the provider,
// because a response may contain tokens.
func refused(reason string) error { return fmt.Errorf("%w: %s", ErrRefused, reason) }

// unavailable returns an ErrUnavailable with a reason.
func unavailable(reason string) error { return fmt.Errorf("%w: %s", ErrUnavailable, reason) }
