package httpapi_test

import (
	"bytes"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

const guessingSubject = "Someone is guessing your Latchkey password"

// guess sends n logins with a wrong password from unknown devices.
func guess(s *apitest.Server, email string, n int) {
	s.T.Helper()

	for range n {
		s.NewClient().Do("POST", "/auth/login", wrongPassword(email)).WantCode(401, "invalid_credentials")
	}
}

// recordFailures records n wrong passwords for an account, which is faster than sending them.
func recordFailures(s *apitest.Server, email string, n int) {
	s.T.Helper()

	testkit.NoError(s.T, s.Users.RecordFailures(s.T.Context(), s.Account(email), n))
}

// restrictions takes all events, and returns the number of restrictions of Ann's password.
func restrictions(s *apitest.Server) (n int) {
	s.T.Helper()

	for _, e := range s.TakeEvents() {
		if e["name"] == "password_restricted" && e["userId"] == s.Account("ann@example.com").ID {
			n++
		}
	}

	return n
}

// After 100 wrong passwords in a row, the right one gets the same response as a wrong one, at the
// same cost, unless it comes from a known device (NIST SP 800-63B-4 section 3.2.2). The owner is
// notified once.
func TestPasswordIsRestricted(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	owner := s.Register("ann@example.com")
	s.TakeEvents()

	// A successful login resets the count.
	recordFailures(s, "ann@example.com", auth.MaxFailures-10)
	guess(s, "ann@example.com", 9)
	if !s.NewClient().Login("ann@example.com", apitest.Password) {
		t.Fatalf("login after %d wrong passwords failed", auth.MaxFailures-1)
	}
	guess(s, "ann@example.com", auth.MaxFailures-1)
	if n := restrictions(s); n != 0 {
		t.Fatalf("events after fewer than %d wrong passwords in a row: got %d, want 0", auth.MaxFailures, n)
	}

	guess(s, "ann@example.com", 1)
	if n := restrictions(s); n != 1 {
		t.Errorf("events: got %d, want 1", n)
	}

	before := s.Hasher.Hashes()
	wrong := s.NewClient().Do("POST", "/auth/login", wrongPassword("ann@example.com"))
	right := s.NewClient().Do("POST", "/auth/login", apitest.AnnsLogin).WantCode(401, "invalid_credentials")
	if visibleParts(right) != visibleParts(wrong) {
		t.Errorf("responses differ: right password:\n%s\nwrong password:\n%s", visibleParts(right), visibleParts(wrong))
	}
	if n := s.Hasher.Hashes() - before; n != 2 {
		t.Errorf("password hashes: got %d, want 1 per login", n)
	}

	guess(s, "ann@example.com", 30)
	if n := restrictions(s); n != 0 {
		t.Errorf("further events: got %d, want 0", n)
	}
	if n := countMails(s.TakeMails(), "ann@example.com", guessingSubject); n != 1 {
		t.Errorf("emails: got %d, want 1", n)
	}

	// The owner is not locked out.
	owner.Do("GET", "/auth/me", nil).Want(200)
	owner.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
	if !s.NewClient().Login("ann@example.com", apitest.Password) {
		t.Error("login on a new device failed after a login on a known device")
	}

	// A second restriction on the same day is recorded, but the owner is not notified again.
	recordFailures(s, "ann@example.com", auth.MaxFailures-10)
	guess(s, "ann@example.com", 10)
	if n := restrictions(s); n != 1 {
		t.Errorf("events of the second restriction: got %d, want 1", n)
	}
	if n := countMails(s.TakeMails(), "ann@example.com", guessingSubject); n != 0 {
		t.Errorf("emails about the second restriction: got %d, want 0", n)
	}
}

// restrict restricts the password of an account.
func restrict(s *apitest.Server, email string) {
	s.T.Helper()

	recordFailures(s, email, auth.MaxFailures)
	if s.NewClient().Login(email, apitest.Password) {
		s.T.Fatal("login on a new device succeeded, want the password to be restricted")
	}
}

// The owner has several ways to lift the restriction.
func TestRestrictionIsLifted(t *testing.T) {
	t.Parallel()

	for name, lift := range map[string]func(e *providerEnv, known *apitest.Client) (password string){
		"login on a known device": func(_ *providerEnv, known *apitest.Client) string {
			known.Do("POST", "/auth/login", apitest.Credentials("ann@gmail.com", apitest.Password)).Want(200)

			return apitest.Password
		},
		"login with a provider": func(e *providerEnv, _ *apitest.Client) string {
			e.signInWith(e.NewClient(), "acme", ann, "")

			return apitest.Password
		},
		"password reset": func(e *providerEnv, _ *apitest.Client) string {
			e.resetPassword()

			return apitest.NewPassword
		},
		"password change on a known device": func(_ *providerEnv, known *apitest.Client) string {
			known.Do("POST", "/auth/password/change", apitest.PasswordChange).Want(200)

			return apitest.NewPassword
		},
		"password set by an operator": func(e *providerEnv, _ *apitest.Client) string {
			_, err := e.Auth.SetPassword(e.T.Context(), auth.Operator(e.Account("ann@gmail.com").ID), apitest.NewPassword)
			testkit.NoError(e.T, err)

			return apitest.NewPassword
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
			known := e.Register("ann@gmail.com")
			e.MarkEmailVerified("ann@gmail.com")
			e.signInWith(e.NewClient(), "acme", ann, "") // links the account
			restrict(e.Server, "ann@gmail.com")

			password := lift(e, known)
			if !e.NewClient().Login("ann@gmail.com", password) {
				t.Error("login on a new device failed")
			}
			if u := e.Account("ann@gmail.com"); u.FailedPasswords != 0 {
				t.Errorf("wrong passwords: got %d, want 0", u.FailedPasswords)
			}
			guess(e.Server, "ann@gmail.com", 20)
			if u := e.Account("ann@gmail.com"); u.FailedPasswords != 20 {
				t.Errorf("stored number of wrong passwords: got %d, want 20", u.FailedPasswords)
			}
		})
	}
}

