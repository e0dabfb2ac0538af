package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// registrationEnv is a server with rules for new accounts, on which users try to get in.
type registrationEnv struct {
	*providerEnv
	policy       auth.RegistrationPolicy
	verifiedOnly bool
	invitations  map[string]string // the token of each invited email
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
	// verifies is set if the email of the account is verified afterwards.
	verifies bool
	// invited is set if the user has an invitation that should be accepted.
	invited bool
	// invalid is set if the user has an invitation that should not be accepted.
	invalid bool
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

// withSession prepares a confirmed account and a session.
func withSession(e registrationEnv, p providerUser) *apitest.Client {
	c := withConfirmedAccount(e, p)
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

// withInvitation returns how to prepare an invitation. change makes it useless, unless it is nil.
func withInvitation(change func(e registrationEnv, p providerUser)) func(registrationEnv, providerUser) *apitest.Client {
	return func(e registrationEnv, p providerUser) *apitest.Client {
		e.invitations[p.email] = invite(e.Server, p.email)
		if change != nil {
			change(e, p)
		}

		return e.NewClient()
	}
}

// invite invites somebody and returns the token of the invitation.
func invite(s *apitest.Server, email string) (token string) {
	link, err := s.Auth.InviteWithLink(s.T.Context(), user.Email(email), "Ann")
	testkit.NoError(s.T, err)

	token = apitest.LinkPattern.FindStringSubmatch(link)[2]
	s.Secrets.Add("the token of an invitation", token)

	return token
}

func expireInvitation(e registrationEnv, p providerUser) {
	past := bson.D{{Key: "$set", Value: bson.D{{Key: "expires", Value: e.Now().Add(-time.Second)}}}}
	_, err := e.Database().Collection("invitations").UpdateByID(e.T.Context(), p.email, past)
	testkit.NoError(e.T, err)
}

func withdrawInvitation(e registrationEnv, p providerUser) {
	removed, err := e.Users.RemoveInvitation(e.T.Context(), user.Email(p.email))
	testkit.NoError(e.T, err)
	if !removed {
		e.T.Error("the invitation is gone")
	}
}

func repeatInvitation(e registrationEnv, p providerUser) { invite(e.Server, p.email) }

func inviteOther(e registrationEnv, p providerUser) {
	withdrawInvitation(e, p)
	e.invitations[p.email] = invite(e.Server, "other."+p.email)
}

// useInvitation registers with an invitation and deletes the account.
func useInvitation(e registrationEnv, p providerUser) {
	c := e.NewClient()
	if byInvitation(e, c, p) == "" {
		c.Do("DELETE", "/profile", nil).Want(http.StatusNoContent)
	}
}

func byInvitation(e registrationEnv, c *apitest.Client, p providerUser) string {
	return codeIn(c.Do("POST", "/auth/register", map[string]any{
		"name": "Ann", "email": p.email, "password": apitest.Password, "invitation": e.invitations[p.email],
	}))
}

func byPassword(e registrationEnv, c *apitest.Client, p providerUser) string {
	return codeIn(c.Do("POST", "/auth/register", map[string]any{"name": "Ann", "email": p.email, "password": apitest.Password}))
}

func byLogin(_ registrationEnv, c *apitest.Client, p providerUser) string {
	return codeIn(c.Do("POST", "/auth/login", map[string]any{"email": p.email, "password": apitest.Password}))
}

func byWrongToken(e registrationEnv, c *apitest.Client, p providerUser) string {
	e.invitations[p.email] = strings.Repeat("A", 43)

	return byInvitation(e, c, p)
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
	"provider":                    {prepare: stranger, enter: byProvider, creates: true, verifies: true},
	"provider, unverified":        {prepare: stranger, enter: byProvider, creates: true, unverified: true},
	"login":                       {prepare: withAccount, enter: byLogin},
	"linked provider":             {prepare: withProvider, enter: byProvider, verifies: true},
	"linked provider, unverified": {prepare: withProvider, enter: byProvider, unverified: true, verifies: true},
	"link":                        {prepare: withSession, enter: byLink, verifies: true},
	"link by email":               {prepare: withConfirmedAccount, enter: byProvider, verifies: true},
	"claim":                       {prepare: withAccount, enter: byProvider, verifies: true},

	"invitation":                      {prepare: withInvitation(nil), enter: byInvitation, creates: true, invited: true, verifies: true},
	"invitation, provider":            {prepare: withInvitation(nil), enter: byProvider, creates: true, invited: true, verifies: true},
	"invitation, unverified provider": {prepare: withInvitation(nil), enter: byProvider, creates: true, unverified: true},
	"invitation without its token":    {prepare: withInvitation(nil), enter: byPassword, creates: true},
	"wrong token":                     {prepare: stranger, enter: byWrongToken, creates: true, invalid: true},
	"invitation for another email":    {prepare: withInvitation(inviteOther), enter: byInvitation, creates: true, invalid: true},
	"replaced invitation":             {prepare: withInvitation(repeatInvitation), enter: byInvitation, creates: true, invalid: true},
	"expired invitation":              {prepare: withInvitation(expireInvitation), enter: byInvitation, creates: true, invalid: true},
	"expired invitation, provider":    {prepare: withInvitation(expireInvitation), enter: byProvider, creates: true, verifies: true},
	"withdrawn invitation":            {prepare: withInvitation(withdrawInvitation), enter: byInvitation, creates: true, invalid: true},
	"withdrawn invitation, provider":  {prepare: withInvitation(withdrawInvitation), enter: byProvider, creates: true, verifies: true},
	"used invitation":                 {prepare: withInvitation(useInvitation), enter: byInvitation, creates: true, invalid: true},
}

// want returns the failure that a way in should have.
func (w wayIn) want(policy auth.RegistrationPolicy) string {
	isListed := len(policy.Domains) == 0 || policy.Domains[0] == "example.com"
	switch {
	case !w.creates:
		return ""
	case policy.Mode == auth.ClosedRegistration, policy.Mode == "unknown":
		return "registration_closed"
	case w.invited:
		return ""
	case w.invalid:
		return "invalid_token"
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

	for _, tc := range []struct {
		mode         auth.RegistrationMode
		domains      []string
		verifiedOnly bool
	}{
		{"", nil, false},
		{auth.OpenRegistration, []string{"example.com"}, true},
		{auth.OpenRegistration, []string{"example.org", "sub.example.com"}, true},
		{auth.InviteRegistration, nil, false},
		{auth.InviteRegistration, []string{"example.org"}, true},
		{auth.ClosedRegistration, nil, true},
		{"unknown", nil, false}, // fails closed
	} {
		t.Run(fmt.Sprint(tc.mode, tc.domains, tc.verifiedOnly), func(t *testing.T) {
			t.Parallel()

			policy := auth.RegistrationPolicy{Mode: tc.mode, Domains: tc.domains}
			o := apitest.Options{Registration: policy, RequireVerifiedEmail: tc.verifiedOnly}
			e := registrationEnv{newProviderEnv(t, o), policy, tc.verifiedOnly, map[string]string{}}
			n := 0
			for name, way := range waysIn {
				n++
				p := providerUser{sub: fmt.Sprint("ann", n), email: fmt.Sprintf("ann%d@example.com", n), unverified: way.unverified}
				way.check(e, name, p)
			}
		})
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
	if signedIn {
		w.checkRoutes(e, name, c, p)
	}
	if got := e.Metric("latchkey_password_hashes_total"); want != "" && got != hashes {
		e.T.Errorf("%s: password hashes: got %s, want %s", name, got, hashes)
	}
}

// checkRoutes checks that a signed-in user can use all routes, or only some if the email must be verified.
func (w wayIn) checkRoutes(e registrationEnv, name string, c *apitest.Client, p providerUser) {
	e.T.Helper()

	isVerified := e.Account(p.email).EmailVerified
	if isVerified != w.verifies {
		e.T.Errorf("%s: email verified: got %v, want %v", name, isVerified, w.verifies)
	}

	want := ""
	if e.verifiedOnly && !w.verifies {
		want = "email_not_verified"
	}
	for _, path := range []string{"/auth/me", "/auth/verify", "/auth/sessions"} {
		if got := codeIn(c.Do("GET", path, nil)); got != want {
			e.T.Errorf("%s: GET %s: got %q, want %q", name, path, got, want)
		}
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
