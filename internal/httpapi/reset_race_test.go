package httpapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// raceAccount is an account with two sessions, a reset link and a link to change the email
// address, for one round of TestRaceResetAndChange.
type raceAccount struct {
	id            string
	first, second string // session tokens
	reset, change string // one-time tokens
}

func newRaceAccount(t *testing.T, s *apitest.Server) raceAccount {
	t.Helper()

	s.TakeMails()
	_, err := s.Redis.Conn(t).Do("FLUSHDB")
	testkit.NoError(t, err)

	s.Register("ann@example.com").Do("POST", "/auth/logout", nil).Want(200)
	first := s.LoginFrom("first")
	first.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
	first.Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"}).Want(202)

	return raceAccount{
		id:     s.Account("ann@example.com").ID,
		first:  first.Token,
		second: s.LoginFrom("second").Token,
		reset:  s.Outbox.Token(t, "ann@example.com", "reset-password"),
		change: s.Outbox.Token(t, "new@example.com", "verify-email"),
	}
}

// raceRequest is one request of the race.
type raceRequest struct {
	path     string
	token    string // of the session, or ""
	body     any
	password string // the password that the request sets, if any
}

// requests returns the requests of a round. Most rounds leave out a kind of request, because
// the same kind would win every time. The order changes from round to round, because the first
// request has an advantage.
func (r raceAccount) requests(round int) []raceRequest {
	parts := []string{"reset change verify", "change verify", "verify", "reset verify", "reset change"}[round%5]
	all := []raceRequest{{path: "/auth/rotate-session", token: r.first}}
	for _, email := range []string{"ann@example.com", "ann@example.com", "new@example.com", "new@example.com"} {
		all = append(all, raceRequest{path: "/auth/login", body: apitest.Credentials(email, apitest.Password)})
	}

	if strings.Contains(parts, "reset") {
		for i, token := range []string{"", "", r.second} {
			password := fmt.Sprintf("password of reset %d", i)
			body := map[string]any{"token": r.reset, "password": password}
			all = append(all, raceRequest{"/auth/password/reset", token, body, password})
		}
	}

	if strings.Contains(parts, "change") {
		for i, token := range []string{r.first, r.first, r.second} {
			password := fmt.Sprintf("password of change %d", i)
			body := map[string]any{"currentPassword": apitest.Password, "newPassword": password}
			all = append(all, raceRequest{"/auth/password/change", token, body, password})
		}
	}

	if strings.Contains(parts, "verify") {
		for _, token := range []string{r.first, ""} {
			all = append(all, raceRequest{path: "/auth/email/verify", token: token, body: map[string]any{"token": r.change}})
		}
	}

	shift := round % len(all)

	return slices.Concat(all[shift:], all[:shift])
}

// Concurrent resets, password changes, email changes and logins leave an account with one
// password, one email address, and no session that the winning change should have ended.
func TestRaceResetAndChange(t *testing.T) {
	suite.Require(t, suite.Race)

	servers := twoServers(t, apitest.Options{Mail: &apitest.Outbox{}})
	wins := map[string]int{}
	eachRound(t, func(round int, conclusive func([]apitest.Response) bool) {
		account := newRaceAccount(t, servers[0])
		defer servers[0].DeleteAccount(account.id)

		requests := account.requests(round)
		responses := sendConcurrently(servers, len(requests), func(c *apitest.Client, i int) apitest.Response {
			c.Token = requests[i].token

			return c.Do("POST", requests[i].path, requests[i].body)
		})
		if !conclusive(responses) {
			return
		}

		winner, email := account.checkChanges(t, servers[0], requests, responses)
		account.checkSessions(t, servers[round%2], requests, responses, winner, email)
		won := email
		if winner >= 0 {
			won += " " + requests[winner].path
		}

		wins[won]++
		if t.Failed() {
			t.Fatalf("round %d: winner %q, responses %v", round, won, tally(responses))
		}
	})

	t.Logf("%d rounds, winners: %v", *rounds, wins)
}

