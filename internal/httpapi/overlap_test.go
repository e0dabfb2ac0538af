package httpapi_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

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
			return apitest.PasswordChange
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
			return ann.Do("POST", "/auth/password/change", apitest.PasswordChange)
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
