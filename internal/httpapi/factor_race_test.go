package httpapi_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
	"latchkey/internal/user"
)

// waiting returns a client with a new login to an account that waits for a second factor.
func waiting(s *apitest.Server, userID string) *apitest.Client {
	c := s.NewClient()
	c.Factors = map[string]string{"mfa": s.BeginPending(userID)}

	return c
}

// clearStores removes all accounts, sessions and limits.
func clearStores(t *testing.T, s *apitest.Server) {
	t.Helper()

	_, err := s.Database().Collection("users").DeleteMany(t.Context(), bson.D{})
	testkit.NoError(t, err)
	conn := s.Redis.Conn(t)
	defer func() { _ = conn.Close() }()
	_, err = conn.Do("FLUSHDB")
	testkit.NoError(t, err)
}

// sessionsOf counts the sessions of all accounts.
func sessionsOf(t *testing.T, s *apitest.Server) int {
	t.Helper()

	conn := s.Redis.Conn(t)
	defer func() { _ = conn.Close() }()

	return s.LiveSessions(conn)
}

// Of many requests that use the same code at once, exactly one succeeds: with an authenticator app and with
// a recovery code, at a login and to confirm the identity.
func TestRaceOneCode(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	bodies := map[string]func(app apitest.App) map[string]any{
		"code":          func(app apitest.App) map[string]any { return map[string]any{"code": app.Code()} },
		"recovery code": func(app apitest.App) map[string]any { return map[string]any{"recoveryCode": app.RecoveryCodes[0]} },
	}
	for name, bodyOf := range bodies {
		for _, path := range []string{"/auth/login/factor", "/auth/step-up"} {
			t.Run(strings.ReplaceAll(name+path, " ", "-"), func(t *testing.T) {
				servers := twoServers(t, apitest.Options{})
				eachRound(t, func(_ int, conclusive func([]apitest.Response) bool) {
					clearStores(t, servers[0])
					u := servers[0].CreateUser("ann@example.com")
					app := servers[0].AddFactor(u.ID)
					clients := make([]*apitest.Client, concurrentClients)
					for i := range clients {
						s := servers[i%2]
						if path == "/auth/step-up" {
							clients[i] = s.SignInWith(u.ID, session.Method{Method: session.Password})
						} else {
							clients[i] = waiting(s, u.ID)
						}
					}

					body := bodyOf(app)
					responses := testkit.Concurrently(len(clients), func(i int) apitest.Response {
						return clients[i].Do("POST", path, body)
					})
					if !conclusive(responses) {
						return
					}
					winner := wantOneWinner(t, responses, "200", "401 wrong_code")
					for i, c := range clients {
						a := c.Do("GET", "/auth/session", nil)
						if isProved := a.Text("level") == session.AAL2; isProved != (i == winner) {
							t.Errorf("request %d of winner %d: got session %d %s", i, winner, a.Status, a.Raw)
						}
					}

					left := len(app.RecoveryCodes)
					if name == "recovery code" {
						left--
					}
					if got := len(servers[0].Account("ann@example.com").RecoveryCodes); got != left {
						t.Errorf("recovery codes: got %d, want %d", got, left)
					}
				})
			})
		}
	}
}

// Of the codes that are tried at once for one login, exactly five are judged, and the login has ended. Each
// of them counts for the authenticator app.
func TestRaceGuesses(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	const guesses = 100
	servers := twoServers(t, apitest.Options{})
	s := servers[0]
	eachRound(t, func(_ int, conclusive func([]apitest.Response) bool) {
		clearStores(t, s)
		u := s.CreateUser("ann@example.com")
		app := s.AddFactor(u.ID)
		c := waiting(s, u.ID)
		body := map[string]any{"code": app.WrongCode()}

		responses := sendConcurrently(servers, guesses, func(guesser *apitest.Client, _ int) apitest.Response {
			guesser.Factors = maps.Clone(c.Factors)

			return guesser.Do("POST", "/auth/login/factor", body)
		})
		if !conclusive(responses) {
			return
		}
		want := map[string]int{"401 wrong_code": 5, "401 no_pending_login": guesses - 5}
		if got := tally(responses); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := s.Account("ann@example.com").Factors[app.ID].Failures; got != 5 {
			t.Errorf("failures of the app: got %d, want 5", got)
		}
		c.Do("GET", "/auth/login/factor", nil).WantCode(http.StatusUnauthorized, "no_pending_login")
		c.Do("POST", "/auth/login/factor", map[string]any{"code": app.Code()}).WantCode(http.StatusUnauthorized, "no_pending_login")
		if got := sessionsOf(t, s); got != 0 {
			t.Errorf("sessions: got %d, want none", got)
		}
	})
}

