package httpapi_test

import (
	"maps"
	"net/http"

	"go.mongodb.org/mongo-driver/bson"
	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/apitest"
	"latchkey/internal/factor"
	"latchkey/internal/session"
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

	{"POST /auth/login (second factor)", withApp(func(s *scene, _ apitest.App) func() apitest.Response {
		return sends("POST", "/auth/login", apitest.AnnsLogin)(s)
	})},
	{"GET /auth/login/factor", withPending(sends("GET", "/auth/login/factor", nil))},
	{"POST /auth/login/factor", withPending(entersCode("/auth/login/factor", map[string]any{"trustDevice": true}))},
	{"POST /auth/login/factor (recovery code)", withPending(entersRecoveryCode("/auth/login/factor"))},
	{"DELETE /auth/login/factor", withPending(sends("DELETE", "/auth/login/factor", nil))},
	{"POST /auth/logout (waiting login)", withPending(func(s *scene) func() apitest.Response {
		s.ann.Token = ""

		return sends("POST", "/auth/logout", nil)(s)
	})},
	{"POST /auth/step-up (code)", withApp(func(s *scene, _ apitest.App) func() apitest.Response {
		return entersCode("/auth/step-up", map[string]any{"password": apitest.Password})(s)
	})},
	{"POST /auth/step-up (recovery code)", withApp(func(s *scene, _ apitest.App) func() apitest.Response {
		return entersRecoveryCode("/auth/step-up")(s)
	})},
	{"GET /auth/factors", sends("GET", "/auth/factors", nil)},
	{"POST /auth/totp", sends("POST", "/auth/totp", nil)},
	{"POST /auth/totp/{id}/confirm", confirmsApp},
	{"POST /auth/totp/{id}/confirm (second app)", withApp(func(s *scene, _ apitest.App) func() apitest.Response { return confirmsApp(s) })},
	{"PUT /auth/factors/{id}", withApp(func(s *scene, app apitest.App) func() apitest.Response {
		return sends("PUT", "/auth/factors/"+app.ID, map[string]any{"name": "Old phone"})(s)
	})},
	{"DELETE /auth/factors/{id}", withApp(func(s *scene, app apitest.App) func() apitest.Response {
		return sends("DELETE", "/auth/factors/"+app.ID, nil)(s)
	})},
	{"DELETE /auth/factors/{id} (one of two)", withApp(func(s *scene, app apitest.App) func() apitest.Response {
		s.direct.AddFactor(s.account.ID)

		return sends("DELETE", "/auth/factors/"+app.ID, nil)(s)
	})},
	{"POST /auth/recovery-codes", withApp(func(s *scene, _ apitest.App) func() apitest.Response {
		return sends("POST", "/auth/recovery-codes", nil)(s)
	})},
	{"GET /auth/devices", sends("GET", "/auth/devices", nil)},
	{"DELETE /auth/devices/{id}", withApp(func(s *scene, app apitest.App) func() apitest.Response {
		return sends("DELETE", "/auth/devices/"+s.trustDevice(app), nil)(s)
	})},
	{"GET /auth/{provider}/callback (second factor)", after(linkProvider, withApp(func(s *scene, _ apitest.App) func() apitest.Response {
		return finishes(linkedUser)(s)
	}))},

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

// withApp adds an authenticator app to the account, and a session in which the user has just proved it.
func withApp(prepare func(*scene, apitest.App) func() apitest.Response) func(*scene) func() apitest.Response {
	return func(s *scene) func() apitest.Response {
		s.app = s.direct.AddFactor(s.account.ID)
		s.ann.Token = s.direct.SignInWith(s.account.ID, session.Method{Method: session.Password}, session.Method{Method: session.OTP}).Token

		return prepare(s, s.app)
	}
}

// withPending begins a login that waits for the second factor.
func withPending(prepare func(*scene) func() apitest.Response) func(*scene) func() apitest.Response {
	return withApp(func(s *scene, _ apitest.App) func() apitest.Response {
		s.ann.Factors = map[string]string{"mfa": s.direct.BeginPending(s.account.ID)}

		return prepare(s)
	})
}

// entersCode sends the code of the authenticator app. A code works once, so a repetition sends the next one.
func entersCode(path string, body map[string]any) func(*scene) func() apitest.Response {
	return func(s *scene) func() apitest.Response {
		step := factor.Step(s.direct.Now())

		return func() apitest.Response {
			in := maps.Clone(body)
			in["code"] = factor.Code(s.app.Secret, step)
			step++

			return s.ann.Do("POST", path, in)
		}
	}
}

// entersRecoveryCode sends a recovery code.
func entersRecoveryCode(path string) func(*scene) func() apitest.Response {
	return func(s *scene) func() apitest.Response {
		return sends("POST", path, map[string]any{"recoveryCode": s.app.RecoveryCodes[0]})(s)
	}
}

// confirmsApp confirms an authenticator app.
func confirmsApp(s *scene) func() apitest.Response {
	code := s.direct.BeginEnrolment(s.account.ID, "lossy")

	return sends("POST", "/auth/totp/lossy/confirm", map[string]any{"code": code})(s)
}

// trustDevice adds a trusted device to the account and returns its ID.
func (s *scene) trustDevice(app apitest.App) (id string) {
	c := waiting(s.direct, s.account.ID)
	c.Do("POST", "/auth/login/factor", map[string]any{"code": app.Code(), "trustDevice": true}).Want(http.StatusOK)
	for id = range s.direct.Account("ann@example.com").Trusted {
	}
	c.Do("POST", "/auth/logout", nil).Want(http.StatusOK)

	return id
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
