package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/go-json-experiment/json/jsontext"

	"latchkey/internal/user"
)

// openID is a provider of OpenID Connect.
type openID struct {
	settings  Settings
	client    *client
	discovery *discovery
	now       func() time.Time
}

func newOpenID(settings Settings, c *client, o Options) *openID {
	return &openID{
		settings: settings, client: c, now: o.Now,
		discovery: &discovery{issuer: settings.Issuer, client: c, options: o},
	}
}

func (p *openID) server(ctx context.Context) (server, error) {
	m, err := p.discovery.metadata(ctx)
	if err != nil {
		return server{}, err
	}
	return server{
		Config: oauth2.Config{
			ClientID: p.settings.ClientID, ClientSecret: p.settings.ClientSecret,
			Endpoint:    oauth2.Endpoint{AuthURL: m.Authorization, TokenURL: m.Token, AuthStyle: m.authStyle()},
			RedirectURL: p.settings.CallbackURL, Scopes: p.settings.Scopes,
		},
		client: p.client, issuers: []string{p.settings.Issuer}, namesItself: m.NamesItself,
	}, nil
}

// everMaxAge is a max_age that nobody's proof is older than, in seconds: it has the ID
// token say when it was.
const everMaxAge = "315360000"

func (p *openID) request(ctx context.Context, keys flowKeys, f Flow) []oauth2.AuthCodeOption {
	parameters := []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("nonce", keys.nonce)}
	m, err := p.discovery.metadata(ctx)
	switch {
	case f.Reauthenticate && p.settings.Kind == Google:
		// Google asks for the proof when it sees fit, and never because a client wants it.
		return append(parameters, oauth2.SetAuthURLParam("prompt", "select_account"))
	case f.Reauthenticate:
		return append(parameters, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	case err == nil && m.tellsProof():
		return append(parameters, oauth2.SetAuthURLParam("max_age", everMaxAge))
	}
	return parameters
}

// profile is what a provider says of a user (OpenID Connect Core section 5.1).
type profile struct {
	Email    string    `json:"email"`
	Verified looseBool `json:"email_verified"`
	Name     string    `json:"name"`
	Picture  string    `json:"picture"`
	// HostedDomain is Google's: the organisation that the account belongs to.
	HostedDomain string `json:"hd"`
}

// looseBool is a bool that some providers write as a string.
type looseBool bool

// UnmarshalJSON reads a bool or a string.
func (b *looseBool) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case `true`, `"true"`:
		*b = true
	case `false`, `"false"`, `null`:
		*b = false
	default:
		return errors.New("not a bool")
	}
	return nil
}

func (p *openID) claims(ctx context.Context, answer *oauth2.Token, keys flowKeys, r flowRecord) (user.Claims, error) {
	m, err := p.discovery.metadata(ctx)
	if err != nil {
		return user.Claims{}, err
	}
	token, err := p.verify(ctx, m, answer, keys.nonce, r.StartedAt)
	if err != nil {
		return user.Claims{}, err
	}
	known := token.profile
	if m.UserInfo != "" && (known.Email == "" || known.Name == "") {
		more, err := p.userInfo(ctx, m, answer.AccessToken, token.Subject)
		if err != nil {
			return user.Claims{}, err
		}
		known = known.completed(more)
	}
	claims := user.Claims{Issuer: p.settings.Issuer, Subject: token.Subject}
	if claims.AuthenticatedAt, err = p.provedAt(m, token, r); err != nil {
		return user.Claims{}, err
	}
	known.describe(&claims)
	claims.EmailVerified = claims.EmailVerified && p.authoritative(claims.Email, known)
	return claims, nil
}

// provedAt is when the user has proved to the provider who they are. A provider that can
// tell is asked each time. One that does not tell then was kept from it: whoever has found
// a browser open can take the question out of the address on the way (OpenID Connect Core
// sections 3.1.2.1 and 3.1.3.7). Of one that cannot, it is now. Errors: ErrRefused.
func (p *openID) provedAt(m *metadata, t idToken, r flowRecord) (time.Time, error) {
	now := p.now()
	at, told := moment(t.AuthTime)
	switch {
	case !told && !m.tellsProof():
		return now, nil
	case r.Flow.Reauthenticate && (!told || at.Before(r.StartedAt.Add(-clockSkew))):
		return time.Time{}, refused("it has not asked for the proof again, or does not say when that was: auth_time has to be in its ID tokens")
	case !told:
		return time.Unix(0, 0), nil // unknown: too long ago for anything
	case at.After(now):
		return now, nil
	}
	return at, nil
}

// authoritative tells whether the provider is the one that may say whose an address is.
// Google says of an address elsewhere that it is verified when it was so once, when the
// account was made; it may belong to someone else now ("Verify the Google ID token on
// your server side").
func (p *openID) authoritative(email user.Email, known profile) bool {
	return p.settings.Kind != Google || known.HostedDomain != "" || strings.HasSuffix(string(email), "@gmail.com")
}

// userInfo asks the provider for what is not in an ID token. The answer is bound to
// nothing but the access token, which may have been swapped: so it must be of the same
// user (OpenID Connect Core section 5.3.4).
func (p *openID) userInfo(ctx context.Context, m *metadata, accessToken, subject string) (profile, error) {
	var answer struct {
		Subject string `json:"sub"`
		profile
	}
	if _, err := p.client.get(ctx, "the userinfo endpoint", m.UserInfo, accessToken, nil, &answer); err != nil {
		return profile{}, err
	}
	if answer.Subject != subject {
		return profile{}, refused("the userinfo endpoint speaks of another user")
	}
	return answer.profile, nil
}

// completed takes what is missing from another one; the address with all that is said
// of it.
func (p profile) completed(more profile) profile {
	if p.Email == "" {
		p.Email, p.Verified, p.HostedDomain = more.Email, more.Verified, more.HostedDomain
	}
	if p.Name == "" {
		p.Name = more.Name
	}
	if p.Picture == "" {
		p.Picture = more.Picture
	}
	return p
}

// maxPicture bounds the URL of a picture, in bytes.
const maxPicture = 2048

// describe puts into claims what we accept of a profile.
func (p profile) describe(claims *user.Claims) {
	if email, err := user.ParseEmail(p.Email); err == nil {
		claims.Email, claims.EmailVerified = email, bool(p.Verified)
	}
	if name, err := user.ParseName(p.Name); err == nil {
		claims.Name = name
	}
	if u, err := url.Parse(p.Picture); err == nil && u.Scheme == "https" && u.Host != "" && len(p.Picture) <= maxPicture {
		claims.Picture = p.Picture
	}
}

func (p *openID) check(ctx context.Context) (skew time.Duration, err error) {
	m, skew, err := p.discovery.ask(ctx)
	if err != nil {
		return 0, err
	}
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if _, err := p.client.get(ctx, "the key set", m.Keys, "", nil, &set); err != nil {
		return skew, err
	}
	if len(set.Keys) == 0 {
		return skew, fmt.Errorf("%w: the key set has no key", ErrRefused)
	}
	return skew, nil
}