// The hundredth wrong code in a row disables an app, although many are tried at once, and the owner gets one
// email.
func TestRaceHundredthGuess(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	servers := twoServers(t, apitest.Options{Mail: &apitest.Outbox{}})
	s := servers[0]
	eachRound(t, func(_ int, conclusive func([]apitest.Response) bool) {
		s.TakeMails()
		clearStores(t, s)
		u := s.CreateUser("ann@example.com")
		app := s.AddFactor(u.ID)
		setField(t, s, u.ID, "factors."+app.ID+".failures", user.MaxFactorFailures-6)
		logins := []*apitest.Client{waiting(s, u.ID), waiting(s, u.ID)}
		body := map[string]any{"code": app.WrongCode()}

		responses := sendConcurrently(servers, 10, func(guesser *apitest.Client, i int) apitest.Response {
			guesser.Factors = maps.Clone(logins[i/5].Factors)

			return guesser.Do("POST", "/auth/login/factor", body)
		})
		if !conclusive(responses) {
			return
		}
		if f := s.Account("ann@example.com").ListFactors()[0]; !f.Disabled() {
			t.Errorf("the app has %d failures and is not disabled", f.Failures)
		}
		if n := countMails(s.TakeMails(), "ann@example.com", "Someone is guessing codes for your Latchkey account"); n != 1 {
			t.Errorf("emails about the disabled app: got %d, want 1", n)
		}
		waiting(s, u.ID).Do("POST", "/auth/login/factor", map[string]any{"code": app.Code()}).WantCode(http.StatusUnauthorized, "wrong_code")
	})
}

// Of several right codes that are sent at once for one login, one begins a session, and no other does.
func TestRaceTwoFactors(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	servers := twoServers(t, apitest.Options{})
	s := servers[0]
	eachRound(t, func(_ int, conclusive func([]apitest.Response) bool) {
		clearStores(t, s)
		u := s.CreateUser("ann@example.com")
		app := s.AddFactor(u.ID)
		pending := waiting(s, u.ID)
		bodies := []map[string]any{{"code": app.Code()}}
		for _, code := range app.RecoveryCodes[:4] {
			bodies = append(bodies, map[string]any{"recoveryCode": code})
		}

		responses := sendConcurrently(servers, len(bodies), func(c *apitest.Client, i int) apitest.Response {
			c.Factors = maps.Clone(pending.Factors)

			return c.Do("POST", "/auth/login/factor", bodies[i])
		})
		if !conclusive(responses) {
			return
		}
		winner := wantOneWinner(t, responses, "200", "401 no_pending_login")
		if got := sessionsOf(t, s); got != 1 {
			t.Errorf("sessions: got %d, want 1", got)
		}
		s.WithToken(responses[winner].Cookie.Value).Do("GET", "/auth/session", nil).Want(http.StatusOK)
	})
}

// factorRace is an operation that ends a login that waits for a second factor, and its session.
type factorRace struct {
	// end reports whether it succeeded. other has another session of the account, and login the cookie of
	// the login.
	end func(s *apitest.Server, other, login *apitest.Client, app apitest.App) bool
	// survivors is the number of sessions that must survive: 1 if that of other does.
	survivors int
}

