package httpapi_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/testkit/suite"
)

// ending is an operation that ends sessions while their clients send requests.
type ending struct {
	setup apitest.Options
	// end ends the session of victim. other is another session of the same account.
	end func(s *apitest.Server, victim, other *apitest.Client) bool
	// meanwhile are requests with the victim's cookie, in addition to reads.
	meanwhile []request
	// logins is the number of concurrent logins with the original password.
	logins int
	// survivors is the number of sessions of the account that must survive.
	survivors int
	// twoServers sends the reads to another server on the same stores.
	twoServers bool
	// moving makes that server re-key the sessions with another secret.
	moving bool
	// accountGone is set if each round needs a new account.
	accountGone bool
}

var endings = map[string]ending{
	"logout": {
		end: func(_ *apitest.Server, victim, _ *apitest.Client) bool {
			return victim.Do("POST", "/auth/logout", nil).Status == 200
		},
		survivors: 1,
	},
	"revoke one": {
		end: func(_ *apitest.Server, victim, other *apitest.Client) bool {
			id := victim.Clone().Do("GET", "/auth/session", nil).Text("sessionId")
			return id == "" || other.Do("DELETE", "/auth/sessions/"+id, nil).Status == 204
		},
		survivors: 1,
	},
	"revoke others": {
		end: func(_ *apitest.Server, _, other *apitest.Client) bool {
			return other.Do("DELETE", "/auth/sessions", nil).Status == 200
		},
		survivors: 1,
	},
	"revoke all": {
		end: func(_ *apitest.Server, _, other *apitest.Client) bool {
			return other.Do("DELETE", "/auth/sessions?scope=all", nil).Status == 200
		},
	},
	"password changed by the operator": {
		end: func(s *apitest.Server, _, _ *apitest.Client) bool {
			return s.AsOperator(func(caller auth.Caller) (auth.Changed, error) {
				return s.Auth.SetPassword(context.Background(), caller, "another password")
			})
		},
		logins: 4, accountGone: true,
	},
	"password changed by its owner": {
		end: func(_ *apitest.Server, _, other *apitest.Client) bool {
			return other.Do("POST", "/auth/password/change", map[string]any{"currentPassword": apitest.Password, "newPassword": apitest.NewPassword}).Status == 200
		},
		meanwhile: []request{{method: "POST", path: "/auth/rotate-session"}, {"POST", "/auth/step-up", map[string]any{"password": apitest.Password}}},
		logins:    4, accountGone: true, survivors: 1,
	},
	"password reset": {
		setup: apitest.Options{Mail: &apitest.Outbox{}},
		end: func(s *apitest.Server, _, _ *apitest.Client) bool {
			s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"})
			token := s.Outbox.Token(s.T, "ann@example.com", "reset-password")
			return s.NewClient().Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": apitest.NewPassword}).Status == 200
		},
		meanwhile: []request{{method: "POST", path: "/auth/rotate-session"}, {"POST", "/auth/step-up", map[string]any{"password": apitest.Password}}},
		logins:    4, accountGone: true,
	},
	"email changed": {
		setup: apitest.Options{Mail: &apitest.Outbox{}},
		end: func(s *apitest.Server, _, other *apitest.Client) bool {
			other.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"})
			token := s.Outbox.Token(s.T, "new@example.com", "verify-email")
			return other.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Status == 200
		},
		meanwhile: []request{{method: "POST", path: "/auth/rotate-session"}},
		logins:    4, accountGone: true, survivors: 1,
	},
	"deleted by its owner": {
		end: func(_ *apitest.Server, _, other *apitest.Client) bool {
			return other.Do("DELETE", "/profile", nil).Status == 204
		},
		meanwhile: []request{{method: "POST", path: "/auth/rotate-session"}},
		logins:    4, accountGone: true,
	},
	"logout during step-ups": {
		end: func(_ *apitest.Server, victim, _ *apitest.Client) bool {
			return victim.Do("POST", "/auth/logout", nil).Status == 200
		},
		meanwhile: []request{{"POST", "/auth/step-up", map[string]any{"password": apitest.Password}}, {"POST", "/auth/step-up", map[string]any{"password": apitest.Password}}},
		survivors: 1,
	},
	"disabled": {
		end: func(s *apitest.Server, _, _ *apitest.Client) bool {
			return s.AsOperator(func(caller auth.Caller) (auth.Changed, error) {
				return s.Auth.Disable(context.Background(), caller, session.AccountDisabled)
			})
		},
		logins: 4, accountGone: true,
	},
	"deleted": {
		end: func(s *apitest.Server, _, _ *apitest.Client) bool {
			return s.AsOperator(func(caller auth.Caller) (auth.Changed, error) {
				changed, err := s.Auth.Disable(context.Background(), caller, session.AccountDeleted)
				return changed, errors.Join(err, s.Users.Delete(context.Background(), caller.UserID))
			})
		},
		logins: 4, accountGone: true,
	},
	"revoke all during rotations": {
		end: func(_ *apitest.Server, _, other *apitest.Client) bool {
			return other.Do("DELETE", "/auth/sessions?scope=all", nil).Status == 200
		},
		meanwhile: []request{{method: "POST", path: "/auth/rotate-session"}, {method: "POST", path: "/auth/rotate-session"}},
	},
	"too many": {
		setup: apitest.Options{MaxPerUser: 1},
		end: func(s *apitest.Server, _, _ *apitest.Client) bool {
			return s.NewClient().Do("POST", "/auth/login", apitest.AnnsLogin).Status == 200
		},
		survivors: 1,
	},
	"deleted by hand": {
		end: func(s *apitest.Server, victim, _ *apitest.Client) bool {
			id := victim.Clone().Do("GET", "/auth/session", nil).Text("sessionId")
			_, err := s.Redis.Conn(s.T).Do("DEL", s.RecordKey(id))
			return err == nil
		},
		survivors: 1,
	},
	"logout during writes": {
		end: func(_ *apitest.Server, victim, _ *apitest.Client) bool {
			return victim.Do("POST", "/auth/logout", nil).Status == 200
		},
		meanwhile: []request{{"PUT", "/profile", map[string]any{"name": "Ann B."}}, {"PUT", "/profile", map[string]any{"name": "Ann C."}}, {method: "POST", path: "/auth/rotate-session"}},
		survivors: 1,
	},
	"logout on one of two servers": {
		end: func(_ *apitest.Server, victim, _ *apitest.Client) bool {
			return victim.Do("POST", "/auth/logout", nil).Status == 200
		},
		meanwhile:  []request{{method: "POST", path: "/auth/rotate-session"}},
		survivors:  1,
		twoServers: true,
	},
	"logout while another server changes the secret": {
		end: func(_ *apitest.Server, victim, _ *apitest.Client) bool {
			return victim.Do("POST", "/auth/logout", nil).Status == 200
		},
		survivors: 1, twoServers: true, moving: true,
	},
	"revoke all while another server changes the secret": {
		end: func(_ *apitest.Server, _, other *apitest.Client) bool {
			return other.Do("DELETE", "/auth/sessions?scope=all", nil).Status == 200
		},
		twoServers: true, moving: true,
	},
}

