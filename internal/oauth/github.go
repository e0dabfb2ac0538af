package oauth

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"latchkey/internal/user"
)

// gitHub is GitHub or a GitHub Enterprise Server, which have OAuth 2.0 and an API instead of
// OpenID Connect. The user is the owner of the access token; PKCE and the state ensure that
// the token belongs to this flow.
type gitHub struct {
	settings Settings
	baseURL  string
	apiURL   string
	client   *client
	now      func() time.Time
}

func newGitHub(settings Settings, c *client, o Options) *gitHub {
	return &gitHub{
		settings: settings,
		baseURL:  strings.TrimSuffix(settings.Issuer, "/"),
		apiURL:   strings.TrimSuffix(settings.APIURL, "/"),
		client:   c,
		now:      o.Now,
	}
}

func (p *gitHub) server(context.Context) (server, error) {
	return server{
		Config: oauth2.Config{
			ClientID:     p.settings.ClientID,
			ClientSecret: p.settings.ClientSecret,
			Endpoint: oauth2.Endpoint{
				AuthURL:   p.baseURL + "/login/oauth/authorize",
				TokenURL:  p.baseURL + "/login/oauth/access_token",
				AuthStyle: oauth2.AuthStyleInParams,
			},
			RedirectURL: p.settings.CallbackURL,
			Scopes:      p.settings.Scopes,
		},
		client:  p.client,
		issuers: []string{p.baseURL, p.baseURL + "/login/oauth"},
	}, nil
}

// parameters implements provider. GitHub cannot be made to ask for the password again.
func (p *gitHub) parameters(_ context.Context, _ flowKeys, f Flow) []oauth2.AuthCodeOption {
	if f.Reauthenticate {
		return []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "select_account")}
	}

	return nil
}

func (p *gitHub) claims(ctx context.Context, response *oauth2.Token, _ flowKeys, _ flowRecord) (user.Claims, completion, error) {
	// See "Get the authenticated user". The ID identifies the user: a login name can be
	// changed, and then taken by someone else.
	var account struct {
		ID      int64       `json:"id"`
		Login   looseString `json:"login"`
		Name    looseString `json:"name"`
		Picture looseString `json:"avatar_url"`
	}
	if err := p.get(ctx, "/user", response.AccessToken, &account); err != nil {
		return user.Claims{}, nil, err
	}
	if account.ID <= 0 {
		return user.Claims{}, nil, refused("API: the user has no ID")
	}

	claims := user.Claims{
		Issuer:          p.settings.Issuer,
		Subject:         strconv.FormatInt(account.ID, 10),
		AuthenticatedAt: p.now(),
	}
	profile{Name: cmp.Or(account.Name, account.Login), Picture: account.Picture}.copyTo(&claims)

	return claims, func(ctx context.Context) (user.Claims, error) {
		info, err := p.email(ctx, response.AccessToken)
		if err != nil {
			return user.Claims{}, err
		}

		complete := claims
		info.copyTo(&complete)

		return complete, nil
	}, nil
}

// email returns a profile with the primary email ("List email addresses for the authenticated
// user"), or an empty one if the user did not grant access. The email in /user is only for
// display and not verified.
func (p *gitHub) email(ctx context.Context, accessToken string) (profile, error) {
	var emails []struct {
		Email    looseString `json:"email"`
		Primary  looseBool   `json:"primary"`
		Verified looseBool   `json:"verified"`
	}
	err := p.get(ctx, "/user/emails?per_page=100", accessToken, &emails)

	var failed *callError
	if errors.As(err, &failed) && errors.Is(err, ErrRefused) {
		notGranted := failed.status == http.StatusForbidden || failed.status == http.StatusNotFound
		if notGranted {
			return profile{}, nil
		}
	}
	if err != nil {
		return profile{}, err
	}

	for _, e := range emails {
		if e.Primary {
			return profile{Email: e.Email, Verified: &e.Verified}, nil
		}
	}

	return profile{}, nil
}

func (p *gitHub) get(ctx context.Context, path, accessToken string, into any) error {
	headers := http.Header{
		"Accept":               {"application/vnd.github+json"},
		"X-Github-Api-Version": {"2022-11-28"},
	}
	_, err := p.client.get(ctx, "API", p.apiURL+path, accessToken, headers, into)

	return err
}

// check requests the one resource that does not count against GitHub's rate limit. It uses
// HEAD because any status is fine: a GitHub Enterprise Server may reject unauthenticated
// requests and still work for users.
func (p *gitHub) check(ctx context.Context) (Health, error) {
	start := p.now()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, p.apiURL+"/rate_limit", nil)
	if err != nil {
		return Health{}, refused("API: invalid URL")
	}

	res, err := p.client.http().Do(req)
	if err != nil {
		return Health{}, callFailed(ctx, "API", err)
	}
	_ = res.Body.Close()

	return Health{Skew: skew(res.Header, start, p.now())}, nil
}
