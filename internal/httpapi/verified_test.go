package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/httpapi"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/token"
)

// forUnverified lists the routes with a session that are open to users whose email is not verified. It is
// written by hand, so that no route becomes open by a mistake in the table.
var forUnverified = []string{
	"GET /auth/session", "POST /auth/step-up", "POST /auth/email/resend", "POST /auth/email/change", "POST /auth/logout",
}

// verifiedOnly starts a server that requires verified emails.
func verifiedOnly(t *testing.T, o apitest.Options) *apitest.Server {
	t.Helper()

	o.RequireVerifiedEmail = true
	if o.Mail == nil {
		o.Mail = &apitest.Outbox{}
	}

	return apitest.New(t, o)
}

// verify uses the link in the email for an account.
func verify(s *apitest.Server, email string) {
	s.T.Helper()

	token := s.Outbox.Token(s.T, email, "verify-email")
	s.NewClient().Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(http.StatusOK)
}

// Where verified emails are required, a user can log in without one, but use only the routes that are
// needed to verify it. Afterwards the same session can use all routes.
func TestUnverifiedRoutes(t *testing.T) {
	t.Parallel()

	s := verifiedOnly(t, apitest.Options{})
	s.Register("ann@example.com")
	ann := s.LoginFrom("Firefox")

	fill := strings.NewReplacer("{id}", strings.Repeat("x", 45), "{provider}", "google")
	wantAll := func(isRefused func(name string) bool) {
		t.Helper()

		for _, name := range httpapi.RoutesOf(t) {
			method, path, _ := strings.Cut(name, " ")
			if slices.Contains(httpapi.Sessionless, name) || slices.Contains(httpapi.Pending, name) {
				continue
			}

			// The body is not checked before the email.
			a := ann.Clone().Send(method, fill.Replace(path), http.Header{"Content-Type": {"application/json"}}, []byte("["))
			refused := a.Status == http.StatusForbidden && codeIn(a) == "email_not_verified"
			if refused != isRefused(name) {
				t.Errorf("%s: got %d %s", name, a.Status, codeIn(a))
			}
		}
	}

	wantAll(func(name string) bool { return !slices.Contains(forUnverified, name) })
	ann.Do("GET", "/auth/verify", nil).WantCode(403, "email_not_verified")
	ann.Do("GET", "/auth/session", nil).Want(200)

	verify(s, "ann@example.com")
	wantAll(func(string) bool { return false })
	if got := ann.Do("GET", "/auth/verify", nil).Want(200).Header.Get("X-Auth-Email-Verified"); got != "true" {
		t.Errorf("X-Auth-Email-Verified: got %q, want true", got)
	}

	if a := s.LoginFrom("Chrome").Do("GET", "/auth/me", nil); a.Status != 200 {
		t.Errorf("another login: got %d, want 200", a.Status)
	}
	ann.Do("POST", "/auth/logout", nil).Want(200)
}

// A user who has mistyped the email can correct it, even if the login is not recent.
func TestMistypedEmail(t *testing.T) {
	t.Parallel()

	s := verifiedOnly(t, apitest.Options{})
	ann := s.Register("amn@example.com")
	s.Advance(apitest.StepUpMaxAge + time.Second)
	ann.Do("POST", "/auth/step-up", map[string]any{"password": apitest.Password}).Want(200)
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "ann@example.com"}).Want(202)
	ann.Do("GET", "/auth/me", nil).WantCode(403, "email_not_verified")

	token := s.Outbox.Token(t, "ann@example.com", "verify-email")
	ann.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(200)
	if got := ann.Do("GET", "/auth/me", nil).Want(200).JSON["user"].(map[string]any)["email"]; got != "ann@example.com" {
		t.Errorf("email: got %v, want ann@example.com", got)
	}
}

