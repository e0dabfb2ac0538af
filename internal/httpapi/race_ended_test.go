package httpapi

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/session"
)

// ending is one way in which sessions end, in a race with what their holders do.
type ending struct {
	setup setup
	// end ends the session of victim, from other (another session of the same
	// account) where it needs one.
	end func(s *site, victim, other *client) bool
	// meanwhile are requests beside the reads, with the victim's cookie.
	meanwhile []request
	// logins run beside the reads, with the password of before.
	logins int
	// survivors is how many sessions of the account may live on afterwards.
	survivors int
	// twoServers has the reads go to another server on the same stores.
	twoServers bool
	// moving has that server move the sessions to another secret.
	moving bool
	// accountGone says that the account has to be made anew for the next round.
	accountGone bool
}

var endings = map[string]ending{
	"logout": {
		end:       func(_ *site, victim, _ *client) bool { return victim.do("POST", "/auth/logout", nil).status == 200 },
		survivors: 1,
	},
	"revoke one": {
		end: func(_ *site, victim, other *client) bool {
			id := victim.clone().do("GET", "/auth/session", nil).text("sessionId")
			return id == "" || other.do("DELETE", "/auth/sessions/"+id, nil).status == 204
		},
		survivors: 1,
	},
	"revoke others": {
		end:       func(_ *site, _, other *client) bool { return other.do("DELETE", "/auth/sessions", nil).status == 200 },
		survivors: 1,
	},
	"revoke all": {
		end: func(_ *site, _, other *client) bool {
			return other.do("DELETE", "/auth/sessions?scope=all", nil).status == 200
		},
	},
	"password changed by the operator": {
		end: func(s *site, _, _ *client) bool {
			return s.changeAccount(session.PasswordChanged, func(id string) error {
				_, err := s.auth.SetPassword(context.Background(), id, "another password")
				return err
			})
		},
		logins: 4, accountGone: true,
	},
	"password changed by its owner": {
		end: func(_ *site, _, other *client) bool {
			return other.do("POST", "/auth/password/change", map[string]any{"currentPassword": testPassword, "newPassword": newPassword}).status == 200
		},
		meanwhile: []request{{method: "POST", path: "/auth/rotate-session"}, {"POST", "/auth/step-up", map[string]any{"password": testPassword}}},
		logins:    4, accountGone: true, survivors: 1,
	},
	"password reset": {
		setup: setup{mail: &outbox{}},
		end: func(s *site, _, _ *client) bool {
			s.client().do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"})
			token := s.outbox.token(s.t, "ann@example.com", "reset-password")
			return s.client().do("POST", "/auth/password/reset", map[string]any{"token": token, "password": newPassword}).status == 200
		},
		meanwhile: []request{{method: "POST", path: "/auth/rotate-session"}, {"POST", "/auth/step-up", map[string]any{"password": testPassword}}},
		logins:    4, accountGone: true,
	},
	"address changed": {
		setup: setup{mail: &outbox{}},
		end: func(s *site, _, other *client) bool {
			other.do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"})
			token := s.outbox.token(s.t, "new@example.com", "verify-email")
			return other.do("POST", "/auth/email/verify", map[string]any{"token": token}).status == 200
		},
		meanwhile: []request{{method: "POST", path: "/auth/rotate-session"}},
		logins:    4, accountGone: true, survivors: 1,
	},
	"deleted by its owner": {
		end:       func(_ *site, _, other *client) bool { return other.do("DELETE", "/profile", nil).status == 204 },
		meanwhile: []request{{method: "POST", path: "/auth/rotate-session"}},
		logins:    4, accountGone: true,
	},
	"logout during step-ups": {
		end:       func(_ *site, victim, _ *client) bool { return victim.do("POST", "/auth/logout", nil).status == 200 },
		meanwhile: []request{{"POST", "/auth/step-up", map[string]any{"password": testPassword}}, {"POST", "/auth/step-up", map[string]any{"password": testPassword}}},
		survivors: 1,
	},
	"disabled": {
		end: func(s *site, _, _ *client) bool {
			return s.changeAccount(session.AccountDisabled, func(id string) error {
				_, err := s.users.SetActive(context.Background(), id, false)
				return err
			})
		},
		logins: 4, accountGone: true,
	},
	"deleted": {
		end: func(s *site, _, _ *client) bool {
			return s.changeAccount(session.AccountDeleted, func(id string) error {
				return s.users.Delete(context.Background(), id)
			})
		},
		logins: 4, accountGone: true,
	},
	"revoke all during rotations": {
		end: func(_ *site, _, other *client) bool {
			return other.do("DELETE", "/auth/sessions?scope=all", nil).status == 200
		},
		meanwhile: []request{{method: "POST", path: "/auth/rotate-session"}, {method: "POST", path: "/auth/rotate-session"}},
	},
	"too many": {
		setup:     setup{maxPerUser: 1},
		end:       func(s *site, _, _ *client) bool { return s.client().do("POST", "/auth/login", annsLogin).status == 200 },
		survivors: 1,
	},
	"deleted by hand": {
		end: func(s *site, victim, _ *client) bool {
			id := victim.clone().do("GET", "/auth/session", nil).text("sessionId")
			_, err := s.redis.Conn(s.t).Do("DEL", "sess:"+id)
			return err == nil
		},
		survivors: 1,
	},
	"logout during writes": {
		end:       func(_ *site, victim, _ *client) bool { return victim.do("POST", "/auth/logout", nil).status == 200 },
		meanwhile: []request{{"PUT", "/profile", map[string]any{"name": "Ann B."}}, {"PUT", "/profile", map[string]any{"name": "Ann C."}}, {method: "POST", path: "/auth/rotate-session"}},
		survivors: 1,
	},
	"logout on one of two servers": {
		end:        func(_ *site, victim, _ *client) bool { return victim.do("POST", "/auth/logout", nil).status == 200 },
		meanwhile:  []request{{method: "POST", path: "/auth/rotate-session"}},
		survivors:  1,
		twoServers: true,
	},
	"logout while another server changes the secret": {
		end:       func(_ *site, victim, _ *client) bool { return victim.do("POST", "/auth/logout", nil).status == 200 },
		survivors: 1, twoServers: true, moving: true,
	},
	"revoke all while another server changes the secret": {
		end: func(_ *site, _, other *client) bool {
			return other.do("DELETE", "/auth/sessions?scope=all", nil).status == 200
		},
		twoServers: true, moving: true,
	},
}

