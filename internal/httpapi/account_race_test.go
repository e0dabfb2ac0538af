package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
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

// When many clients use a one-time token at once, exactly one request succeeds, and only
// that request has an effect.
func TestRaceOneTimeTokens(t *testing.T) {
	suite.Require(t, suite.Race)

	for name, run := range map[string]func(t *testing.T, servers []*apitest.Server, round int, conclusive func([]apitest.Response) bool){
		"reset":  raceReset,
		"verify": raceVerify,
		"change": raceChangeEmail,
	} {
		t.Run(name, func(t *testing.T) {
			servers := twoServers(t, apitest.Options{Mail: &apitest.Outbox{}})
			eachRound(t, func(round int, conclusive func([]apitest.Response) bool) { run(t, servers, round, conclusive) })
		})
	}
}

func raceReset(t *testing.T, servers []*apitest.Server, round int, conclusive func([]apitest.Response) bool) {
	const email = "ann@example.com"
	s := servers[0]
	if round == 0 {
		s.Register(email)
	}

	s.ResetLimits()
	s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": email}).Want(202)
	token := s.Outbox.Token(t, email, "reset-password")
	s.TakeMails()
	ann := s.Account(email)
	holder := s.SignInAs(ann.ID)

	password := func(i int) string { return fmt.Sprintf("password %d of round %d", i, round) }
	responses := atOnce(servers, concurrentClients, func(c *apitest.Client, i int) apitest.Response {
		return c.Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": password(i)})
	})

	if !conclusive(responses) {
		return
	}

	winner := wantOneWinner(t, responses, "200", "400 invalid_token")
	losers := []int{(winner + 1) % concurrentClients, (winner + concurrentClients/2) % concurrentClients}
	for _, i := range append(losers, winner) {
		want := i == winner
		if got := s.HasPassword(ann.ID, password(i)); got != want {
			t.Fatalf("round %d: request %d succeeded: password of request %d works: got %v, want %v", round, winner, i, got, want)
		}
	}

	holder.Do("GET", "/auth/session", nil).Want(401)
	if n := countMails(s.TakeMails(), email, "Your Latchkey password was changed"); n != 1 {
		t.Fatalf("round %d: emails to the owner: got %d, want 1", round, n)
	}
}

func raceVerify(t *testing.T, servers []*apitest.Server, round int, conclusive func([]apitest.Response) bool) {
	s := servers[0]
	email := fmt.Sprintf("ann%d@example.com", round)
	s.Register(email)
	defer s.DeleteAccount(s.Account(email).ID)
	token := s.Outbox.Token(t, email, "verify-email")
	responses := atOnce(servers, concurrentClients, func(c *apitest.Client, _ int) apitest.Response {
		return c.Do("POST", "/auth/email/verify", map[string]any{"token": token})
	})

	if !conclusive(responses) {
		return
	}

	wantOneWinner(t, responses, "200", "400 invalid_token")
	if !s.Account(email).EmailVerified {
		t.Fatalf("round %d: email verified: got false, want true", round)
	}
}