var factorRaces = map[string]factorRace{
	"logout": {survivors: 1, end: func(_ *apitest.Server, _, login *apitest.Client, _ apitest.App) bool {
		return login.Do("POST", "/auth/logout", nil).Status == http.StatusOK
	}},
	"cancel": {survivors: 1, end: func(_ *apitest.Server, _, login *apitest.Client, _ apitest.App) bool {
		return login.Do("DELETE", "/auth/login/factor", nil).Status == http.StatusNoContent
	}},
	"reset by link": {end: func(s *apitest.Server, _, _ *apitest.Client, _ apitest.App) bool {
		s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"})
		in := map[string]any{"token": s.Outbox.Token(s.T, "ann@example.com", "reset-password"), "password": apitest.NewPassword}

		return s.NewClient().Do("POST", "/auth/password/reset", in).Status == http.StatusOK
	}},
	"password change": {survivors: 1, end: func(_ *apitest.Server, other, _ *apitest.Client, _ apitest.App) bool {
		return other.Do("POST", "/auth/password/change", apitest.PasswordChange).Status == http.StatusOK
	}},
	"revoke all": {end: func(_ *apitest.Server, other, _ *apitest.Client, _ apitest.App) bool {
		return other.Do("DELETE", "/auth/sessions?scope=all", nil).Status == http.StatusOK
	}},
	"revoke others": {survivors: 1, end: func(_ *apitest.Server, other, _ *apitest.Client, _ apitest.App) bool {
		return other.Do("DELETE", "/auth/sessions", nil).Status == http.StatusOK
	}},
	"operator disables": {end: func(s *apitest.Server, _, _ *apitest.Client, _ apitest.App) bool {
		return s.AsOperator(func(caller auth.Caller) (auth.Changed, error) {
			return s.Auth.Disable(context.Background(), caller, session.AccountDisabled)
		})
	}},
	"operator resets the factors": {end: func(s *apitest.Server, _, _ *apitest.Client, _ apitest.App) bool {
		return s.AsOperator(func(caller auth.Caller) (auth.Changed, error) {
			return s.Auth.ResetFactors(context.Background(), caller, "lost phone")
		})
	}},
	"operator sets the password": {end: func(s *apitest.Server, _, _ *apitest.Client, _ apitest.App) bool {
		return s.AsOperator(func(caller auth.Caller) (auth.Changed, error) {
			return s.Auth.SetPassword(context.Background(), caller, apitest.NewPassword)
		})
	}},
	"the app is removed": {survivors: 1, end: func(_ *apitest.Server, other, _ *apitest.Client, app apitest.App) bool {
		// The use of a code changes no factor, but a trusted device may be added at the same time.
		return other.Do("DELETE", "/auth/factors/"+app.ID, nil).Status == http.StatusNoContent
	}},
	"account deleted": {end: func(_ *apitest.Server, other, _ *apitest.Client, _ apitest.App) bool {
		return other.Do("DELETE", "/profile", nil).Status == http.StatusNoContent
	}},
}

// A login that waits for its second factor, and is completed while it ends, leaves no session. Nor is a
// device trusted afterwards.
func TestRaceCompletion(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	for name, tc := range factorRaces {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			servers := twoServers(t, apitest.Options{Mail: &apitest.Outbox{}})
			eachRound(t, func(round int, conclusive func([]apitest.Response) bool) {
				if name == "reset by link" {
					servers[0].TakeMails()
				}
				clearStores(t, servers[0])
				tc.race(t, round, servers, conclusive)
			})
		})
	}
}

func (tc factorRace) race(t *testing.T, round int, servers []*apitest.Server, conclusive func([]apitest.Response) bool) {
	t.Helper()

	s := servers[0]
	u := s.CreateUser("ann@example.com")
	app := s.AddFactor(u.ID)
	other := s.SignInWith(u.ID, session.Method{Method: session.Password}, session.Method{Method: session.OTP})
	login := waiting(s, u.ID)
	bodies := []map[string]any{
		{"code": app.Code(), "trustDevice": true},
		{"recoveryCode": app.RecoveryCodes[0], "trustDevice": true},
	}

	ended := false
	var group sync.WaitGroup
	group.Go(func() { ended = tc.end(s, other.Clone(), login.Clone(), app) })
	responses := sendConcurrently(servers, len(bodies), func(c *apitest.Client, i int) apitest.Response {
		c.Factors = maps.Clone(login.Factors)

		return c.Do("POST", "/auth/login/factor", bodies[i])
	})
	group.Wait()

	if !conclusive(responses) {
		return
	}
	if !ended {
		t.Fatalf("round %d: the request that ends the login failed", round)
	}
	for _, a := range responses {
		if a.Cookie != nil {
			for _, server := range servers {
				server.WithToken(a.Cookie.Value).Do("GET", "/auth/session", nil).WantCode(http.StatusUnauthorized, "not_authenticated")
			}
		}
	}
	if got := sessionsOf(t, s); got != tc.survivors {
		t.Fatalf("round %d: sessions: got %d, want %d, after %v", round, got, tc.survivors, tally(responses))
	}

	login.Do("POST", "/auth/login/factor", map[string]any{"recoveryCode": app.RecoveryCodes[1]}).WantCode(http.StatusUnauthorized, "no_pending_login")
}