var annsLogin = map[string]any{"email": "ann@example.com", "password": testPassword}

// changeAccount does what an operator's command does: change, then end.
func (s *site) changeAccount(why session.Reason, change func(id string) error) bool {
	u, err := s.users.ByEmail(context.Background(), "ann@example.com")
	if err == nil {
		err = change(u.ID)
	}
	if err == nil {
		_, err = s.sessions.RevokeAll(context.Background(), u.ID, "", why)
	}
	if err != nil {
		s.t.Error(err)
	}
	return err == nil
}

// Whatever ends a session, it stays ended: no request that was under way brings it
// back, no cookie that any answer set works, and no login slips through.
//
// The kinds run one after the other: together they would only slow each other, and
// the stores answer within their limits or not at all.
func TestRaceEnded(t *testing.T) {
	for name, e := range endings {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			e.setup.touchInterval = time.Nanosecond
			s := newSite(t, e.setup)
			reader := s
			if e.twoServers {
				reads := setup{stores: s, touchInterval: time.Nanosecond}
				if e.moving {
					reads.secrets = []string{"the next secret of the tests, 32 b", testSecret}
				}
				reader = newSite(t, reads)
			}
			conn := s.redis.Conn(t)
			for round := range *rounds {
				if round == 0 || e.accountGone {
					if _, err := s.database().Collection("users").DeleteMany(context.Background(), map[string]any{}); err != nil {
						t.Fatal(err)
					}
					s.register("ann@example.com").do("POST", "/auth/logout", nil).want(200)
				}
				victim, other := s.client(), s.client()
				other.do("POST", "/auth/login", annsLogin).want(200)
				victim.do("POST", "/auth/login", annsLogin).want(200)
				requests := e.meanwhile
				for len(requests) < 16-e.logins {
					requests = append(requests[:len(requests):len(requests)], request{method: "GET", path: "/auth/session"})
				}
				var ended atomic.Bool
				done := make(chan struct{})
				logins := make([]*client, e.logins)
				for i := range logins {
					logins[i] = s.client()
				}
				go func() {
					defer close(done)
					ended.Store(e.end(s, victim.clone(), other.clone()))
				}()
				loggedIn := make(chan struct{})
				go func() {
					defer close(loggedIn)
					for _, c := range logins {
						c.do("POST", "/auth/login", annsLogin)
					}
				}()
				answers := race(t, &client{site: reader, token: victim.token}, requests)
				<-done
				<-loggedIn
				if !ended.Load() {
					t.Fatalf("round %d: the end was refused", round)
				}
				tokens := []string{victim.token}
				for _, a := range answers {
					if a.cookie != nil && a.cookie.Value != "" {
						tokens = append(tokens, a.cookie.Value)
					}
				}
				for _, c := range logins {
					if c.token != "" {
						tokens = append(tokens, c.token)
					}
				}
				for _, token := range tokens {
					for _, server := range []*site{s, reader} {
						if a := (&client{site: server, token: token}).do("GET", "/auth/session", nil); a.status != 401 {
							t.Fatalf("round %d: a session is back: %s", round, a.raw)
						}
					}
				}
				if live := s.liveSessions(conn); live != e.survivors {
					t.Fatalf("round %d: %d sessions are alive, want %d", round, live, e.survivors)
				}
				if _, err := conn.Do("FLUSHDB"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