// If Redis loses its data, the count of wrong passwords does not start again from zero, and nobody
// is locked out.
func TestRestrictionSurvivesRedisDataLoss(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	owner := s.Register("ann@example.com")
	s.Register("bob@example.com")

	const lost = 9 // at most, each time
	attempts := 0
	for s.Account("ann@example.com").FailedPasswords < auth.MaxFailures {
		guess(s, "ann@example.com", 10+lost)
		attempts += 10 + lost
		s.ResetLimits() // deletes all counters
		if attempts > 2*auth.MaxFailures {
			t.Fatalf("the password is not restricted after %d attempts", attempts)
		}
	}
	s.NewClient().Do("POST", "/auth/login", apitest.AnnsLogin).WantCode(401, "invalid_credentials")

	owner.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
	if !s.NewClient().Login("bob@example.com", apitest.Password) {
		t.Error("another user cannot log in")
	}
}

// The count is exact for concurrent requests to two servers, and the owner is notified once.
func TestRestrictionAtOnce(t *testing.T) {
	t.Parallel()

	servers := twoServers(t, apitest.Options{Mail: &apitest.Outbox{}})
	servers[0].Register("ann@example.com")

	send := func(c *apitest.Client, _ int) apitest.Response {
		return c.Do("POST", "/auth/login", wrongPassword("ann@example.com"))
	}
	sendConcurrently(servers, auth.MaxFailures-1, send)
	if u := servers[0].Account("ann@example.com"); u.FailedPasswords >= auth.MaxFailures {
		t.Errorf("wrong passwords before the last: got %d, want fewer than %d", u.FailedPasswords, auth.MaxFailures)
	}

	sendConcurrently(servers, 60, send)
	if u := servers[0].Account("ann@example.com"); u.FailedPasswords != auth.MaxFailures {
		t.Errorf("wrong passwords: got %d, want %d", u.FailedPasswords, auth.MaxFailures)
	}
	activity := servers[0].Database().Collection("activity")
	var events int64
	testkit.Eventually(t, "the event", func() bool {
		var err error
		events, err = activity.CountDocuments(t.Context(), bson.D{{Key: "name", Value: "password_restricted"}})
		testkit.NoError(t, err)

		return events > 0
	})
	if events != 1 {
		t.Errorf("events: got %d, want 1", events)
	}
	if n := countMails(servers[0].TakeMails(), "ann@example.com", guessingSubject); n != 1 {
		t.Errorf("emails: got %d, want 1", n)
	}
}

