package httpapi_test

import (
	"go.mongodb.org/mongo-driver/bson"
	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/apitest"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// lossyRoute is a request of TestLostReplies. Its name is the route, with the variant in
// parentheses if there are several.
type lossyRoute struct {
	name    string
	prepare func(*scene) (send func() apitest.Response)
}

var (
	newAccount    = map[string]any{"name": "New", "email": "new@example.com", "password": apitest.Password}
	linkedUser    = providerUser{sub: "linked", email: "external@example.com"}
	annAtProvider = providerUser{sub: "ann", email: "ann@example.com"}
)

// lossyRoutes are the requests of TestLostReplies.
var lossyRoutes = []lossyRoute{
	{"POST /auth/register", sends("POST", "/auth/register", newAccount)},
	{"POST /auth/login", sends("POST", "/auth/login", apitest.AnnsLogin)},
	{"POST /auth/login (outdated hash)", after(outdateHash, sends("POST", "/auth/login", apitest.AnnsLogin))},
	{"POST /auth/logout", sends("POST", "/auth/logout", nil)},

	{"GET /auth/me", sends("GET", "/auth/me", nil)},
	{"GET /auth/session", sends("GET", "/auth/session", nil)},
	{"GET /auth/verify", sends("GET", "/auth/verify", nil)},
	{"POST /auth/rotate-session", sends("POST", "/auth/rotate-session", nil)},
	{"GET /auth/sessions", sends("GET", "/auth/sessions", nil)},
	{"DELETE /auth/sessions", sends("DELETE", "/auth/sessions", nil)},
	{"DELETE /auth/sessions (all)", sends("DELETE", "/auth/sessions?scope=all", nil)},
	{"DELETE /auth/sessions/{id}", func(s *scene) func() apitest.Response {
		path := "/auth/sessions/" + s.other.SessionID()

		return func() apitest.Response { return s.ann.Do("DELETE", path, nil) }
	}},
	{"DELETE /auth/sessions/{id} (own)", func(s *scene) func() apitest.Response {
		path := "/auth/sessions/" + s.direct.WithToken(s.ann.Token).SessionID()

		return func() apitest.Response { return s.ann.Do("DELETE", path, nil) }
	}},
	{"GET /auth/activity", sends("GET", "/auth/activity", nil)},

	{"POST /auth/step-up", sends("POST", "/auth/step-up", map[string]any{"password": apitest.Password})},
	{"POST /auth/password/change", sends("POST", "/auth/password/change", apitest.PasswordChange)},
	{"POST /auth/password/set", after(removePassword, sends("POST", "/auth/password/set", map[string]any{"newPassword": apitest.NewPassword}))},
	{"POST /auth/password/forgot", sends("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"})},
	{"POST /auth/password/reset", func(s *scene) func() apitest.Response {
		s.direct.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"}).Want(202)
		body := map[string]any{
			"token":    s.emailedToken("ann@example.com", "reset-password"),
			"password": apitest.NewPassword,
		}

		return func() apitest.Response { return s.ann.Do("POST", "/auth/password/reset", body) }
	}},
	{"POST /auth/email/verify", func(s *scene) func() apitest.Response {
		s.direct.WithToken(s.ann.Token).Do("POST", "/auth/email/resend", nil).Want(202)
		body := map[string]any{"token": s.emailedToken("ann@example.com", "verify-email")}

		return func() apitest.Response { return s.ann.Do("POST", "/auth/email/verify", body) }
	}},
	{"POST /auth/email/verify (change)", func(s *scene) func() apitest.Response {
		s.direct.WithToken(s.ann.Token).Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
		body := map[string]any{"token": s.emailedToken("new@example.com", "verify-email")}

		return func() apitest.Response { return s.ann.Do("POST", "/auth/email/verify", body) }
	}},
	{"POST /auth/email/resend", sends("POST", "/auth/email/resend", nil)},
	{"POST /auth/email/change", sends("POST", "/auth/email/change", map[string]any{"email": "new@example.com"})},

	{"GET /auth/identities", sends("GET", "/auth/identities", nil)},
	{"POST /auth/identities/{provider}", sends("POST", "/auth/identities/acme", map[string]any{})},
	{"DELETE /auth/identities/{provider}", after(linkProvider, sends("DELETE", "/auth/identities/acme", nil))},
	{"GET /auth/{provider}", sends("GET", "/auth/acme", nil)},
	{"GET /auth/{provider}/callback", after(linkProvider, finishes(linkedUser))},
	{"GET /auth/{provider}/callback (new account)", finishes(providerUser{sub: "new", email: "new@example.com"})},
	{"GET /auth/{provider}/callback (verified email)", after(confirmEmail, finishes(annAtProvider))},
	{"GET /auth/{provider}/callback (claim)", finishes(annAtProvider)},
	{"GET /auth/{provider}/callback (link)", func(s *scene) func() apitest.Response {
		return s.returnFrom(linkedUser, func(c *apitest.Client) (authURL string) {
			return c.Do("POST", "/auth/identities/acme", map[string]any{}).Want(200).Text("url")
		})
	}},

	{"GET /profile", sends("GET", "/profile", nil)},
	{"PUT /profile", sends("PUT", "/profile", map[string]any{"name": "Anna"})},
	{"DELETE /profile", sends("DELETE", "/profile", nil)},
}

