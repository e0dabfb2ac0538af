package user

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/internal/testkit"
)

// A one-time token works once, and a change of the password or the email revokes it.
func TestOneTimeTokens(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	skew := time.Duration(0)
	s.now = func() time.Time { return time.Now().Add(skew) }
	var u User
	put := func(kind TokenKind, hash string, email Email) {
		t.Helper()
		testkit.NoError(t, s.PutToken(ctx, u.ID, u.Email, kind, OneTimeToken{Hash: hash, Email: email, Expires: s.now().Add(time.Minute)}))
	}

	use := map[TokenKind]func(hash string) error{
		ResetToken:       func(hash string) error { _, err := s.ResetPassword(ctx, u.ID, hash, "h2"); return err },
		VerifyToken:      func(hash string) error { _, err := s.VerifyEmail(ctx, u.ID, hash); return err },
		EmailChangeToken: func(hash string) error { _, err := s.ChangeEmail(ctx, u.ID, hash, "new@example.com"); return err },
	}

	for name, c := range map[string]struct {
		between func() error
		want    map[TokenKind]bool // the tokens that are still valid afterwards
	}{
		"no change":                   {func() error { return nil }, map[TokenKind]bool{ResetToken: true, VerifyToken: true, EmailChangeToken: true}},
		"rename":                      {func() error { _, err := s.Rename(ctx, u.ID, "Bob"); return err }, map[TokenKind]bool{ResetToken: true, VerifyToken: true, EmailChangeToken: true}},
		"stronger hash":               {func() error { return s.ReplaceHash(ctx, u.ID, "h", "better") }, map[TokenKind]bool{ResetToken: true, VerifyToken: true, EmailChangeToken: true}},
		"expiry":                      {func() error { skew = time.Minute; return nil }, nil},
		"password change":             {func() error { _, err := s.ChangePassword(ctx, u.ID, "h", "h3"); return err }, nil},
		"password set by an operator": {func() error { _, err := s.SetPassword(ctx, u.ID, "h3"); return err }, nil},
		"reset":                       {func() error { return use[ResetToken]("reset1") }, nil},
		"email change":                {func() error { return use[EmailChangeToken]("change1") }, nil},
		"verification":                {func() error { return use[VerifyToken]("verify1") }, map[TokenKind]bool{ResetToken: true, EmailChangeToken: true}},
		"disabling":                   {func() error { _, err := s.SetActive(ctx, u.ID, false); return err }, nil},
		"deletion":                    {func() error { return s.Delete(ctx, u.ID) }, nil},
		"newer tokens": {func() error {
			for kind := range use {
				put(kind, string(kind)+"2", "new@example.com")
			}

			return nil
		}, nil},
	} {
		for kind := range use {
			skew = 0
			var err error
			if u, err = s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"}); err != nil {
				t.Fatal(err)
			}

			for other := range use {
				put(other, string(other)+"1", "new@example.com")
			}
			if err := c.between(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}

			hash := string(kind) + "1"
			_, _, lookupErr := s.ByToken(ctx, u.ID, kind, hash)
			useErr := use[kind](hash)
			valid := useErr == nil
			if valid != c.want[kind] || valid != (lookupErr == nil) {
				t.Errorf("after %s, %s token: got lookup error %v, error %v; want valid %v", name, kind, lookupErr, useErr, c.want[kind])
			}

			if again := use[kind](hash); !errors.Is(again, ErrNotFound) && !errors.Is(again, ErrEmailTaken) {
				t.Errorf("after %s, %s token used again: got %v, want ErrNotFound or ErrEmailTaken", name, kind, again)
			}
			testkit.NoError(t, s.Delete(ctx, u.ID))
		}
	}
}

// A one-time token has only the effect of its kind, and only on its own account.
func TestOneTimeTokenEffects(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	ann, err := s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	testkit.NoError(t, err)

	eve, err := s.Create(ctx, User{Name: "Eve", Email: "eve@example.com", PasswordHash: "h"})
	testkit.NoError(t, err)

	token := OneTimeToken{Hash: "x", Email: "eve@example.com", Expires: time.Now().Add(time.Minute)}
	for _, kind := range []TokenKind{VerifyToken, EmailChangeToken} {
		testkit.NoError(t, s.PutToken(ctx, ann.ID, ann.Email, kind, token))
	}

	if _, err := s.ResetPassword(ctx, ann.ID, "x", "h2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("reset with a verify token: got %v, want ErrNotFound", err)
	}

	if _, err := s.VerifyEmail(ctx, eve.ID, "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("verify Eve with Ann's token: got %v, want ErrNotFound", err)
	}

	if _, email, err := s.ByToken(ctx, ann.ID, EmailChangeToken, "x"); err != nil || email != "eve@example.com" {
		t.Errorf("by token: got email %q, %v; want eve@example.com", email, err)
	}

	if _, err := s.ChangeEmail(ctx, ann.ID, "x", "eve@example.com"); !errors.Is(err, ErrEmailTaken) {
		t.Errorf("change to a registered email: got %v, want ErrEmailTaken", err)
	}
	if err := s.PutToken(ctx, ann.ID, "old@example.com", ResetToken, token); !errors.Is(err, ErrNotFound) {
		t.Errorf("token for a previous email: got %v, want ErrNotFound", err)
	}

	if u, err := s.VerifyEmail(ctx, ann.ID, "x"); err != nil || !u.EmailVerified || u.PasswordHash != "h" {
		t.Errorf("verify: got %+v, %v; want it verified with the same password", u, err)
	}
	testkit.NoError(t, s.PutToken(ctx, eve.ID, eve.Email, ResetToken, token))

	if u, err := s.ResetPassword(ctx, eve.ID, "x", "h2"); err != nil || u.PasswordHash != "h2" || !u.EmailVerified {
		t.Errorf("reset: got %+v, %v; want the new password and a verified email", u, err)
	}
}