func raceChangeEmail(t *testing.T, servers []*apitest.Server, round int, conclusive func([]apitest.Response) bool) {
	s := servers[0]
	old := fmt.Sprintf("ann%d@example.com", round)
	next := fmt.Sprintf("new%d@example.com", round)
	s.Register(old).Do("POST", "/auth/logout", nil).Want(200)
	ann := s.Account(old)
	defer s.DeleteAccount(ann.ID)
	holder := s.SignInAs(ann.ID)
	holder.Do("POST", "/auth/email/change", map[string]any{"email": next}).Want(202)
	token := s.Outbox.Token(t, next, "verify-email")
	s.TakeMails()
	responses := atOnce(servers, concurrentClients, func(c *apitest.Client, _ int) apitest.Response {
		return c.Do("POST", "/auth/email/verify", map[string]any{"token": token})
	})

	if !conclusive(responses) {
		return
	}

	wantOneWinner(t, responses, "200", "400 invalid_token")
	if u := s.Account(next); u.ID != ann.ID || !u.EmailVerified {
		t.Fatalf("round %d: got account %+v, want ID %s and a verified email", round, u, ann.ID)
	}

	if _, err := s.Users.ByEmail(context.Background(), user.Email(old)); err == nil {
		t.Fatalf("round %d: the old email address still has an account", round)
	}

	holder.Do("GET", "/auth/session", nil).Want(401)
	sent := s.TakeMails()
	for _, to := range []string{old, next} {
		if n := countMails(sent, to, "Your Latchkey email address was changed"); n != 1 {
			t.Fatalf("round %d: emails to %s: got %d, want 1", round, to, n)
		}
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

	unicode := []string{
		"Ann%d@Bücher.Example",
		" ann%d@b\u00dcCHER.example",
		"aNN%d@bu\u0308cher.example ",
		"ANN%d@BU\u0308CHER.EXAMPLE",
		"ann%d@xn--bcher-kva.example",
		" Ann%d@XN--BCHER-KVA.example",
	}
	ascii := []string{"Ann%d@Example.com", " ann%d@example.COM", "aNN%d@eXAMPLE.com"}
	password := func(i int) string { return fmt.Sprintf("password number %d", i) }

	eachRound(t, func(round int, conclusive func([]apitest.Response) bool) {
		accountsBefore, err := users.CountDocuments(context.Background(), bson.D{})
		testkit.NoError(t, err)
		sessionsBefore := s.LiveSessions(conn)

		spellings := unicode
		email := fmt.Sprintf("ann%d@bücher.example", round)
		if round%2 == 1 {
			spellings = ascii
			email = fmt.Sprintf("ann%d@example.com", round)
		}

		responses := atOnce(servers, concurrentClients, func(c *apitest.Client, i int) apitest.Response {
			a := c.Do("POST", "/auth/register", map[string]any{
				"name":     fmt.Sprintf("Ann %d", i),
				"email":    fmt.Sprintf(spellings[i%len(spellings)], round),
				"password": password(i),
			})
			if (c.Token != "") != (a.Status == 201) {
				t.Errorf("round %d: got %d with session cookie %q, want a cookie only with 201", round, a.Status, c.Token)
			}

			return a
		})

		if !conclusive(responses) {
			return
		}

		winner := wantOneWinner(t, responses, "201", "409 email_taken")
		ann := s.Account(email)
		isWinners := ann.ID == responses[winner].Text("user", "id") &&
			ann.Name == fmt.Sprintf("Ann %d", winner) &&
			s.HasPassword(ann.ID, password(winner))
		if !isWinners {
			t.Fatalf("round %d: got account %+v, want that of the response %s", round, ann, responses[winner].Raw)
		}

		accounts, err := users.CountDocuments(context.Background(), bson.D{})
		testkit.NoError(t, err)
		if created := accounts - accountsBefore; created != 1 {
			t.Fatalf("round %d: new accounts: got %d, want 1", round, created)
		}
		if started := s.LiveSessions(conn) - sessionsBefore; started != 1 {
			t.Fatalf("round %d: new sessions: got %d, want 1", round, started)
		}
	})
}

// raceAccount is an account with two sessions, a reset link and a link to change the email
// address, for one round of TestRaceResetAndChange.
type raceAccount struct {
	id, old, next string
	first, second *apitest.Client
	reset, change string // one-time tokens
	leftover      int    // live sessions from inconclusive rounds
}

// loginAs signs in with the original password, with name as the User-Agent.
func loginAs(c *apitest.Client, name, email string) apitest.Response {
	c.T.Helper()

	header := http.Header{"Content-Type": {"application/json"}, "User-Agent": {name}}

	return c.Send("POST", "/auth/login", header, apitest.Encode(apitest.Credentials(email, apitest.Password)))
}

func newRaceAccount(t *testing.T, s *apitest.Server, round int) raceAccount {
	t.Helper()

	st := raceAccount{
		old:      fmt.Sprintf("ann%d@example.com", round),
		next:     fmt.Sprintf("new%d@example.com", round),
		first:    s.NewClient(),
		second:   s.NewClient(),
		leftover: s.LiveSessions(s.Redis.Conn(t)),
	}
	s.Register(st.old).Do("POST", "/auth/logout", nil).Want(200)
	loginAs(st.first, "first", st.old).Want(200)
	loginAs(st.second, "second", st.old).Want(200)
	st.first.Do("POST", "/auth/email/change", map[string]any{"email": st.next}).Want(202)
	st.change = s.Outbox.Token(t, st.next, "verify-email")
	s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": st.old}).Want(202)
	st.reset = s.Outbox.Token(t, st.old, "reset-password")
	st.id = s.Account(st.old).ID

	return st
}

// concurrentRequest is one request of the race.
type concurrentRequest struct {
	by       *apitest.Client // supplies the session cookie; nil sends none
	path     string
	body     map[string]any
	password string // the password that the request sets, if any
}

// concurrentRequests returns the requests of a round. Most rounds leave out a kind of
// request, because the same kind would win every time.
func (st raceAccount) concurrentRequests(round int) []concurrentRequest {
	parts := []string{"reset change verify", "change verify", "verify", "reset verify", "reset change"}[round%5]
	var all []concurrentRequest
	if strings.Contains(parts, "reset") {
		for i, by := range []*apitest.Client{nil, nil, st.second} {
			password := fmt.Sprintf("password of reset %d", i)
			all = append(all, concurrentRequest{
				by:       by,
				path:     "/auth/password/reset",
				body:     map[string]any{"token": st.reset, "password": password},
				password: password,
			})
		}
	}

	if strings.Contains(parts, "change") {
		for i, by := range []*apitest.Client{st.first, st.first, st.second} {
			password := fmt.Sprintf("password of change %d", i)
			all = append(all, concurrentRequest{
				by:       by,
				path:     "/auth/password/change",
				body:     map[string]any{"currentPassword": apitest.Password, "newPassword": password},
				password: password,
			})
		}
	}

	if strings.Contains(parts, "verify") {
		for _, by := range []*apitest.Client{st.first, nil} {
			all = append(all, concurrentRequest{by: by, path: "/auth/email/verify", body: map[string]any{"token": st.change}})
		}
	}

	all = append(all, concurrentRequest{by: st.first, path: "/auth/rotate-session"})
	for _, email := range []string{st.old, st.old, st.next, st.next} {
		all = append(all, concurrentRequest{path: "/auth/login", body: map[string]any{"email": email, "password": apitest.Password}})
	}

	return all
}

// Concurrent resets, password changes, email changes and logins leave an account with one
// password, one email address, and no session that the winning change should have ended.
func TestRaceResetAndChange(t *testing.T) {
	suite.Require(t, suite.Race)

	servers := twoServers(t, apitest.Options{Mail: &apitest.Outbox{}})
	s := servers[0]
	wins := map[string]int{}
	eachRound(t, func(round int, conclusive func([]apitest.Response) bool) {
		st := newRaceAccount(t, s, round)
		defer s.DeleteAccount(st.id)
		requests := st.concurrentRequests(round)
		clients := make([]*apitest.Client, len(requests))

		// The order changes from round to round, because the first request has an advantage.
		responses := atOnce(servers, len(requests), func(c *apitest.Client, i int) apitest.Response {
			i = (i + round) % len(requests)
			clients[i] = c
			r := requests[i]
			if r.by != nil {
				c.Token = r.by.Token
			}

			if r.path == "/auth/login" {
				return loginAs(c, "login", r.body["email"].(string))
			}
			if r.body == nil {
				return c.Do("POST", r.path, nil)
			}

			return c.Do("POST", r.path, r.body)
		})
		if !conclusive(responses) {
			return
		}

		byRequest := make([]apitest.Response, len(requests))
		for i, a := range responses {
			byRequest[(i+round)%len(requests)] = a
		}

		o := st.outcome(t, s, requests, byRequest)
		wins[o.winners]++
		o.check(t, servers, round, clients)
		if t.Failed() {
			t.Fatalf("round %d: winners %q, responses %v", round, o.winners, tally(responses))
		}

		s.TakeMails()
	})

	t.Logf("%d rounds, winners: %v", *rounds, wins)
}

// outcome is the state of the account after a round.
type outcome struct {
	raceAccount
	winners  string   // the paths of the requests that changed the account
	email    string   // the account's current email address
	sessions []string // the User-Agents whose sessions may be alive
}

// lostRace reports whether a response means that the change may have been made and the
// session that requested it has ended.
func lostRace(a apitest.Response, reason session.Reason) bool {
	return a.Status == 401 && a.JSON["reason"] == string(reason)
}

// outcome compares the account with the responses. The account must have the password of
// the request that succeeded and one of the two email addresses. A reset and an email
// change void each other's link.
func (st raceAccount) outcome(t *testing.T, s *apitest.Server, requests []concurrentRequest, responses []apitest.Response) outcome {
	t.Helper()

	allowed := map[string][]string{
		"/auth/password/reset":  {"200", "400 invalid_token"},
		"/auth/password/change": {"200", "401 wrong_password", "401 not_authenticated"},
		"/auth/email/verify":    {"200", "400 invalid_token", "401 not_authenticated"},
		"/auth/rotate-session":  {"200", "401 not_authenticated"},
		"/auth/login":           {"200", "401 invalid_credentials"},
	}

	u, err := s.Users.ByID(context.Background(), st.id)
	testkit.NoError(t, err)
	o := outcome{raceAccount: st, email: string(u.Email)}
	emailChanged := o.email == st.next
	passwords := 0 // that work
	if s.HasPassword(st.id, apitest.Password) {
		passwords++
		o.sessions = []string{"login"} // logins with the old password remain valid
	}

	emailReported := false // a response allows for the email change
	firstStays := false    // the first session changed the email address and stays alive
	for i, a := range responses {
		r := requests[i]
		for result := range tally([]apitest.Response{a}) {
			if !slices.Contains(allowed[r.path], result) {
				t.Errorf("%s: got %s, want one of %q: %s", r.path, result, allowed[r.path], a.Raw)
			}
		}

		if r.path == "/auth/email/verify" {
			emailReported = emailReported || a.Status == 200 || lostRace(a, session.EmailChanged)
			firstStays = firstStays || a.Status == 200 && r.by != nil
			if a.Status == 200 && !emailChanged {
				t.Errorf("email: got %s, want %s after %s", o.email, st.next, a.Raw)
			}
		}

		if r.password == "" {
			continue
		}
		works := s.HasPassword(st.id, r.password)
		succeeded := a.Status == 200
		if succeeded && !works || works && !succeeded && !lostRace(a, session.PasswordChanged) {
			t.Errorf("%s: got %d, but %q works: %v", r.path, a.Status, r.password, works)
		}
		if works {
			passwords++
			o.winners = r.path
			if r.path == "/auth/password/change" && succeeded {
				o.sessions = []string{map[*apitest.Client]string{st.first: "first", st.second: "second"}[r.by]}
			}
		}
	}

	if passwords != 1 {
		t.Errorf("working passwords: got %d, want 1", passwords)
	}
	if emailChanged && !emailReported {
		t.Error("the email address changed, but no response reports it")
	}
	if emailChanged && o.winners == "/auth/password/reset" {
		t.Error("both the reset and the email change succeeded, want one")
	}
	if !emailChanged && o.winners == "" {
		t.Error("no request changed the account, want one")
	}

	if emailChanged && o.winners == "" && firstStays {
		o.sessions = append(o.sessions, "first")
	}
	if emailChanged {
		o.winners += " /auth/email/verify"
	}

	return o
}

// check fails the test for each session that should have ended.
func (o outcome) check(t *testing.T, servers []*apitest.Server, round int, clients []*apitest.Client) {
	t.Helper()

	s := servers[0]
	live, err := s.Sessions.List(context.Background(), o.id)
	testkit.NoError(t, err)

	for _, l := range live {
		if !slices.Contains(o.sessions, l.Device) {
			t.Errorf("live session: got one of %q, want only %q", l.Device, o.sessions)
		}

		if l.Email != o.email {
			t.Errorf("email in the session of %q: got %s, want %s", l.Device, l.Email, o.email)
		}
	}

	// Only the cookies of the listed sessions work.
	tokens := map[string]bool{o.first.Token: true, o.second.Token: true}
	for _, c := range clients {
		tokens[c.Token] = true
	}

	delete(tokens, "")

	working := 0
	for token := range tokens {
		if servers[round%2].WithToken(token).Do("GET", "/auth/session", nil).Status == 200 {
			working++
		}
	}
	if working != len(live) {
		t.Errorf("working cookies: got %d, want %d as listed", working, len(live))
	}

	if _, err := s.Sessions.RevokeAll(context.Background(), o.id, "", session.Revoked); err != nil {
		t.Fatal(err)
	}

	if got := s.LiveSessions(s.Redis.Conn(t)); got != o.leftover {
		t.Errorf("live sessions after revoking the listed ones: got %d, want %d", got, o.leftover)
	}
}

// A session that is rotated just before the password or email address changes does not
// survive the change: the cookie may have been stolen.
func TestRotatedDuringChange(t *testing.T) {
	for name, change := range map[string]struct {
		path string
		body func(token string) map[string]any
		done func(s *apitest.Server, id string) bool
	}{
		"password": {
			"/auth/password/change",
			func(string) map[string]any {
				return map[string]any{"currentPassword": apitest.Password, "newPassword": apitest.NewPassword}
			},
			func(s *apitest.Server, id string) bool { return s.HasPassword(id, apitest.NewPassword) },
		},
		"email": {
			"/auth/email/verify",
			func(token string) map[string]any { return map[string]any{"token": token} },
			func(s *apitest.Server, id string) bool {
				u, err := s.Users.ByID(context.Background(), id)

				return err == nil && u.Email == "new@example.com"
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			direct, proxied, proxy := storetest.ProxiedRedis(t)
			box := &apitest.Outbox{}
			s := apitest.New(t, apitest.Options{Redis: &direct, Mail: box})
			behind := apitest.New(t, apitest.Options{Redis: &proxied, MongoURI: s.MongoURI, Mail: box})
			ann := s.Register("ann@example.com")
			ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
			token := box.Token(t, "new@example.com", "verify-email")
			id := s.Account("ann@example.com").ID

			thief := ann.Clone()
			var rotated atomic.Bool
			proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
				// The change is stored, and the sessions are about to be revoked a second time.
				if containsAll(chunk, "generation:", id) && change.done(s, id) && rotated.CompareAndSwap(false, true) {
					thief.Do("POST", "/auth/rotate-session", nil).Want(200)
				}

				return false
			}})
			victim := behind.WithToken(ann.Token)
			a := victim.Do("POST", change.path, change.body(token))
			if a.Status != 200 && a.Status != 401 || !change.done(s, id) || !rotated.Load() {
				t.Fatalf("got status %d, changed %v, rotated %v; want 200 or 401, true, true", a.Status, change.done(s, id), rotated.Load())
			}

			if a := thief.Do("GET", "/auth/session", nil); a.Status != 401 {
				t.Errorf("rotated session: got %d, want 401: %s", a.Status, a.Raw)
			}
			if n := s.LiveSessions(s.Redis.Conn(t)); n != 0 {
				t.Errorf("live sessions: got %d, want 0", n)
			}
		})
	}
}

