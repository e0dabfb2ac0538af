package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mail"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
	"latchkey/internal/user"
)

// concurrentClients is the number of clients that send the same request at once.
const concurrentClients = 32

// twoServers starts two servers that share their stores and their outbox.
func twoServers(t *testing.T, o apitest.Options) []*apitest.Server {
	t.Helper()

	first := apitest.New(t, o)
	o.StoresOf = first

	return []*apitest.Server{first, apitest.New(t, o)}
}

// atOnce has n clients send a request at once, to alternating servers, and returns the
// responses in order.
func atOnce(servers []*apitest.Server, n int, send func(c *apitest.Client, i int) apitest.Response) []apitest.Response {
	clients := make([]*apitest.Client, n)
	for i := range clients {
		clients[i] = servers[i%len(servers)].NewClient()
	}

	return testkit.Concurrently(n, func(i int) apitest.Response { return send(clients[i], i) })
}

// tally counts responses by status and code.
func tally(responses []apitest.Response) map[string]int {
	counts := map[string]int{}
	for _, a := range responses {
		result := fmt.Sprint(a.Status)
		if code, failed := a.JSON["code"].(string); failed {
			result += " " + code
		}
		counts[result]++
	}

	return counts
}

// eachRound runs a race -rounds times. A round passes its responses to conclusive and stops
// if that returns false: after a 503 the outcome is unknown. That is rare with a real Redis.
func eachRound(t *testing.T, run func(round int, conclusive func([]apitest.Response) bool)) {
	t.Helper()

	inconclusive := 0
	for round := range *rounds {
		run(round, func(responses []apitest.Response) bool {
			unavailable := slices.ContainsFunc(responses, func(a apitest.Response) bool {
				return a.Status == 503 || strings.HasSuffix(a.Header.Get("Location"), "_unavailable")
			})
			if unavailable {
				inconclusive++
			}

			return !unavailable
		})
	}

	if inconclusive > 0 {
		t.Logf("%d of %d rounds were inconclusive because a store was unavailable", inconclusive, *rounds)
	}
	if inconclusive == *rounds {
		t.Error("all rounds were inconclusive")
	}
}

// wantOneWinner fails the test unless one response is the success and all others are the
// failure. It returns the index of the winner.
func wantOneWinner(t *testing.T, responses []apitest.Response, success, failure string) int {
	t.Helper()

	want := map[string]int{success: 1, failure: len(responses) - 1}
	if got := tally(responses); !maps.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}

	return slices.IndexFunc(responses, func(a apitest.Response) bool { return a.Status < 300 })
}

// containsAll reports whether a chunk of the Redis protocol contains all texts.
func containsAll(chunk []byte, texts ...string) bool {
	for _, text := range texts {
		if !bytes.Contains(chunk, []byte(text)) {
			return false
		}
	}

	return true
}

// countMails counts the emails to a recipient with a subject.
func countMails(sent []mail.Message, to, subject string) (n int) {
	for _, m := range sent {
		if m.To == to && m.Subject == subject {
			n++
		}
	}

	return n
}

// tokenRace is a race for one one-time token of ann@example.com.
type tokenRace struct {
	// request makes the server send an email, and returns the token in it.
	request func(s *apitest.Server, ann *apitest.Client) (token string)
	path    string
	// check compares the account with the request that won.
	check func(s *apitest.Server, ann user.User, winner int)
	// ends is set if the winning request ends the sessions of the account.
	ends bool
	// mails counts the emails about the change, by recipient.
	mails map[string]string
}

func racePassword(i int) string { return fmt.Sprintf("password of request %d", i) }

var tokenRaces = map[string]tokenRace{
	"reset": {
		request: func(s *apitest.Server, _ *apitest.Client) string {
			s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"}).Want(202)

			return s.Outbox.Token(s.T, "ann@example.com", "reset-password")
		},
		path: "/auth/password/reset",
		check: func(s *apitest.Server, ann user.User, winner int) {
			for _, i := range []int{winner, (winner + 1) % concurrentClients, (winner + concurrentClients/2) % concurrentClients} {
				if got := s.HasPassword(ann.ID, racePassword(i)); got != (i == winner) {
					s.T.Errorf("request %d succeeded: password of request %d works: %v", winner, i, got)
				}
			}
		},
		ends:  true,
		mails: map[string]string{"ann@example.com": "Your Latchkey password was changed"},
	},
	"verify": {
		request: func(s *apitest.Server, _ *apitest.Client) string {
			return s.Outbox.Token(s.T, "ann@example.com", "verify-email")
		},
		path: "/auth/email/verify",
		check: func(s *apitest.Server, _ user.User, _ int) {
			if !s.Account("ann@example.com").EmailVerified {
				s.T.Error("email verified: got false, want true")
			}
		},
	},
	"change": {
		request: func(s *apitest.Server, ann *apitest.Client) string {
			ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)

			return s.Outbox.Token(s.T, "new@example.com", "verify-email")
		},
		path: "/auth/email/verify",
		check: func(s *apitest.Server, ann user.User, _ int) {
			u, err := s.Users.ByID(s.T.Context(), ann.ID)
			if err != nil || u.Email != "new@example.com" || !u.EmailVerified {
				s.T.Errorf("got account %+v, error %v, want a verified new@example.com", u, err)
			}
		},
		ends: true,
		mails: map[string]string{
			"ann@example.com": "Your Latchkey email address was changed",
			"new@example.com": "Your Latchkey email address was changed",
		},
	},
}