// sends sends a request in Ann's session. It needs no preparation.
func sends(method, path string, body map[string]any) func(*scene) func() apitest.Response {
	return func(s *scene) func() apitest.Response {
		return func() apitest.Response {
			if body == nil {
				return s.ann.Do(method, path, nil)
			}

			return s.ann.Do(method, path, body)
		}
	}
}

// after applies a change before it calls prepare.
func after(change func(*scene), prepare func(*scene) func() apitest.Response) func(*scene) func() apitest.Response {
	return func(s *scene) func() apitest.Response {
		change(s)

		return prepare(s)
	}
}

// finishes completes a sign-in with the provider.
func finishes(p providerUser) func(*scene) func() apitest.Response {
	return func(s *scene) func() apitest.Response {
		return s.returnFrom(p, func(c *apitest.Client) (authURL string) {
			return c.Do("GET", "/auth/acme", nil).Want(302).Header.Get("Location")
		})
	}
}

// returnFrom begins a flow and signs the user in at the provider. The function that it returns
// sends the callback. A flow can be finished only once, so a repetition begins another one.
func (s *scene) returnFrom(p providerUser, begin func(*apitest.Client) (authURL string)) func() apitest.Response {
	authenticate := func() (callback string) {
		c := s.direct.WithToken(s.ann.Token)
		callback = s.providers.authenticate("acme", begin(c), p)
		s.ann.Flows = c.Flows

		return callback
	}

	callback := authenticate()

	return func() apitest.Response {
		if callback == "" {
			callback = authenticate()
		}

		a := s.ann.Do("GET", callback, nil)
		callback = ""

		return a
	}
}

// emailedToken returns the token of the link in an email.
func (s *scene) emailedToken(to, page string) string {
	s.direct.DeliverMails()

	return s.direct.Outbox.Token(s.direct.T, to, page)
}

// set changes a field of the account's document.
func (s *scene) set(name string, value any) {
	_, err := s.direct.DB.Collection("users").UpdateOne(s.direct.T.Context(),
		bson.D{{Key: "email", Value: s.account.Email}},
		bson.D{{Key: "$set", Value: bson.D{{Key: name, Value: value}}}})
	testkit.NoError(s.direct.T, err)
}

func removePassword(s *scene) { s.set("password", "") }

func confirmEmail(s *scene) {
	s.set("emailVerified", true)
	s.set("ownerConfirmed", true)
}

// outdateHash replaces the hash with one that the next login upgrades.
func outdateHash(s *scene) {
	hash, err := bcrypt.GenerateFromPassword([]byte(apitest.Password), bcrypt.MinCost)
	testkit.NoError(s.direct.T, err)
	s.set("password", string(hash))
}

// linkProvider links linkedUser to the account.
func linkProvider(s *scene) {
	ctx := s.direct.T.Context()
	proposal, _, err := s.direct.Users.ProposeLink(ctx, s.account.ID, user.Claims{
		Provider: "acme",
		Issuer:   s.providers.issuers["acme"].URL,
		Subject:  linkedUser.sub,
	})
	testkit.NoError(s.direct.T, err)
	testkit.NoError(s.direct.T, s.direct.Users.ConfirmLink(ctx, proposal))
}
