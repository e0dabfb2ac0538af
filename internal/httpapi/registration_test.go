package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/testkit"
)

// registrationEnv is a server with rules for new accounts, on which users try to get in.
type registrationEnv struct {
	*providerEnv
	policy auth.RegistrationPolicy
}

// wayIn is a way to get into an account.
type wayIn struct {
	// prepare sets up what exists before, and returns the browser of the user.
	prepare func(e registrationEnv, p providerUser) *apitest.Client
	// enter tries to get in, and returns the code of the failure, or "".
	enter func(e registrationEnv, c *apitest.Client, p providerUser) string
	// creates is set if it creates an account.
	creates bool
	// unverified is set if the provider has not verified the email.
	unverified bool
}

func stranger(e registrationEnv, _ providerUser) *apitest.Client { return e.NewClient() }

// withAccount prepares an account that was created before the rules were in force.
func withAccount(e registrationEnv, p providerUser) *apitest.Client {
	e.CreateUser(p.email)

	return e.NewClient()
}

// withConfirmedAccount prepares an account whose owner has confirmed the email.
func withConfirmedAccount(e registrationEnv, p providerUser) *apitest.Client {
	c := withAccount(e, p)
	e.MarkEmailVerified(p.email)

	return c
}

// withSession prepares an account and a session.
func withSession(e registrationEnv, p providerUser) *apitest.Client {
	c := withAccount(e, p)
	if !c.Login(p.email, apitest.Password) {
		e.T.Fatal("cannot log in")
	}

	return c
}

// withProvider prepares an account that is linked to a provider.
func withProvider(e registrationEnv, p providerUser) *apitest.Client {
	c := withSession(e, p)
	e.linkWith(c, "acme", p, "")

	return e.NewClient()
}

func byPassword(e registrationEnv, c *apitest.Client, p providerUser) string {
	return codeIn(c.Do("POST", "/auth/register", map[string]any{"name": "Ann", "email": p.email, "password": apitest.Password}))
}

func byLogin(_ registrationEnv, c *apitest.Client, p providerUser) string {
	return codeIn(c.Do("POST", "/auth/login", map[string]any{"email": p.email, "password": apitest.Password}))
}

func byProvider(e registrationEnv, c *apitest.Client, p providerUser) string {
	return e.errorOf(c, e.startSignIn(c, "acme", ""), p)
}

func byLink(e registrationEnv, c *apitest.Client, p providerUser) string {
	return e.errorOf(c, c.Do("POST", "/auth/identities/acme", map[string]any{}).Want(200).Text("url"), p)
}

// errorOf returns from the provider and returns the error in the redirect.
func (e registrationEnv) errorOf(c *apitest.Client, authURL string, p providerUser) string {
	a := c.Do("GET", e.authenticate("acme", authURL, p), nil).Want(http.StatusFound)
	location, err := url.Parse(a.Header.Get("Location"))
	testkit.NoError(e.T, err)

	return location.Query().Get("error")
}

// codeIn returns the code of a failure, or "".
func codeIn(a apitest.Response) string {
	code, _ := a.JSON["code"].(string)

	return code
}

var waysIn = map[string]wayIn{
	"password":                    {prepare: stranger, enter: byPassword, creates: true},
	"provider":                    {prepare: stranger, enter: byProvider, creates: true},
	"provider, unverified":        {prepare: stranger, enter: byProvider, creates: true, unverified: true},
	"login":                       {prepare: withAccount, enter: byLogin},
	"linked provider":             {prepare: withProvider, enter: byProvider},
	"linked provider, unverified": {prepare: withProvider, enter: byProvider, unverified: true},
	"link":                        {prepare: withSession, enter: byLink},
	"link by email":               {prepare: withConfirmedAccount, enter: byProvider},
	"claim":                       {prepare: withAccount, enter: byProvider},
}

// want returns the failure that a way in should have.
func (w wayIn) want(policy auth.RegistrationPolicy) string {
	isListed := len(policy.Domains) == 0 || policy.Domains[0] == "example.com"
	switch {
	case !w.creates:
		return ""
	case policy.Mode == auth.ClosedRegistration:
		return "registration_closed"
	case policy.Mode == auth.InviteRegistration:
		return "invitation_required"
	case !isListed:
		return "email_domain_not_allowed"
	}

	return ""
}