// When many clients use a one-time token at once, exactly one request succeeds, and only
// that request has an effect.
func TestRaceOneTimeTokens(t *testing.T) {
	suite.Require(t, suite.Race)

	for name, tc := range tokenRaces {
		t.Run(name, func(t *testing.T) {
			servers := twoServers(t, apitest.Options{Mail: &apitest.Outbox{}})
			s := servers[0]
			eachRound(t, func(_ int, conclusive func([]apitest.Response) bool) {
				s.TakeMails()
				s.ResetLimits()
				holder := s.Register("ann@example.com")
				ann := s.Account("ann@example.com")
				defer s.DeleteAccount(ann.ID)
				token := tc.request(s, holder)
				s.TakeMails()

				responses := atOnce(servers, concurrentClients, func(c *apitest.Client, i int) apitest.Response {
					body := map[string]any{"token": token}
					if tc.path == "/auth/password/reset" {
						body["password"] = racePassword(i)
					}

					return c.Do("POST", tc.path, body)
				})
				if !conclusive(responses) {
					return
				}

				tc.check(s, ann, wantOneWinner(t, responses, "200", "400 invalid_token"))
				if a := holder.Do("GET", "/auth/session", nil); (a.Status == 401) != tc.ends {
					t.Errorf("session of the account: got %d, ended: want %v", a.Status, tc.ends)
				}

				sent := s.TakeMails()
				for to, subject := range tc.mails {
					if n := countMails(sent, to, subject); n != 1 {
						t.Errorf("emails to %s: got %d, want 1", to, n)
					}
				}
			})
		})
	}
}

