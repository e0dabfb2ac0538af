package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/oauth2"

	"latchkey/internal/redisconn"
	"latchkey/internal/user"
)

var (
	// ErrUnknown says that no such provider is configured.
	ErrUnknown = errors.New("no such provider")
	// ErrNoFlow says that a flow was begun by another browser or with another provider,
	// that it took too long, or that it has come to its end before.
	ErrNoFlow = errors.New("no such sign-in is under way")
	// ErrDenied says that the user, or the provider, does not want it.
	ErrDenied = errors.New("the sign-in was denied")
	// ErrRefused says that the provider has answered, and not as it must.
	ErrRefused = errors.New("the answer of the provider was refused")
	// ErrUnavailable says that the provider has not answered in time, or that it cannot
	// be used at the time.
	ErrUnavailable = errors.New("the provider is unavailable")
)

// Kind is what a provider speaks.
type Kind string

const (
	// OIDC is any provider of OpenID Connect.
	OIDC Kind = "oidc"
	// Google is OpenID Connect with what is special about Google's accounts.
	Google Kind = "google"
	// GitHub is OAuth 2.0 with GitHub's API, or that of a GitHub Enterprise Server.
	GitHub Kind = "github"
)

// Settings are those of one provider.
type Settings struct {
	Kind        Kind
	Name, Title string // the segment of URLs, [a-z0-9-]; the label of buttons
	// Issuer is the issuer identifier, as it stands in ID tokens. For GitHub it is where
	// users sign in: https://github.com.
	Issuer string
	APIURL string // GitHub only: https://api.github.com

	ClientID, ClientSecret string
	Scopes                 []string // OIDC and Google: with openid
	CallbackURL            string
}

// Options are what a Service can do without.
type Options struct {
	Now func() time.Time // time.Now where it is nil
	Log *slog.Logger     // nowhere where it is nil
}

// Provider is where a user can sign in.
type Provider struct{ Name, Title string }

const (
	// startLimit is for all that begins a flow: someone has clicked and waits.
	startLimit = 3 * time.Second
	// finishLimit is for all that ends one: up to three questions to the provider.
	finishLimit = 8 * time.Second
)

// Service signs users in with their accounts elsewhere. It is safe for concurrent use.
type Service struct {
	redis     *redisconn.Client
	listed    []Provider
	providers map[string]provider
	client    *client
	now       func() time.Time

	startLimit, finishLimit time.Duration
}

// provider is one of two: openID (oidc.go) and gitHub (github.go).
type provider interface {
	// server says where the user is sent and codes are redeemed.
	server(ctx context.Context) (server, error)
	// request are the parameters that it wants beyond those of OAuth 2.0.
	request(ctx context.Context, keys flowKeys, f Flow) []oauth2.AuthCodeOption
	// claims makes of the answer to a code what is known of the user.
	claims(ctx context.Context, answer *oauth2.Token, keys flowKeys, r flowRecord) (user.Claims, error)
	// check asks what is needed before the first sign-in.
	check(ctx context.Context) (skew time.Duration, err error)
}

// server is an authorization server as the flow needs it.
type server struct {
	oauth2.Config
	client  *client
	issuers []string // what it may call itself in a callback
	// namesItself says that it names itself in every callback (RFC 9207).
	namesItself bool
}

// New returns a Service that asks providers when they are first needed.
func New(redis *redisconn.Client, settings []Settings, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		redis: redis, providers: map[string]provider{}, client: newClient(), now: o.Now,
		startLimit: startLimit, finishLimit: finishLimit,
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

// Providers are those that are configured, in the order of the settings.
func (s *Service) Providers() []Provider { return s.listed }

// Check asks a provider what it needs to be asked before the first sign-in, and says how
// far its clock is ahead of ours: an ID token lives for minutes. Errors: ErrUnknown,
// ErrUnavailable, ErrRefused.
func (s *Service) Check(ctx context.Context, provider string) (skew time.Duration, err error) {
	p, ok := s.providers[provider]
	if !ok {
		return 0, fmt.Errorf("%q: %w", provider, ErrUnknown)
	}
	ctx, cancel := context.WithTimeout(ctx, s.finishLimit)
	defer cancel()
	skew, err = p.check(ctx)
	return skew, named(provider, err)
}

// named puts the name of a provider before an error, for who reads the log.
func named(provider string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", provider, err)
}

// refused is an ErrRefused for a reason. A reason is ours: what a provider has written
// may hold tokens, and is for nobody's log.
func refused(reason string) error { return fmt.Errorf("%w: %s", ErrRefused, reason) }

// unavailable is an ErrUnavailable for a reason.
func unavailable(reason string) error { return fmt.Errorf("%w: %s", ErrUnavailable, reason) }