// The rules for new accounts hold for every way in that creates one, and for no other. A refused user
// costs no password hash.
func TestRegistrationPolicy(t *testing.T) {
	t.Parallel()

	for _, mode := range []auth.RegistrationMode{auth.OpenRegistration, auth.InviteRegistration, auth.ClosedRegistration} {
		for _, domains := range [][]string{nil, {"example.com"}, {"example.org", "sub.example.com"}} {
			policy := auth.RegistrationPolicy{Mode: mode, Domains: domains}

			t.Run(fmt.Sprint(mode, domains), func(t *testing.T) {
				t.Parallel()

				e := registrationEnv{newProviderEnv(t, apitest.Options{Registration: policy}), policy}
				n := 0
				for name, way := range waysIn {
					n++
					p := providerUser{sub: fmt.Sprint("ann", n), email: fmt.Sprintf("ann%d@example.com", n), unverified: way.unverified}
					way.check(e, name, p)
				}
			})
		}
	}
}

func (w wayIn) check(e registrationEnv, name string, p providerUser) {
	e.T.Helper()

	c := w.prepare(e, p)
	before := e.accounts()
	hashes := e.Metric("latchkey_password_hashes_total")

	want := w.want(e.policy)
	if got := w.enter(e, c, p); got != want {
		e.T.Errorf("%s: got %q, want %q", name, got, want)
	}

	created := int64(0)
	if w.creates && want == "" {
		created = 1
	}
	if got := e.accounts() - before; got != created {
		e.T.Errorf("%s: new accounts: got %d, want %d", name, got, created)
	}

	signedIn := c.Do("GET", "/auth/session", nil).Status == http.StatusOK
	if signedIn != (want == "") {
		e.T.Errorf("%s: signed in: got %v", name, signedIn)
	}
	if got := e.Metric("latchkey_password_hashes_total"); want != "" && got != hashes {
		e.T.Errorf("%s: password hashes: got %s, want %s", name, got, hashes)
	}
}

// accounts returns the number of accounts.
func (e registrationEnv) accounts() int64 {
	n, err := e.Database().Collection("users").CountDocuments(e.T.Context(), bson.D{})
	testkit.NoError(e.T, err)

	return n
}

// Where accounts may be created with an invitation only, the response does not reveal whether an
// account has the email.
func TestRefusalRevealsNoAccount(t *testing.T) {
	t.Parallel()

	for mode, domain := range map[auth.RegistrationMode]string{
		auth.OpenRegistration:   "example.org",
		auth.InviteRegistration: "example.com",
		auth.ClosedRegistration: "example.com",
	} {
		s := apitest.New(t, apitest.Options{Registration: auth.RegistrationPolicy{Mode: mode, Domains: []string{domain}}})
		s.CreateUser("ann@example.com")

		e := registrationEnv{providerEnv: &providerEnv{Server: s}}
		taken := byPassword(e, s.NewClient(), providerUser{email: "ann@example.com"})
		free := byPassword(e, s.NewClient(), providerUser{email: "bob@example.com"})
		if taken != free || taken == "" {
			t.Errorf("%s: got %q for an email with an account, %q for another; want the same refusal", mode, taken, free)
		}
	}
}

// The list of domains also holds for the new email of an account. It is checked again when the change is
// confirmed.
func TestDomainsOfNewEmails(t *testing.T) {
	t.Parallel()

	listed := auth.RegistrationPolicy{Domains: []string{"example.com"}}
	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}, Registration: listed})
	ann := s.Register("ann@example.com")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "ann@example.org"}).WantCode(403, "email_domain_not_allowed")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
	token := s.Outbox.Token(t, "new@example.com", "verify-email")

	other := apitest.New(t, apitest.Options{StoresOf: s, Registration: auth.RegistrationPolicy{Domains: []string{"example.org"}}})
	confirm := map[string]any{"token": token}
	other.NewClient().Do("POST", "/auth/email/verify", confirm).WantCode(403, "email_domain_not_allowed")
	ann.Do("GET", "/auth/session", nil).Want(200)

	s.NewClient().Do("POST", "/auth/email/verify", confirm).Want(200)
	if !s.NewClient().Login("new@example.com", apitest.Password) {
		t.Error("the email has not changed")
	}
}
