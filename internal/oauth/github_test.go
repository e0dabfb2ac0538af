package oauth

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/internal/oauth/oauthtest"
)

var octo = oauthtest.Account{ID: 583231, Login: "octo", Emails: []oauthtest.Address{{Email: "octo@example.com", Primary: true, Verified: true}}}

// What GitHub says of a user is taken for what it is.
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
		"a name that is none": {
			account: account(func(a *oauthtest.Account) { a.Name = "\u200b" }), email: "octo@example.com", verified: true, user: "",
		},
		"not verified": {
			account: account(func(a *oauthtest.Account) { a.Emails = []oauthtest.Address{{Email: "o@example.com", Primary: true}} }),
			email:   "o@example.com", user: "octo",
		},
		"no primary": {
			account: account(func(a *oauthtest.Account) { a.Emails = []oauthtest.Address{{Email: "o@example.com", Verified: true}} }), user: "octo",
		},
		"no address":          {account: account(func(a *oauthtest.Account) { a.Emails = nil }), user: "octo"},
		"addresses forbidden": {account: octo, faults: emails(oauthtest.Fault{Status: 403}), user: "octo"},
		"addresses not found": {account: octo, faults: emails(oauthtest.Fault{Status: 404}), user: "octo"},
		"addresses limited": {
			account: octo, faults: emails(oauthtest.Fault{Status: 403, Header: http.Header{"X-Ratelimit-Remaining": {"0"}}}), want: ErrUnavailable,
		},
		"addresses limited for a while": {
			account: octo, faults: emails(oauthtest.Fault{Status: 403, Header: http.Header{"Retry-After": {"60"}}}), want: ErrUnavailable,
		},
		"addresses denied":    {account: octo, faults: emails(oauthtest.Fault{Status: 401}), want: ErrRefused},
		"addresses of null":   {account: octo, faults: emails(oauthtest.Fault{Body: "null"}), user: "octo"},
		"addresses of others": {account: octo, faults: emails(oauthtest.Fault{Body: `{"email":"a@example.com"}`}), want: ErrRefused},
		"no id":               {account: account(func(a *oauthtest.Account) { a.ID = 0 }), want: ErrRefused},
		"a negative id":       {account: account(func(a *oauthtest.Account) { a.ID = -1 }), want: ErrRefused},
		"an id of null":       {account: octo, b: user("id", nil), want: ErrRefused},
		"an id of text":       {account: octo, b: user("id", "583231"), want: ErrRefused},
		"an id of a half":     {account: octo, b: user("id", 0.5), want: ErrRefused},
		"an id in capitals":   {account: account(func(a *oauthtest.Account) { a.ID = 0 }), b: user("ID", 5), want: ErrRefused},
		"user denied": {
			account: octo, faults: map[oauthtest.Endpoint]oauthtest.Fault{oauthtest.User: {Status: 403}}, want: ErrRefused,
		},
		"user twice": {
			account: octo, faults: map[oauthtest.Endpoint]oauthtest.Fault{oauthtest.User: {Body: `{"id":1,"id":2,"login":"x"}`}}, want: ErrRefused,
		},
		"a bad code":          {account: octo, b: oauthtest.GitHubBehaviour{TokenError: "bad_verification_code"}, want: ErrRefused},
		"a bad secret":        {account: octo, b: oauthtest.GitHubBehaviour{TokenError: "incorrect_client_credentials"}, want: ErrRefused},
		"an error of its own": {account: octo, b: oauthtest.GitHubBehaviour{TokenError: clientSecret}, want: ErrRefused},
		"named": {
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
			got, _, err := w.end(t, "github", b.secret, g.Authorize(t, b.address, tc.account))
			if only(t, err, tc.want); err != nil {
				t.Log(err)
				return
			}
			if string(got.Email) != tc.email || got.EmailVerified != tc.verified || got.Name != tc.user {
				t.Errorf("got %+v", got)
			}
			if got.Subject != "583231" || got.Issuer != g.URL || !got.AuthenticatedAt.Equal(w.clock.now()) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// GitHub may name itself in either of its two ways.
func TestGitHubIssuer(t *testing.T) {
	t.Parallel()
	w, g := oneGitHub(t)
	for iss, want := range map[string]error{
		g.URL: nil, g.URL + "/login/oauth": nil, g.URL + "/": ErrRefused, "https://github.com": ErrRefused, "": ErrRefused,
	} {
		g.Behave(oauthtest.GitHubBehaviour{Callback: func(q url.Values) { q.Set("iss", iss) }})
		b := w.begin(t, "github", Flow{})
		_, _, err := w.end(t, "github", b.secret, g.Authorize(t, b.address, octo))
		only(t, err, want)
	}
}

// A user who gives no permission to see addresses has none.
func TestGitHubScope(t *testing.T) {
	t.Parallel()
	w, g := oneGitHub(t)
	b := w.begin(t, "github", Flow{})
	back := g.Authorize(t, strings.Replace(b.address, "scope=user%3Aemail", "scope=", 1), octo)
	got, _, err := w.end(t, "github", b.secret, back)
	if err != nil || got.Email != "" || got.Subject != "583231" {
		t.Errorf("got %+v, %v", got, err)
	}
}
