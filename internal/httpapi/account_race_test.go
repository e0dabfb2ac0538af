package httpapi_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/mail"
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

// sendConcurrently makes n clients send one request each at the same time, to alternating servers, and
// returns the responses in the order of the clients.
func sendConcurrently(servers []*apitest.Server, n int, send func(c *apitest.Client, i int) apitest.Response) []apitest.Response {
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

				responses := sendConcurrently(servers, concurrentClients, func(c *apitest.Client, i int) apitest.Response {
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

			responses := sendConcurrently(servers, concurrentClients, func(c *apitest.Client, i int) apitest.Response {
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
			defer s.DeleteAccount(ann.ID)
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
