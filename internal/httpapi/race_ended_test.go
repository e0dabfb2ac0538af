package httpapi_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// ending is an operation that ends sessions while their clients send requests.
type ending struct {
	setup apitest.Options
	// end ends the session of victim. other is another session of the same account.
	end func(s *apitest.Server, victim, other *apitest.Client) bool
	// concurrent lists requests with the victim's cookie, in addition to reads.
	concurrent []request
	// logins is the number of concurrent logins with the original password. They need a new
	// account in each round.
	logins int
	// survivors is the number of sessions of the account that must survive.
	survivors int
	// twoServers sends the reads to another server on the same stores.
	twoServers bool
	// moving makes that server re-key the sessions with another secret.
	moving bool
}

var (
	rotation = request{method: "POST", path: "/auth/rotate-session"}
	stepUp   = request{"POST", "/auth/step-up", map[string]any{"password": apitest.Password}}
	rename   = request{"PUT", "/profile", map[string]any{"name": "Ann B."}}
)

func logoutByVictim(_ *apitest.Server, victim, _ *apitest.Client) bool {
	return victim.Do("POST", "/auth/logout", nil).Status == 200
}

func revokeAllByOther(_ *apitest.Server, _, other *apitest.Client) bool {
	return other.Do("DELETE", "/auth/sessions?scope=all", nil).Status == 200
}

var endings = map[string]ending{
	"logout":                       {end: logoutByVictim, survivors: 1},
	"logout during step-ups":       {end: logoutByVictim, survivors: 1, concurrent: []request{stepUp, stepUp}},
	"logout during writes":         {end: logoutByVictim, survivors: 1, concurrent: []request{rename, rename, rotation}},
	"logout on one of two servers": {end: logoutByVictim, survivors: 1, concurrent: []request{rotation}, twoServers: true},
	"logout while another server changes the secret": {end: logoutByVictim, survivors: 1, twoServers: true, moving: true},

	"revoke all":                  {end: revokeAllByOther},
	"revoke all during rotations": {end: revokeAllByOther, concurrent: []request{rotation, rotation}},
	"revoke all while another server changes the secret": {end: revokeAllByOther, twoServers: true, moving: true},
	"revoke others": {
		end: func(_ *apitest.Server, _, other *apitest.Client) bool {
			return other.Do("DELETE", "/auth/sessions", nil).Status == 200
		},
		survivors: 1,
	},
	"revoke one": {
		end: func(_ *apitest.Server, victim, other *apitest.Client) bool {
			return other.Do("DELETE", "/auth/sessions/"+session.IDOf(victim.Token), nil).Status == 204
		},
		survivors: 1,
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
			_, err := s.Redis.Conn(s.T).Do("DEL", s.RecordKey(session.IDOf(victim.Token)))

			return err == nil
		},
		survivors: 1,
	},

	"password changed by its owner": {
		end: func(_ *apitest.Server, _, other *apitest.Client) bool {
			return other.Do("POST", "/auth/password/change", apitest.PasswordChange).Status == 200
		},
		concurrent: []request{rotation, stepUp},
		logins:     4,
		survivors:  1,
	},
	"password changed by the operator": {
		end: func(s *apitest.Server, _, _ *apitest.Client) bool {
			return s.AsOperator(func(caller auth.Caller) (auth.Changed, error) {
				return s.Auth.SetPassword(context.Background(), caller, apitest.NewPassword)
			})
		},
		logins: 4,
	},
	"password reset": {
		setup: apitest.Options{Mail: &apitest.Outbox{}},
		end: func(s *apitest.Server, _, _ *apitest.Client) bool {
			s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"})
			in := map[string]any{"token": s.Outbox.Token(s.T, "ann@example.com", "reset-password"), "password": apitest.NewPassword}

			return s.NewClient().Do("POST", "/auth/password/reset", in).Status == 200
		},
		concurrent: []request{rotation, stepUp},
		logins:     4,
	},
	"email changed": {
		setup: apitest.Options{Mail: &apitest.Outbox{}},
		end: func(s *apitest.Server, _, other *apitest.Client) bool {
			other.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"})
			token := s.Outbox.Token(s.T, "new@example.com", "verify-email")

			return other.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Status == 200
		},
		concurrent: []request{rotation},
		logins:     4,
		survivors:  1,
	},
	"deleted by its owner": {
		end: func(_ *apitest.Server, _, other *apitest.Client) bool {
			return other.Do("DELETE", "/profile", nil).Status == 204
		},
		concurrent: []request{rotation},
		logins:     4,
	},
	"deleted by the operator": {
		end: func(s *apitest.Server, _, _ *apitest.Client) bool {
			return s.AsOperator(func(caller auth.Caller) (auth.Changed, error) {
				changed, err := s.Auth.Disable(context.Background(), caller, session.AccountDeleted)

				return changed, errors.Join(err, s.Users.Delete(context.Background(), caller.UserID))
			})
		},
		logins: 4,
	},
	"disabled": {
		end: func(s *apitest.Server, _, _ *apitest.Client) bool {
			return s.AsOperator(func(caller auth.Caller) (auth.Changed, error) {
				return s.Auth.Disable(context.Background(), caller, session.AccountDisabled)
			})
		},
		logins: 4,
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
			const next = "the next secret of the tests, 32 b"
			e.setup.TouchInterval = time.Nanosecond
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
				if round == 0 || e.logins > 0 {
					_, err := s.Database().Collection("users").DeleteMany(t.Context(), map[string]any{})
					testkit.NoError(t, err)
					s.Register("ann@example.com").Do("POST", "/auth/logout", nil).Want(200)
				}

				e.race(t, round, s, reader)
				if live := s.LiveSessions(conn); live != e.survivors {
					t.Fatalf("round %d: sessions: got %d, want %d", round, live, e.survivors)
				}

				_, err := conn.Do("FLUSHDB")
				testkit.NoError(t, err)
			}
		})
	}
}

// race ends the session of a client that sends requests at the same time, and fails the test
// if a cookie still works.
func (e ending) race(t *testing.T, round int, s, reader *apitest.Server) {
	t.Helper()

	other := s.LoginFrom("other")
	victim := s.LoginFrom("victim")
	reads := slices.Repeat([]request{{method: "GET", path: "/auth/session"}}, 16-e.logins-len(e.concurrent))
	requests := slices.Concat(e.concurrent, reads)
	logins := make([]*apitest.Client, e.logins)
	for i := range logins {
		logins[i] = s.NewClient()
	}

	var ended bool
	var group sync.WaitGroup
	group.Go(func() { ended = e.end(s, victim.Clone(), other.Clone()) })
	group.Go(func() {
		for _, c := range logins {
			c.Do("POST", "/auth/login", apitest.AnnsLogin)
		}
	})

	tokens := []string{victim.Token}
	for _, a := range race(t, reader.WithToken(victim.Token), requests) {
		if a.Cookie != nil {
			tokens = append(tokens, a.Cookie.Value)
		}
	}

	group.Wait()
	if !ended {
		t.Fatalf("round %d: the request that ends the session failed", round)
	}

	for _, c := range logins {
		tokens = append(tokens, c.Token)
	}

	for _, token := range tokens {
		for _, server := range []*apitest.Server{s, reader} {
			server.WithToken(token).Do("GET", "/auth/session", nil).Want(401)
		}
	}
}
