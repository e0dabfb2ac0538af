package oauth

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"latchkey/internal/user"
)

// openID is an OpenID Connect provider.
type openID struct {
	settings  Settings
	client    *client
	discovery *discovery
	now       func() time.Time
	log       *slog.Logger
}

func newOpenID(settings Settings, c *client, o Options) *openID {
	return &openID{
		settings:  settings,
		client:    c,
		discovery: &discovery{issuer: settings.Issuer, client: c, options: o},
		now:       o.Now,
		log:       o.Log,
	}
}

func (p *openID) server(ctx context.Context) (server, error) {
	m, err := p.discovery.metadata(ctx)
	if err != nil {
		return server{}, err
	}

	return server{
		Config: oauth2.Config{
			ClientID:     p.settings.ClientID,
			ClientSecret: p.settings.ClientSecret,
			Endpoint: oauth2.Endpoint{
				AuthURL:   m.Authorization,
				TokenURL:  m.Token,
				AuthStyle: m.authStyle(),
			},
			RedirectURL: p.settings.CallbackURL,
			Scopes:      p.settings.Scopes,
		},
		client:      p.client,
		issuers:     []string{p.settings.Issuer},
		sendsIssuer: m.SendsIssuer,
	}, nil
}

// maxAgeForever asks the provider to include auth_time without forcing a new login. It is ten
// years, in seconds.
const maxAgeForever = "315360000"

func (p *openID) parameters(ctx context.Context, keys flowKeys, f Flow) []oauth2.AuthCodeOption {
	parameters := []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("nonce", keys.nonce)}

	m, err := p.discovery.metadata(ctx)
	switch {
	case f.Reauthenticate && p.settings.Kind == Google:
		// Google decides itself when users must authenticate again. Clients cannot request it.
		return append(parameters, oauth2.SetAuthURLParam("prompt", "select_account"))
	case f.Reauthenticate:
		return append(parameters, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	case err == nil && m.supportsAuthTime():
		return append(parameters, oauth2.SetAuthURLParam("max_age", maxAgeForever))
	}

	return parameters
}

func (p *openID) claims(ctx context.Context, response *oauth2.Token, keys flowKeys, r flowRecord) (user.Claims, completion, error) {
	m, err := p.discovery.metadata(ctx)
	if err != nil {
		return user.Claims{}, nil, err
	}

	token, err := p.verify(ctx, m, response, keys.nonce, r.StartedAt)
	if err != nil {
		return user.Claims{}, nil, err
	}

	claims := user.Claims{Issuer: p.settings.Issuer, Subject: token.Subject}
	claims.AuthenticatedAt, err = p.authenticatedAt(m, token, r)
	if err != nil {
		return user.Claims{}, nil, err
	}
	p.describe(&claims, token.profile)

	isComplete := token.Email != "" && token.Verified != nil
	if isComplete || m.UserInfo == "" {
		return claims, nil, nil
	}

	return claims, func(ctx context.Context) (user.Claims, error) {
		return p.complete(ctx, m, response.AccessToken, claims, token.profile)
	}, nil
}

// describe copies a profile to claims. An email is verified only if the provider controls its
// domain.
func (p *openID) describe(claims *user.Claims, info profile) {
	info.copyTo(claims)
	claims.EmailVerified = claims.EmailVerified && p.isAuthoritative(claims.Email, info)
}

// complete adds the claims of the userinfo endpoint to those of the ID token. If the ID token
// contains the email and userinfo fails, the email counts as unverified. Errors: ErrRefused,
// ErrUnavailable.
func (p *openID) complete(ctx context.Context, m *metadata, accessToken string, claims user.Claims, info profile) (user.Claims, error) {
	more, err := p.userInfo(ctx, m, accessToken, claims.Subject)
	switch {
	case err != nil && claims.Email == "":
		return user.Claims{}, err
	case err != nil:
		p.log.WarnContext(ctx, "cannot request email_verified; the email counts as unverified",
			"provider", p.settings.Name, "error", err)
		return claims, nil
	}

	p.describe(&claims, info.merge(more))

	return claims, nil
}

// authenticatedAt returns when the user authenticated to the provider. If the provider supports
// auth_time, we always request it. If it is missing nevertheless, someone at an unlocked browser may have
// removed the parameter from the URL (OpenID Connect Core sections 3.1.2.1 and 3.1.3.7). Without
// support, authenticatedAt returns the current time. A time in the future, which would count as
// recent for too long, is an error unless clockSkew explains it. Errors: ErrRefused.
func (p *openID) authenticatedAt(m *metadata, t idToken, r flowRecord) (time.Time, error) {
	now := p.now()
	at, present := numericDate(t.AuthTime)
	isStale := !present || at.Before(r.StartedAt.Add(-clockSkew))

	switch {
	case !present && !m.supportsAuthTime():
		return now, nil
	case present && at.After(now.Add(clockSkew)):
		return time.Time{}, refused("ID token: auth_time is in the future")
	case r.Flow.Reauthenticate && isStale:
		return time.Time{}, refused("ID token: auth_time is missing, or the user was not asked to authenticate again")
	case !present:
		return time.Unix(0, 0), nil // unknown, so not recent enough for anything
	case at.After(now):
		return now, nil
	}

	return at, nil
}

// isAuthoritative reports whether the provider controls the domain of an email. Google marks
// other emails as verified if they were when the account was created. They may belong to
// someone else now ("Verify the Google ID token on your server side").
func (p *openID) isAuthoritative(email user.Email, info profile) bool {
	return p.settings.Kind != Google || info.HostedDomain != "" || strings.HasSuffix(string(email), "@gmail.com")
}

// userInfo requests the profile of the user. The response must be about
// the same user, because the access token may have been swapped and nothing else binds the
// two (OpenID Connect Core section 5.3.4).
func (p *openID) userInfo(ctx context.Context, m *metadata, accessToken, subject string) (profile, error) {
	const endpoint = "userinfo endpoint"

	var response struct {
		Subject looseString `json:"sub"`
		profile
	}
	if _, err := p.client.get(ctx, endpoint, m.UserInfo, accessToken, nil, &response); err != nil {
		return profile{}, err
	}
	if string(response.Subject) != subject {
		return profile{}, refused(endpoint + ": wrong sub")
	}

	return response.profile, nil
}

func (p *openID) check(ctx context.Context) (Health, error) {
	m, skew, err := p.discovery.request(ctx)
	if err != nil {
		return Health{}, err
	}

	malformed, err := p.discovery.malformedKeys(ctx, m)

	return Health{Skew: skew, MalformedKeys: malformed}, err
}