// lostRace reports whether a response means that the change may have been made and the
// session that requested it has ended.
func lostRace(a apitest.Response, reason session.Reason) bool {
	return a.Status == 401 && a.JSON["reason"] == string(reason)
}

// checkChanges compares the account with the responses. The account must have the password of
// the request that succeeded and one of the two email addresses. A reset and an email change
// void each other's link. It returns the index of the request that changed the password, or -1,
// and the email address.
func (r raceAccount) checkChanges(
	t *testing.T, s *apitest.Server, requests []raceRequest, responses []apitest.Response,
) (winner int, email string) {
	t.Helper()

	allowed := map[string][]string{
		"/auth/password/reset":  {"200", "400 invalid_token"},
		"/auth/password/change": {"200", "401 wrong_password", "401 not_authenticated"},
		"/auth/email/verify":    {"200", "400 invalid_token", "401 not_authenticated"},
		"/auth/rotate-session":  {"200", "401 not_authenticated"},
		"/auth/login":           {"200", "401 invalid_credentials"},
	}

	u, err := s.Users.ByID(t.Context(), r.id)
	testkit.NoError(t, err)
	emailChanged := u.Email == "new@example.com"
	emailReported := false // a response allows for the email change
	passwords := 0         // that work
	winner = -1
	if s.HasPassword(r.id, apitest.Password) {
		passwords++
	}

	for i, a := range responses {
		path := requests[i].path
		succeeded := a.Status == 200
		for result := range tally([]apitest.Response{a}) {
			if !slices.Contains(allowed[path], result) {
				t.Errorf("%s: got %s, want one of %q: %s", path, result, allowed[path], a.Raw)
			}
		}

		if path == "/auth/email/verify" {
			emailReported = emailReported || succeeded || lostRace(a, session.EmailChanged)
			if succeeded && !emailChanged {
				t.Errorf("email: got %s after %s", u.Email, a.Raw)
			}
		}

		password := requests[i].password
		works := password != "" && s.HasPassword(r.id, password)
		if password != "" && succeeded && !works || works && !succeeded && !lostRace(a, session.PasswordChanged) {
			t.Errorf("%s: got %d, but %q works: %v", path, a.Status, password, works)
		}
		if works {
			passwords++
			winner = i
		}
	}

	if passwords != 1 {
		t.Errorf("working passwords: got %d, want 1", passwords)
	}
	if emailChanged && !emailReported {
		t.Error("the email address changed, but no response reports it")
	}
	if emailChanged && winner >= 0 && requests[winner].path == "/auth/password/reset" {
		t.Error("both the reset and the email change succeeded, want one")
	}
	if !emailChanged && winner < 0 {
		t.Error("no request changed the account, want one")
	}

	return winner, string(u.Email)
}

// checkSessions fails the test for each session that should have ended. A new password ends all
// sessions but that of the request which changed it. A new email address ends all but that of
// the request which verified it, and logins with the new one.
func (r raceAccount) checkSessions(
	t *testing.T, s *apitest.Server, requests []raceRequest, responses []apitest.Response, winner int, email string,
) {
	t.Helper()

	tokens := []string{r.first, r.second}
	mayLive := map[string]bool{} // IDs of sessions
	for i, a := range responses {
		if a.Cookie == nil {
			continue
		}

		token := a.Cookie.Value
		tokens = append(tokens, token)
		path := requests[i].path
		mayLive[session.IDOf(token)] = i == winner || winner < 0 && (path == "/auth/login" || path == "/auth/email/verify")
	}

	live, err := s.Sessions.List(t.Context(), r.id)
	testkit.NoError(t, err)
	for _, l := range live {
		if !mayLive[l.ID] || l.Email != email {
			t.Errorf("got live session %+v, want it ended, or with email %s", l, email)
		}
	}

	working := 0
	for _, token := range tokens {
		if s.WithToken(token).Do("GET", "/auth/session", nil).Status == 200 {
			working++
		}
	}

	if records := s.LiveSessions(s.Redis.Conn(t)); working != len(live) || records != len(live) {
		t.Errorf("got %d working cookies and %d records, want %d as listed", working, records, len(live))
	}
}
