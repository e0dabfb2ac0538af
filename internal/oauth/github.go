package oauth

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"latchkey/internal/user"
)

// gitHub is GitHub, which has OAuth 2.0 for apps and an API instead of OpenID Connect:
// there is no ID token, and who signed in is who the access token belongs to. That it is
// the token of this flow is what PKCE and the state are for.
type gitHub struct {
	settings  Settings
	base, api string
	client    *client
	now       func() time.Time
}

func newGitHub(settings Settings, c *client, o Options) *gitHub {
	return &gitHub{
		settings: settings, base: strings.TrimSuffix(settings.Issuer, "/"), api: strings.TrimSuffix(settings.APIURL, "/"),
		client: c, now: o.Now,
	}
}

func (p *gitHub) server(context.Context) (server, error) {
	return server{
		Config: oauth2.Config{
			ClientID: p.settings.ClientID, ClientSecret: p.settings.ClientSecret,
			Endpoint: oauth2.Endpoint{
				AuthURL: p.base + "/login/oauth/authorize", TokenURL: p.base + "/login/oauth/access_token",
				AuthStyle: oauth2.AuthStyleInParams,
			},
			RedirectURL: p.settings.CallbackURL, Scopes: p.settings.Scopes,
		},
		client: p.client, issuers: []string{p.base, p.base + "/login/oauth"},
	}, nil
}

// request: GitHub cannot be made to ask for a password again.
func (p *gitHub) request(_ context.Context, _ flowKeys, f Flow) []oauth2.AuthCodeOption {
	if f.Reauthenticate {
		return []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "select_account")}
	}
	return nil
}

func (p *gitHub) claims(ctx context.Context, answer *oauth2.Token, _ flowKeys, _ flowRecord) (user.Claims, error) {
	// "Get the authenticated user". The login may be changed, and then taken by someone
	// else; the id is for good.
	var account struct {
		ID      int64  `json:"id"`
		Login   string `json:"login"`
		Name    string `json:"name"`
		Picture string `json:"avatar_url"`
	}
	if err := p.get(ctx, "/user", answer.AccessToken, &account); err != nil {
		return user.Claims{}, err
	}
	if account.ID <= 0 {
		return user.Claims{}, refused("the API gives no id of the user")
	}
	known, err := p.email(ctx, answer.AccessToken)
	if err != nil {
		return user.Claims{}, err
	}
	known.Name, known.Picture = account.Name, account.Picture
	if known.Name == "" {
		known.Name = account.Login
	}
	claims := user.Claims{Issuer: p.settings.Issuer, Subject: strconv.FormatInt(account.ID, 10), AuthenticatedAt: p.now()}
	known.describe(&claims)
	return claims, nil
}

// email is the primary address of the user ("List email addresses for the authenticated
// user"). The one of /user is for show, and may be none of theirs. A user who lets us
// see none has none.
func (p *gitHub) email(ctx context.Context, accessToken string) (profile, error) {
	var addresses []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	err := p.get(ctx, "/user/emails?per_page=100", accessToken, &addresses)
	var failed *callError
	if errors.As(err, &failed) && errors.Is(err, ErrRefused) && (failed.status == http.StatusForbidden || failed.status == http.StatusNotFound) {
		return profile{}, nil
	}
	for _, a := range addresses {
		if a.Primary {
			return profile{Email: a.Email, Verified: looseBool(a.Verified)}, err
		}
	}
	return profile{}, err
}

func (p *gitHub) get(ctx context.Context, path, accessToken string, into any) error {
	headers := http.Header{"Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {"2022-11-28"}}
	_, err := p.client.get(ctx, "the API", p.api+path, accessToken, headers, into)
	return err
}

// check asks for the one thing that GitHub's limits do not count. A server of a company
// may not tell a stranger, and is there all the same.
func (p *gitHub) check(ctx context.Context) (time.Duration, error) {
	start := p.now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.api+"/rate_limit", nil)
	if err != nil {
		return 0, refused("the API has an address that is no URL")
	}
	res, err := p.client.lenient().Do(req)
	if err != nil {
		return 0, asked(ctx, "the API", err)
	}
	_ = res.Body.Close()
	return skew(res.Header, start, p.now()), nil
}