// A login with the old password during a password change leaves no session behind. The test
// runs alone, because the overlapping request must finish within the time limit of one
// Redis command.
func TestLoginDuringChange(t *testing.T) {
	const email = "ann@example.com"
	setNew := map[string]func(ann *apitest.Client, token string){
		"reset": func(ann *apitest.Client, token string) {
			ann.Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": apitest.NewPassword}).Want(200)
		},
		"change": func(ann *apitest.Client, _ string) {
			ann.Do("POST", "/auth/password/change", map[string]any{"currentPassword": apitest.Password, "newPassword": apitest.NewPassword}).Want(200)
		},
	}

	for name, set := range setNew {
		for _, moment := range []string{"login started before the change", "login finished before the change"} {
			t.Run(name+" "+moment, func(t *testing.T) {
				direct, proxied, proxy := storetest.ProxiedRedis(t)
				box := &apitest.Outbox{}
				s := apitest.New(t, apitest.Options{Redis: &direct, Mail: box})
				behind := apitest.New(t, apitest.Options{Redis: &proxied, MongoURI: s.MongoURI, Mail: box})
				ann := s.Register(email)
				loginAs(s.NewClient(), "other", email).Want(200) // a session that the change must end
				s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": email}).Want(202)
				token := box.Token(t, email, "reset-password")
				id := s.Account(email).ID

				var overlapped atomic.Bool
				login := s.NewClient()
				if moment == "login started before the change" {
					// The login has read the account and is about to read its generation.
					login = behind.NewClient()
					proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
						if containsAll(chunk, "MGET", "generation:", id) && overlapped.CompareAndSwap(false, true) {
							set(ann.Clone(), token)
						}

						return false
					}})
					login.Do("POST", "/auth/login", apitest.Credentials(email, apitest.Password)).WantCode(401, "invalid_credentials")
				} else {
					// The change has revoked the sessions and is about to be stored.
					var revoked atomic.Bool
					proxy.Set(storetest.Faults{
						Command: func(_ net.Conn, chunk []byte) bool {
							if containsAll(chunk, "EVAL", "generation:", id) {
								revoked.Store(true)
							}

							return false
						},
						Reply: func(_ net.Conn, chunk []byte) bool {
							if revoked.Load() && bytes.HasPrefix(chunk, []byte(":")) && overlapped.CompareAndSwap(false, true) {
								login.Do("POST", "/auth/login", apitest.Credentials(email, apitest.Password)).Want(200)
							}

							return false
						},
					})

					set(behind.WithToken(ann.Token), token)
				}

				if !overlapped.Load() || !s.HasPassword(id, apitest.NewPassword) {
					t.Fatal("the login and the change did not overlap")
				}

				if login.Token != "" {
					login.Clone().Do("GET", "/auth/session", nil).Want(401)
				}

				live, err := s.Sessions.List(context.Background(), id)
				testkit.NoError(t, err)
				if limit := map[string]int{"reset": 0, "change": 1}[name]; len(live) > limit {
					t.Errorf("live sessions: got %d, want at most %d", len(live), limit)
				}
			})
		}
	}
}
