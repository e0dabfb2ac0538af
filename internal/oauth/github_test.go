package oauth

import (
	"net/http"
	"net/url"
	"testing"

	"latchkey/internal/oauth/oauthtest"
)

var octo = oauthtest.Account{ID: 583231, Login: "octo", Emails: []oauthtest.Email{{Email: "octo@example.com", Primary: true, Verified: true}}}

// Valid data of the GitHub API is used, and invalid data is dropped or rejected.
func TestGitHubClaims(t *testing.T) {
	t.Parallel()

	account := func(emails ...oauthtest.Email) oauthtest.Account {
		return oauthtest.Account{ID: octo.ID, Login: octo.Login, Emails: emails}
	}

	user := func(name string, value any) oauthtest.GitHubBehaviour {
		return oauthtest.GitHubBehaviour{User: func(u map[string]any) { u[name] = value }}
	}

	limited := func(header, value string) oauthtest.Fault {
		return oauthtest.Fault{Status: 403, Header: http.Header{header: {value}}}
	}

	misspellID := func(u map[string]any) {
		u["ID"] = u["id"]
		delete(u, "id")
	}

	for name, tc := range map[string]struct {
		account  oauthtest.Account // octo if empty
		b        oauthtest.GitHubBehaviour
		endpoint oauthtest.Endpoint // where the fault is
		fault    oauthtest.Fault
		email    string
		verified bool
		user     string
		want     error
	}{
		"no name":      {b: user("name", nil), email: "octo@example.com", verified: true, user: "octo"},
		"a name":       {b: user("name", "Ann"), email: "octo@example.com", verified: true, user: "Ann"},
		"invalid name": {b: user("name", "\u200b"), email: "octo@example.com", verified: true, user: ""},

		"not verified":        {account: account(oauthtest.Email{Email: "o@example.com", Primary: true}), email: "o@example.com", user: "octo"},
		"no primary email":    {account: account(oauthtest.Email{Email: "o@example.com", Verified: true}), user: "octo"},
		"no email":            {account: account(), user: "octo"},
		"emails forbidden":    {endpoint: oauthtest.Emails, fault: oauthtest.Fault{Status: 403}, user: "octo"},
		"emails not found":    {endpoint: oauthtest.Emails, fault: oauthtest.Fault{Status: 404}, user: "octo"},
		"emails rate-limited": {endpoint: oauthtest.Emails, fault: limited("X-Ratelimit-Remaining", "0"), want: ErrUnavailable},
		"emails, Retry-After": {endpoint: oauthtest.Emails, fault: limited("Retry-After", "60"), want: ErrUnavailable},
		"emails denied":       {endpoint: oauthtest.Emails, fault: oauthtest.Fault{Status: 401}, want: ErrRefused},

		"no id":            {b: user("id", nil), want: ErrRefused},
		"negative id":      {b: user("id", -1), want: ErrRefused},
		"id is text":       {b: user("id", "583231"), want: ErrRefused},
		"id in wrong case": {b: oauthtest.GitHubBehaviour{User: misspellID}, want: ErrRefused},
		"user denied":      {endpoint: oauthtest.User, fault: oauthtest.Fault{Status: 403}, want: ErrRefused},
		"repeated member":  {endpoint: oauthtest.User, fault: oauthtest.Fault{Body: `{"id":1,"id":2,"login":"x"}`}, want: ErrRefused},
		"wrong code":       {b: oauthtest.GitHubBehaviour{TokenError: "bad_verification_code"}, want: ErrRefused},
		"unknown error":    {b: oauthtest.GitHubBehaviour{TokenError: clientSecret}, want: ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, g := oneGitHub(t)
			g.Behave(tc.b)

			g.Break(tc.endpoint, tc.fault)
			if tc.account.ID == 0 {
				tc.account = octo
			}

			b := w.begin(t, "github", Flow{})
			got, _, err := w.end(t, "github", b.secret, g.Authorize(t, b.redirect, tc.account))
			wantError(t, err, tc.want)
			if err != nil {
				return
			}
			if string(got.Email) != tc.email || got.EmailVerified != tc.verified || got.Name != tc.user {
				t.Errorf("got %+v, want email %q (verified %t) and name %q", got, tc.email, tc.verified, tc.user)
			}
			if got.Subject != "583231" || got.Issuer != g.URL || !got.AuthenticatedAt.Equal(w.clock.now()) {
				t.Errorf("got %+v, want subject 583231, issuer %s and the current time", got, g.URL)
			}
		})
	}
}

// Both issuers of GitHub are accepted in a callback.
func TestGitHubIssuer(t *testing.T) {
	t.Parallel()

	w, g := oneGitHub(t)
	for iss, want := range map[string]error{
		g.URL: nil, g.URL + "/login/oauth": nil, g.URL + "/": ErrRefused, "https://github.com": ErrRefused, "": ErrRefused,
	} {
		g.Behave(oauthtest.GitHubBehaviour{Callback: func(q url.Values) { q.Set("iss", iss) }})
		b := w.begin(t, "github", Flow{})
		_, _, err := w.end(t, "github", b.secret, g.Authorize(t, b.redirect, octo))
		wantError(t, err, want)
	}
}
