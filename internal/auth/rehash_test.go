package auth

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/hashpool"
	"latchkey/internal/mongoconn"
	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// A login with the old email of an account fails, even if a concurrent login upgrades the outdated
// hash.
func TestOldEmailWithImprovedHash(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	direct, proxied, proxy := storetest.ProxiedRedis(t)
	users := user.New(conntest.Mongo(t, mongoconn.Options{URI: storetest.Mongo(t)}), time.Now)
	service := func(r storetest.Redis, cost int) *Service {
		hasher := hashpool.New(cost, nil)
		t.Cleanup(hasher.Close)
		redis := conntest.Redis(t, r, redisconn.Options{})
		sessions := session.New(redis, session.Options{
			Secrets: [][]byte{[]byte("the secret of the tests, 32 bytes+")},
			Idle:    time.Hour, Absolute: 24 * time.Hour, TouchInterval: time.Minute, Log: log,
		})

		return New(users, sessions, hasher, Options{Log: log})
	}

	old := service(direct, 4)
	s := service(proxied, 5)
	other := service(direct, 5)
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

		better, err := other.hasher.Hash(ctx, testPassword) // like a login with the new email
		if err != nil {
			return err
		}

		return users.ReplaceHash(ctx, ann.ID, ann.PasswordHash, better)
	}

	var once atomic.Bool
	done := make(chan error, 1)
	proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
		if bytes.Contains(chunk, []byte("MGET")) && !once.Swap(true) {
			done <- changeEmail()
		}

		return false
	}})

	in, err := s.SignIn(ctx, Credentials{Email: "ann@example.com", Password: testPassword}, Client{})
	if changed := <-done; changed != nil {
		t.Fatal(changed)
	}
	if !errors.Is(err, ErrBadCredentials) {
		t.Errorf("got a session of %q with error %v, want ErrBadCredentials", in.User.Email, err)
	}
}
