package auth

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/hashpool"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// A login with the old email of an account fails, even if a concurrent login upgrades the outdated
// hash.
func TestOldEmailWithImprovedHash(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	direct, proxied, proxy := storetest.ProxiedRedis(t)
	users := newUsers(t)
	old := newTestServiceOn(t, direct, users, 4)
	s := newTestServiceOn(t, proxied, users, 5)
	other := newTestServiceOn(t, direct, users, 5)
	ann, err := old.CreateUser(ctx, Registration{Name: "Ann", Email: "ann@example.com", Password: testPassword})
	testkit.NoError(t, err)

	changeEmail := func() error {
		token, err := newToken(user.EmailChangeToken, ann.ID)
		if err != nil {
			return err
		}

		stored := user.OneTimeToken{Hash: tokenHash(token), Email: "new@example.com", Expires: time.Now().Add(time.Hour)}
		if err := users.PutToken(ctx, ann.ID, ann.Email, user.EmailChangeToken, stored); err != nil {
			return err
		}
		if _, _, err = other.ConfirmEmail(ctx, token, Caller{}); err != nil {
			return err
		}

		better, err := other.hasher.Hash(ctx, hashpool.Anyone, testPassword) // like a login with the new email
		if err != nil {
			return err
		}

		return users.ReplaceHash(ctx, ann.ID, ann.PasswordHash, better)
	}

	// The login has read the account, and sends its first command to Redis.
	changed := sync.OnceValue(changeEmail)
	proxy.Set(storetest.Faults{Command: func(net.Conn, []byte) bool {
		_ = changed()

		return false
	}})

	in, err := s.SignIn(ctx, Credentials{Email: "ann@example.com", Password: testPassword}, Client{})
	testkit.NoError(t, changed())
	if !errors.Is(err, ErrBadCredentials) {
		t.Errorf("got a session of %q with error %v, want ErrBadCredentials", in.User.Email, err)
	}
}