// If the first app is added while logins without it are in progress, no session of them survives.
func TestRaceEnrolment(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	servers := twoServers(t, apitest.Options{})
	s := servers[0]
	eachRound(t, func(round int, conclusive func([]apitest.Response) bool) {
		clearStores(t, s)
		u := s.CreateUser("ann@example.com")
		owner := s.SignInWith(u.ID, session.Method{Method: session.Password})
		body := map[string]any{"code": s.BeginEnrolment(u.ID, "first")}
		other := s.SignInWith(u.ID, session.Method{Method: session.Password})

		var added apitest.Response
		var group sync.WaitGroup
		group.Go(func() { added = owner.Do("POST", "/auth/totp/first/confirm", body) })
		group.Go(func() { other.Do("POST", "/auth/rotate-session", nil) })
		responses := sendConcurrently(servers, 4, func(c *apitest.Client, _ int) apitest.Response {
			return c.Do("POST", "/auth/login", apitest.AnnsLogin)
		})
		group.Wait()

		if !conclusive(append(responses, added)) {
			return
		}
		added.Want(http.StatusOK)
		if got := sessionsOf(t, s); got != 1 {
			t.Fatalf("round %d: sessions: got %d, want 1, after %v", round, got, tally(responses))
		}
		if got := owner.Do("GET", "/auth/session", nil).Want(http.StatusOK).Text("level"); got != session.AAL2 {
			t.Errorf("level: got %s, want aal2", got)
		}
	})
}

// After 100 wrong codes in a row an app is disabled, and only this app: another one and the recovery codes
// still work, and enable it again. The password and the sessions are not affected.
func TestDisabledApp(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	u := s.CreateUser("ann@example.com")
	attacked := s.AddFactor(u.ID)
	second := s.AddFactor(u.ID)
	signedIn := s.SignInWith(u.ID, session.Method{Method: session.Password}, session.Method{Method: session.OTP})
	disable := func() {
		setField(t, s, u.ID, "factors."+attacked.ID+".failures", user.MaxFactorFailures-1)
		waiting(s, u.ID).Do("POST", "/auth/login/factor", map[string]any{"code": second.WrongCode()}).WantCode(http.StatusUnauthorized, "wrong_code")
	}
	isDisabled := func() (disabled []string) {
		for _, v := range signedIn.Do("GET", "/auth/factors", nil).Want(http.StatusOK).JSON["factors"].([]any) {
			if f := v.(map[string]any); f["disabled"] == true {
				disabled = append(disabled, f["id"].(string))
			}
		}

		return disabled
	}

	wantMails := 1 // at most one a day
	for name, body := range map[string]func() map[string]any{
		"another app":     func() map[string]any { return map[string]any{"code": second.NextCode()} },
		"a recovery code": func() map[string]any { return map[string]any{"recoveryCode": attacked.RecoveryCodes[0]} },
	} {
		s.TakeMails()
		s.TakeEvents()
		disable()
		if got := isDisabled(); !slices.Equal(got, []string{attacked.ID}) {
			t.Fatalf("%s: disabled: got %v, want %s", name, got, attacked.ID)
		}
		c := s.NewClient()
		c.Do("POST", "/auth/login", apitest.AnnsLogin).Want(http.StatusOK)
		c.Do("POST", "/auth/login/factor", map[string]any{"code": attacked.NextCode()}).WantCode(http.StatusUnauthorized, "wrong_code")
		signedIn.Do("POST", "/auth/step-up", map[string]any{"code": attacked.NextCode()}).WantCode(http.StatusUnauthorized, "wrong_code")

		if n := countMails(s.TakeMails(), "ann@example.com", "Someone is guessing codes for your Latchkey account"); n != wantMails {
			t.Errorf("%s: emails: got %d, want %d", name, n, wantMails)
		}
		wantMails = 0
		events := s.TakeEvents()
		if n := slices.IndexFunc(events, func(e bson.M) bool { return e["name"] == "factor_disabled" }); n < 0 {
			t.Errorf("%s: got events %v, want factor_disabled", name, events)
		}

		c.Do("POST", "/auth/login/factor", body()).Want(http.StatusOK)
		if got := isDisabled(); len(got) > 0 {
			t.Errorf("%s: still disabled after a login: %v", name, got)
		}
		c.Do("POST", "/auth/step-up", map[string]any{"code": attacked.NextCode()}).Want(http.StatusOK)
	}

	if !s.HasPassword(u.ID, apitest.Password) {
		t.Error("the password does not work")
	}
}
