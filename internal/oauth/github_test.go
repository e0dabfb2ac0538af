package oauth

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/internal/oauth/oauthtest"
)

var octo = oauthtest.Account{ID: 583231, Login: "octo", Emails: []oauthtest.Email{{Email: "octo@example.com", Primary: true, Verified: true}}}

// Valid data of the GitHub API is used, and invalid data is dropped or rejected.
func TestGitHubClaims(t *testing.T) {
	t.Parallel()

	account := func(change func(a *oauthtest.Account)) oauthtest.Account {
		a := octo
		change(&a)

		return a
	}

	user := func(name string, value any) oauthtest.GitHubBehaviour {
		return oauthtest.GitHubBehaviour{User: func(u map[string]any) { u[name] = value }}
	}

	emails := func(f oauthtest.Fault) map[oauthtest.Endpoint]oauthtest.Fault {
		return map[oauthtest.Endpoint]oauthtest.Fault{oauthtest.Emails: f}
	}

	for name, tc := range map[string]struct {
		account  oauthtest.Account
		b        oauthtest.GitHubBehaviour
		faults   map[oauthtest.Endpoint]oauthtest.Fault
		email    string
		verified bool
		user     string
		want     error
	}{
		"no name": {account: octo, email: "octo@example.com", verified: true, user: "octo"},
		"a name":  {account: account(func(a *oauthtest.Account) { a.Name = "Ann" }), email: "octo@example.com", verified: true, user: "Ann"},
		"invalid name": {
			account: account(func(a *oauthtest.Account) { a.Name = "\u200b" }), email: "octo@example.com", verified: true, user: "",
		},
		"not verified": {
			account: account(func(a *oauthtest.Account) { a.Emails = []oauthtest.Email{{Email: "o@example.com", Primary: true}} }),
			email:   "o@example.com", user: "octo",
		},
		"no primary email": {
			account: account(func(a *oauthtest.Account) { a.Emails = []oauthtest.Email{{Email: "o@example.com", Verified: true}} }), user: "octo",
		},
		"no email":         {account: account(func(a *oauthtest.Account) { a.Emails = nil }), user: "octo"},
		"emails forbidden": {account: octo, faults: emails(oauthtest.Fault{Status: 403}), user: "octo"},
		"emails not found": {account: octo, faults: emails(oauthtest.Fault{Status: 404}), user: "octo"},
		"emails rate-limited": {
			account: octo, faults: emails(oauthtest.Fault{Status: 403, Header: http.Header{"X-Ratelimit-Remaining": {"0"}}}), want: ErrUnavailable,
		},
		"emails rate-limited, Retry-After": {
			account: octo, faults: emails(oauthtest.Fault{Status: 403, Header: http.Header{"Retry-After": {"60"}}}), want: ErrUnavailable,
		},
		"emails denied":    {account: octo, faults: emails(oauthtest.Fault{Status: 401}), want: ErrRefused},
		"emails null":      {account: octo, faults: emails(oauthtest.Fault{Body: "null"}), user: "octo"},
		"emails malformed": {account: octo, faults: emails(oauthtest.Fault{Body: `{"email":"a@example.com"}`}), want: ErrRefused},
		"no id":            {account: account(func(a *oauthtest.Account) { a.ID = 0 }), want: ErrRefused},
		"negative id":      {account: account(func(a *oauthtest.Account) { a.ID = -1 }), want: ErrRefused},
		"null id":          {account: octo, b: user("id", nil), want: ErrRefused},
		"id is text":       {account: octo, b: user("id", "583231"), want: ErrRefused},
		"fractional id":    {account: octo, b: user("id", 0.5), want: ErrRefused},
		"id in wrong case": {account: account(func(a *oauthtest.Account) { a.ID = 0 }), b: user("ID", 5), want: ErrRefused},
		"user denied": {
			account: octo, faults: map[oauthtest.Endpoint]oauthtest.Fault{oauthtest.User: {Status: 403}}, want: ErrRefused,
		},
		"repeated member": {
			account: octo, faults: map[oauthtest.Endpoint]oauthtest.Fault{oauthtest.User: {Body: `{"id":1,"id":2,"login":"x"}`}}, want: ErrRefused,
		},
		"wrong code":    {account: octo, b: oauthtest.GitHubBehaviour{TokenError: "bad_verification_code"}, want: ErrRefused},
		"wrong secret":  {account: octo, b: oauthtest.GitHubBehaviour{TokenError: "incorrect_client_credentials"}, want: ErrRefused},
		"unknown error": {account: octo, b: oauthtest.GitHubBehaviour{TokenError: clientSecret}, want: ErrRefused},
		"wrong issuer": {
			account: octo, email: "octo@example.com", verified: true, user: "octo",
			b: oauthtest.GitHubBehaviour{Callback: func(q url.Values) { q.Set("iss", "http://"+q.Get("state")) }}, want: ErrRefused,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, g := oneGitHub(t)
			g.Behave(tc.b)

			for e, f := range tc.faults {
				g.Break(e, f)
			}

			b := w.begin(t, "github", Flow{})
			got, _, err := w.end(t, "github", b.secret, g.Authorize(t, b.redirect, tc.account))
			if wantError(t, err, tc.want); err != nil {
				t.Log(err)
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

// A user who does not grant access to emails has none.
func TestGitHubScope(t *testing.T) {
	t.Parallel()

	w, g := oneGitHub(t)
	b := w.begin(t, "github", Flow{})
	back := g.Authorize(t, strings.Replace(b.redirect, "scope=user%3Aemail", "scope=", 1), octo)
	got, _, err := w.end(t, "github", b.secret, back)
	if err != nil || got.Email != "" || got.Subject != "583231" {
		t.Errorf("got %+v, error %v, want subject 583231 without an email", got, err)
	}
}