// A session that has ended stays ended: no request in progress brings it back, no cookie in
// any response works, and no login slips through.
//
// The cases run one after the other, because together they would only slow each other down.
func TestRaceEnded(t *testing.T) {
	suite.Require(t, suite.Race)

	for name, e := range endings {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			e.setup.TouchInterval = time.Nanosecond
			const next = "the next secret of the tests, 32 b"
			if e.moving {
				e.setup.Secrets = []string{apitest.SessionSecret, next}
			}

			s := apitest.New(t, e.setup)
			reader := s
			if e.twoServers {
				reads := apitest.Options{StoresOf: s, TouchInterval: time.Nanosecond}
				if e.moving {
					reads.Secrets = []string{next, apitest.SessionSecret}
				}

				reader = apitest.New(t, reads)
			}

			conn := s.Redis.Conn(t)
			for round := range *rounds {
				if round == 0 || e.accountGone {
					if _, err := s.Database().Collection("users").DeleteMany(context.Background(), map[string]any{}); err != nil {
						t.Fatal(err)
					}

					s.Register("ann@example.com").Do("POST", "/auth/logout", nil).Want(200)
				}

				victim, other := s.NewClient(), s.NewClient()
				other.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
				victim.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
				requests := e.meanwhile
				for len(requests) < 16-e.logins {
					requests = append(requests[:len(requests):len(requests)], request{method: "GET", path: "/auth/session"})
				}

				var ended atomic.Bool
				done := make(chan struct{})
				logins := make([]*apitest.Client, e.logins)
				for i := range logins {
					logins[i] = s.NewClient()
				}

				go func() {
					defer close(done)
					ended.Store(e.end(s, victim.Clone(), other.Clone()))
				}()
				loggedIn := make(chan struct{})
				go func() {
					defer close(loggedIn)
					for _, c := range logins {
						c.Do("POST", "/auth/login", apitest.AnnsLogin)
					}
				}()
				responses := race(t, reader.WithToken(victim.Token), requests)
				<-done
				<-loggedIn
				if !ended.Load() {
					t.Fatalf("round %d: the request that ends the session failed", round)
				}

				tokens := []string{victim.Token}
				for _, a := range responses {
					if a.Cookie != nil && a.Cookie.Value != "" {
						tokens = append(tokens, a.Cookie.Value)
					}
				}

				for _, c := range logins {
					if c.Token != "" {
						tokens = append(tokens, c.Token)
					}
				}

				for _, token := range tokens {
					for _, server := range []*apitest.Server{s, reader} {
						if a := server.WithToken(token).Do("GET", "/auth/session", nil); a.Status != 401 {
							t.Fatalf("round %d: a revoked session works again: %s", round, a.Raw)
						}
					}
				}

				if live := s.LiveSessions(conn); live != e.survivors {
					t.Fatalf("round %d: sessions: got %d, want %d", round, live, e.survivors)
				}

				if _, err := conn.Do("FLUSHDB"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