// Without emails the owner cannot reset the password. Therefore a few passwords an hour from each IP
// are still checked on unknown devices, and known devices are not limited.
func TestRestrictionWithoutMail(t *testing.T) {
	t.Parallel()

	const checked = 10 // in an hour
	const maxChecked = 50
	s := apitest.New(t, apitest.Options{TrustedProxies: []string{"127.0.0.1/32"}})
	owner := s.Register("ann@example.com")
	loginFrom := func(ip string, body map[string]any) apitest.Response {
		return s.NewClient().DoFrom(ip, "POST", "/auth/login", body)
	}

	recordFailures(s, "ann@example.com", auth.MaxFailures)
	guess(s, "ann@example.com", checked-1)
	if !s.NewClient().Login("ann@example.com", apitest.Password) {
		t.Errorf("login after %d wrong passwords in an hour failed", checked-1)
	}

	recordFailures(s, "ann@example.com", auth.MaxFailures)
	guess(s, "ann@example.com", 1)
	if s.NewClient().Login("ann@example.com", apitest.Password) {
		t.Errorf("login after more than %d passwords in an hour succeeded", checked)
	}

	// The first IP has used up its passwords, but not those of others.
	loginFrom("203.0.113.1", apitest.AnnsLogin).Want(200)
	recordFailures(s, "ann@example.com", auth.MaxFailures)
	for i := range maxChecked - checked - 1 {
		loginFrom(fmt.Sprintf("198.51.100.%d", i), wrongPassword("ann@example.com")).WantCode(401, "invalid_credentials")
	}
	loginFrom("203.0.113.2", apitest.AnnsLogin).WantCode(401, "invalid_credentials")

	for range 2 * checked {
		owner.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
		recordFailures(s, "ann@example.com", auth.MaxFailures)
	}
}

// A restricted password does not step up a session on an unknown device either. The error gives the
// reason, because the user is signed in, but does not depend on the password.
func TestRestrictedStepUp(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	known := s.Register("ann@example.com")
	thief := s.WithToken(known.Token) // without the device cookie
	stepUp := func(c *apitest.Client, password string) apitest.Response {
		return c.Do("POST", "/auth/step-up", map[string]any{"password": password})
	}

	recordFailures(s, "ann@example.com", auth.MaxFailures-10)
	for range 10 {
		stepUp(thief, "wrong password").WantCode(401, "wrong_password")
	}
	if n := restrictions(s); n != 1 {
		t.Errorf("events: got %d, want 1", n)
	}

	for _, password := range []string{"wrong password", apitest.Password} {
		stepUp(thief, password).WantCode(403, "password_restricted")
		thief.Do("POST", "/auth/password/change", map[string]any{
			"currentPassword": password,
			"newPassword":     apitest.NewPassword,
		}).WantCode(403, "password_restricted")
	}

	stepUp(known, apitest.Password).Want(200)
}

// Accounts that have no password, are disabled or do not exist are not restricted, and nobody is
// notified. An attempt does the same work as for other accounts.
func TestNothingToRestrict(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	disabled := s.CreateUser("disabled@example.com")
	_, err := s.Users.SetActive(t.Context(), disabled.ID, false)
	testkit.NoError(t, err)
	_, err = s.Users.Create(t.Context(), user.User{Name: "Ann", Email: "provider@example.com"})
	testkit.NoError(t, err)

	for _, email := range []string{"disabled@example.com", "provider@example.com", "nobody@example.com"} {
		guess(s, email, 20)
	}
	if sent := s.TakeMails(); len(sent) != 0 {
		t.Errorf("emails: got %d, want 0", len(sent))
	}
	for _, email := range []string{"disabled@example.com", "provider@example.com"} {
		if u := s.Account(email); u.FailedPasswords != 0 {
			t.Errorf("%s: wrong passwords: got %d, want 0", email, u.FailedPasswords)
		}
	}
}

// A wrong password takes the same commands for every email. Otherwise response times would reveal
// which emails have an account, or which password is right.
func TestWrongPasswordsTakeTheSameCommands(t *testing.T) {
	t.Parallel()

	_, proxied, proxy := storetest.ProxiedRedis(t)
	s := apitest.New(t, apitest.Options{Redis: &proxied, Mail: &apitest.Outbox{}})
	newAccountKinds(s)
	s.CreateUser("restricted@example.com")
	restrict(s, "restricted@example.com")

	var counts atomic.Int64 // commands that count a wrong password
	proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
		counts.Add(int64(bytes.Count(chunk, []byte("limit:{failures:"))))

		return false
	}})

	for _, attempt := range []struct{ email, password string }{
		{accountKinds["unknown"], apitest.Password},
		{accountKinds["known"], "wrong password"},
		{accountKinds["disabled"], apitest.Password},
		{"restricted@example.com", "wrong password"},
		{"restricted@example.com", apitest.Password},
	} {
		counts.Store(0)
		before := mongoCommands(s)
		for range 10 { // one of them stores the count
			s.NewClient().Do("POST", "/auth/login", apitest.Credentials(attempt.email, attempt.password)).WantCode(401, "invalid_credentials")
		}

		if n := mongoCommands(s) - before; n != 11 || counts.Load() != 10 {
			t.Errorf("10 logins as %s with %q: got %d MongoDB commands and %d Redis commands that count, want 11 and 10",
				attempt.email, attempt.password, n, counts.Load())
		}
	}
}