// Of concurrent registrations with different spellings of the same email address, exactly
// one creates an account and a session. This relies on the unique index: with a lookup
// before the insert, several could succeed.
func TestRaceRegister(t *testing.T) {
	suite.Require(t, suite.Race)

	servers := twoServers(t, apitest.Options{})
	s := servers[0]
	users := s.Database().Collection("users")
	conn := s.Redis.Conn(t)
	spellings := map[string][]string{
		"ann%d@bücher.example": {
			"Ann%d@Bücher.Example",
			" ann%d@b\u00dcCHER.example",
			"aNN%d@bu\u0308cher.example ",
			"ANN%d@BU\u0308CHER.EXAMPLE",
			"ann%d@xn--bcher-kva.example",
			" Ann%d@XN--BCHER-KVA.example",
		},
		"ann%d@example.com": {"Ann%d@Example.com", " ann%d@example.COM", "aNN%d@eXAMPLE.com"},
	}

	eachRound(t, func(round int, conclusive func([]apitest.Response) bool) {
		for email, spelled := range spellings {
			accounts, err := users.CountDocuments(t.Context(), bson.D{})
			testkit.NoError(t, err)
			sessions := s.LiveSessions(conn)

			responses := atOnce(servers, concurrentClients, func(c *apitest.Client, i int) apitest.Response {
				a := c.Do("POST", "/auth/register", map[string]any{
					"name":     fmt.Sprintf("Ann %d", i),
					"email":    fmt.Sprintf(spelled[i%len(spelled)], round),
					"password": racePassword(i),
				})
				if (c.Token != "") != (a.Status == 201) {
					t.Errorf("got %d with session cookie %q, want a cookie only with 201", a.Status, c.Token)
				}

				return a
			})
			if !conclusive(responses) {
				return
			}

			winner := wantOneWinner(t, responses, "201", "409 email_taken")
			ann := s.Account(fmt.Sprintf(email, round))
			isWinners := ann.ID == responses[winner].Text("user", "id") && s.HasPassword(ann.ID, racePassword(winner))
			if !isWinners || ann.Name != fmt.Sprintf("Ann %d", winner) {
				t.Fatalf("got account %+v, want that of the response %s", ann, responses[winner].Raw)
			}

			after, err := users.CountDocuments(t.Context(), bson.D{})
			testkit.NoError(t, err)
			if started := s.LiveSessions(conn) - sessions; after-accounts != 1 || started != 1 {
				t.Fatalf("got %d new accounts and %d new sessions, want one of each", after-accounts, started)
			}
		}
	})
}

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
		responses := atOnce(servers, len(requests), func(c *apitest.Client, i int) apitest.Response {
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

// overlap is an account on two servers. A test can make requests to direct while a request to
// proxied waits for Redis. Only direct sends emails, so that the proxy sees no other commands.
type overlap struct {
	direct, proxied *apitest.Server
	proxy           *storetest.Proxy
	ann             *apitest.Client
	account         user.User
	reset, change   string // one-time tokens
}

func newOverlap(t *testing.T) overlap {
	t.Helper()

	redis, proxiedRedis, proxy := storetest.ProxiedRedis(t)
	s := apitest.New(t, apitest.Options{Redis: &redis, Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
	ann.Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"}).Want(202)

	return overlap{
		direct:  s,
		proxied: apitest.New(t, apitest.Options{Redis: &proxiedRedis, MongoURI: s.MongoURI}),
		proxy:   proxy,
		ann:     ann,
		account: s.Account("ann@example.com"),
		reset:   s.Outbox.Token(t, "ann@example.com", "reset-password"),
		change:  s.Outbox.Token(t, "new@example.com", "verify-email"),
	}
}

// A session that is rotated just before the password or email address changes does not
// survive the change: the cookie may have been stolen.
func TestRotatedDuringChange(t *testing.T) {
	for path, body := range map[string]func(o overlap) map[string]any{
		"/auth/password/change": func(overlap) map[string]any {
			return map[string]any{"currentPassword": apitest.Password, "newPassword": apitest.NewPassword}
		},
		"/auth/email/verify": func(o overlap) map[string]any { return map[string]any{"token": o.change} },
	} {
		t.Run(path, func(t *testing.T) {
			o := newOverlap(t)
			thief := o.ann.Clone()
			changed := func() bool {
				u, err := o.direct.Users.ByID(context.Background(), o.account.ID)

				return err == nil && (u.Email != o.account.Email || u.PasswordHash != o.account.PasswordHash)
			}

			// The change is stored, and the sessions are about to be revoked a second time.
			var rotated atomic.Bool
			o.proxy.Set(storetest.Faults{Command: func(net.Conn, []byte) bool {
				if !rotated.Load() && changed() {
					rotated.Store(true)
					thief.Do("POST", "/auth/rotate-session", nil).Want(200)
				}

				return false
			}})

			a := o.proxied.WithToken(o.ann.Token).Do("POST", path, body(o))
			if a.Status != 200 && a.Status != 401 || !changed() || !rotated.Load() {
				t.Fatalf("got status %d, changed %v, rotated %v; want 200 or 401, true, true", a.Status, changed(), rotated.Load())
			}

			thief.Do("GET", "/auth/session", nil).Want(401)
			if n := o.direct.LiveSessions(o.direct.Redis.Conn(t)); n != 0 {
				t.Errorf("live sessions: got %d, want 0", n)
			}
		})
	}
}

// A login with the old password during a password change leaves no session behind.
func TestLoginDuringChange(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(o overlap, ann *apitest.Client) apitest.Response
		keep   int // sessions that may survive
	}{
		"reset": {func(o overlap, ann *apitest.Client) apitest.Response {
			return ann.Do("POST", "/auth/password/reset", map[string]any{"token": o.reset, "password": apitest.NewPassword})
		}, 0},
		"change": {func(_ overlap, ann *apitest.Client) apitest.Response {
			body := map[string]any{"currentPassword": apitest.Password, "newPassword": apitest.NewPassword}

			return ann.Do("POST", "/auth/password/change", body)
		}, 1},
	} {
		check := func(t *testing.T, o overlap, overlapped bool, token string) {
			t.Helper()

			if !overlapped || !o.direct.HasPassword(o.account.ID, apitest.NewPassword) {
				t.Fatal("the login and the change did not overlap")
			}

			o.direct.WithToken(token).Do("GET", "/auth/session", nil).Want(401)
			live, err := o.direct.Sessions.List(t.Context(), o.account.ID)
			testkit.NoError(t, err)
			if len(live) > tc.keep {
				t.Errorf("live sessions: got %d, want at most %d", len(live), tc.keep)
			}
		}

		t.Run("login started before the "+name, func(t *testing.T) {
			o := newOverlap(t)
			o.direct.LoginFrom("other")

			// The login has read the account and is about to read its generation.
			var once sync.Once
			var overlapped atomic.Bool
			o.proxy.Set(storetest.Faults{Command: func(net.Conn, []byte) bool {
				once.Do(func() { overlapped.Store(tc.change(o, o.ann.Clone()).Status == 200) })

				return false
			}})

			login := o.proxied.NewClient()
			login.Do("POST", "/auth/login", apitest.AnnsLogin).WantCode(401, "invalid_credentials")
			check(t, o, overlapped.Load(), login.Token)
		})

		t.Run("login finished before the "+name, func(t *testing.T) {
			o := newOverlap(t)
			other := session.IDOf(o.direct.LoginFrom("other").Token)
			login := o.direct.NewClient()

			// The change has revoked the sessions and is about to be stored.
			var overlapped atomic.Bool
			o.proxy.Set(storetest.Faults{Reply: func(net.Conn, []byte) bool {
				_, err := o.direct.Sessions.ByID(context.Background(), other)
				if errors.Is(err, session.ErrNotFound) && !overlapped.Swap(true) {
					login.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
				}

				return false
			}})

			tc.change(o, o.proxied.WithToken(o.ann.Token)).Want(200)
			check(t, o, overlapped.Load(), login.Token)
		})
	}
}