// As soon as a user has verified the email on one server, every server accepts it, although the others
// have the account and the session in memory.
func TestVerifiedOnEveryServer(t *testing.T) {
	t.Parallel()

	redis := storetest.StartRedis(t).Redis
	first := verifiedOnly(t, apitest.Options{Redis: &redis, SessionCache: true})
	second := apitest.New(t, apitest.Options{StoresOf: first, SessionCache: true, RequireVerifiedEmail: true})
	lenient := apitest.New(t, apitest.Options{StoresOf: first, SessionCache: true})

	for range 5 {
		ann := first.Register("ann@example.com")
		for _, s := range []*apitest.Server{first, second, lenient} {
			awaitInMemory(s, ann.Token)
			testkit.Eventually(t, "the account in memory", func() bool {
				before := s.Cache.Stats().Misses
				s.WithToken(ann.Token).Do("GET", "/auth/me", nil)

				return s.Cache.Stats().Misses == before
			})
		}

		verifiedOn := func(s *apitest.Server) string {
			a := s.WithToken(ann.Token).Do("GET", "/auth/verify", nil)

			return codeIn(a) + a.Header.Get("X-Auth-Email-Verified")
		}
		check := func(want, wantLenient string) {
			t.Helper()

			for s, want := range map[*apitest.Server]string{first: want, second: want, lenient: wantLenient} {
				if got := verifiedOn(s); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		}

		check("email_not_verified", "false")
		verify(first, "ann@example.com")
		check("true", "true")

		first.DeleteAccount(first.Account("ann@example.com").ID)
		first.ResetLimits()
	}
}

// While MongoDB is down, a session with a verified email works, and one whose email was not verified
// when it was last used does not. Without the requirement, it counts as not verified.
func TestVerifiedWithoutMongo(t *testing.T) {
	t.Parallel()

	uri, stop := storetest.StartMongo(t)
	s := verifiedOnly(t, apitest.Options{MongoURI: uri, RealTimeouts: true})
	lenient := apitest.New(t, apitest.Options{StoresOf: s, RealTimeouts: true})

	unverified := s.Register("ann@example.com")
	begun := s.Register("bob@example.com") // before the verification
	unused := begun.Clone()
	if !unused.Login("bob@example.com", apitest.Password) {
		t.Fatal("cannot log in")
	}
	begun = s.Register("carol@example.com")
	verify(s, "carol@example.com")
	begun.Do("GET", "/auth/verify", nil).Want(200)
	verify(s, "bob@example.com")

	stop()
	begun.Do("GET", "/auth/verify", nil).Want(200)
	begun.Do("POST", "/auth/rotate-session", nil).Want(200)
	for _, c := range []*apitest.Client{unverified, unused} {
		c.Do("GET", "/auth/verify", nil).WantCode(503, "user_store_unavailable")
		c.Do("GET", "/auth/session", nil).Want(200)
		if got := lenient.WithToken(c.Token).Do("GET", "/auth/verify", nil).Want(200).Header.Get("X-Auth-Email-Verified"); got != "false" {
			t.Errorf("X-Auth-Email-Verified: got %q, want false", got)
		}
	}
}

// The account of a session may be gone or disabled without the session.
func TestUnverifiedAccountGone(t *testing.T) {
	t.Parallel()

	s := verifiedOnly(t, apitest.Options{})
	ann := s.Register("ann@example.com")
	s.DeleteAccount(s.Account("ann@example.com").ID)
	ann.Do("GET", "/auth/verify", nil).Want(401)
	ann.Do("GET", "/auth/session", nil).Want(401)

	bob := s.Register("bob@example.com")
	_, err := s.Users.SetActive(t.Context(), s.Account("bob@example.com").ID, false)
	testkit.NoError(t, err)
	bob.Do("GET", "/auth/verify", nil).Want(401)
}

// While an email is being changed, the account has the new one already, which is verified, and the
// session still has the old one. Otherwise anyone could register with the email of somebody else and have
// it count as verified for a moment.
func TestVerifiedDuringEmailChange(t *testing.T) {
	t.Parallel()

	redis := storetest.StartRedis(t).Redis
	s := verifiedOnly(t, apitest.Options{Redis: &redis, SessionCache: true})
	lenient := apitest.New(t, apitest.Options{StoresOf: s, SessionCache: true})

	eve := s.Register("ann@example.com")
	eve.Do("POST", "/auth/email/change", map[string]any{"email": "eve@example.com"}).Want(202)
	link := s.Outbox.Token(t, "eve@example.com", "verify-email")
	_, err := s.Users.ChangeEmail(t.Context(), s.Account("ann@example.com").ID, token.Hash(link), "eve@example.com", true)
	testkit.NoError(t, err)

	awaitInMemory(lenient, eve.Token)
	for range 3 { // from the router, then from memory
		a := lenient.WithToken(eve.Token).Do("GET", "/auth/verify", nil).Want(200)
		if email, verified := a.Header.Get("X-Auth-Email"), a.Header.Get("X-Auth-Email-Verified"); email != "ann@example.com" || verified != "false" {
			t.Errorf("got %s with X-Auth-Email-Verified %s, want the old email with false", email, verified)
		}
		eve.Clone().Do("GET", "/auth/verify", nil).WantCode(403, "email_not_verified")
	}
}

// The email of a session may be in another spelling than that of its account, which was made canonical
// when a server started.
func TestVerifiedInAnotherSpelling(t *testing.T) {
	t.Parallel()

	s := verifiedOnly(t, apitest.Options{})
	ann := s.Register("ann@example.com")
	id := s.Account("ann@example.com").ID
	_, token, err := s.Sessions.Begin(t.Context(), session.Start{
		Owner:   session.Owner{UserID: id, Email: "Ann@Example.com"},
		Methods: []session.Method{{Method: session.Password}},
	})
	testkit.NoError(t, err)

	ann.Do("GET", "/auth/verify", nil).WantCode(403, "email_not_verified")
	verify(s, "ann@example.com")
	s.WithToken(token).Do("GET", "/auth/verify", nil).Want(200)
}
