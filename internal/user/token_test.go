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
	use := map[TokenKind]func(hash string) error{
		ResetToken:       func(hash string) error { return errorOf(s.ResetPassword(ctx, u.ID, hash, "h2")) },
		VerifyToken:      func(hash string) error { return errorOf(s.VerifyEmail(ctx, u.ID, hash, false)) },
		EmailChangeToken: func(hash string) error { return errorOf(s.ChangeEmail(ctx, u.ID, hash, "new@example.com", false)) },
	}

	putAll := func(suffix string) {
		for kind := range use {
			token := OneTimeToken{Hash: string(kind) + suffix, Email: "new@example.com", Expires: s.now().Add(time.Minute)}
			testkit.NoError(t, s.PutToken(ctx, u.ID, u.Email, kind, token))
		}
	}

	all := map[TokenKind]bool{ResetToken: true, VerifyToken: true, EmailChangeToken: true}
	for name, c := range map[string]struct {
		between func() error
		want    map[TokenKind]bool // the tokens that are still valid afterwards
	}{
		"no change":                   {func() error { return nil }, all},
		"rename":                      {func() error { return errorOf(s.UpdateProfile(ctx, u.ID, Profile{Name: "Bob"})) }, all},
		"stronger hash":               {func() error { return s.ReplaceHash(ctx, u.ID, "h", "better") }, all},
		"expiry":                      {func() error { skew = time.Minute; return nil }, nil},
		"password change":             {func() error { return errorOf(s.ChangePassword(ctx, u.ID, "h", "h3")) }, nil},
		"password set by an operator": {func() error { return errorOf(s.SetPassword(ctx, u.ID, "h3")) }, nil},
		"reset":                       {func() error { return use[ResetToken]("reset1") }, nil},
		"email change":                {func() error { return use[EmailChangeToken]("change1") }, nil},
		"verification":                {func() error { return use[VerifyToken]("verify1") }, map[TokenKind]bool{ResetToken: true, EmailChangeToken: true}},
		"disabling":                   {func() error { return errorOf(s.SetActive(ctx, u.ID, false)) }, nil},
		"deletion":                    {func() error { return s.Delete(ctx, u.ID) }, nil},
		"newer tokens":                {func() error { putAll("2"); return nil }, nil},
	} {
		for kind := range use {
			skew = 0
			u = create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
			putAll("1")
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
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	eve := create(t, s, User{Name: "Eve", Email: "eve@example.com", PasswordHash: "h"})

	token := OneTimeToken{Hash: "x", Email: "eve@example.com", Expires: time.Now().Add(time.Minute)}
	for _, kind := range []TokenKind{VerifyToken, EmailChangeToken} {
		testkit.NoError(t, s.PutToken(ctx, ann.ID, ann.Email, kind, token))
	}

	wantErr(t, "reset with a verify token", errorOf(s.ResetPassword(ctx, ann.ID, "x", "h2")), ErrNotFound)
	wantErr(t, "verify Eve with Ann's token", errorOf(s.VerifyEmail(ctx, eve.ID, "x", true)), ErrNotFound)

	if _, email, err := s.ByToken(ctx, ann.ID, EmailChangeToken, "x"); err != nil || email != "eve@example.com" {
		t.Errorf("by token: got email %q, %v; want eve@example.com", email, err)
	}

	wantErr(t, "change to a registered email", errorOf(s.ChangeEmail(ctx, ann.ID, "x", "eve@example.com", true)), ErrEmailTaken)
	wantErr(t, "token for a previous email", s.PutToken(ctx, ann.ID, "old@example.com", ResetToken, token), ErrNotFound)

	if u, err := s.VerifyEmail(ctx, ann.ID, "x", true); err != nil || !u.EmailVerified || !u.OwnerConfirmed || u.PasswordHash != "h" {
		t.Errorf("verify: got %+v, %v; want it verified with the same password", u, err)
	}
	testkit.NoError(t, s.PutToken(ctx, eve.ID, eve.Email, ResetToken, token))

	if u, err := s.ResetPassword(ctx, eve.ID, "x", "h2"); err != nil || u.PasswordHash != "h2" || !u.EmailVerified || !u.OwnerConfirmed {
		t.Errorf("reset: got %+v, %v; want the new password and a verified email", u, err)
	}
}

// A token that is used outside of a session of the account verifies the email, but does not prove
// that the user of the account owns that email. A change to another email discards an earlier
// proof.
func TestOwnerConfirmed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	put := func(kind TokenKind, email Email) {
		t.Helper()
		token := OneTimeToken{Hash: "x", Email: email, Expires: time.Now().Add(time.Minute)}
		testkit.NoError(t, s.PutToken(ctx, ann.ID, ann.Email, kind, token))
	}

	for i, step := range []struct {
		kind  TokenKind
		use   func() (User, error)
		email Email
		want  bool
	}{
		{VerifyToken, func() (User, error) { return s.VerifyEmail(ctx, ann.ID, "x", false) }, "", false},
		{VerifyToken, func() (User, error) { return s.VerifyEmail(ctx, ann.ID, "x", true) }, "", true},
		{VerifyToken, func() (User, error) { return s.VerifyEmail(ctx, ann.ID, "x", false) }, "", true},
		{EmailChangeToken, func() (User, error) { return s.ChangeEmail(ctx, ann.ID, "x", "b@example.com", false) }, "b@example.com", false},
		{ResetToken, func() (User, error) { return s.ResetPassword(ctx, ann.ID, "x", "h2") }, "", true},
		{EmailChangeToken, func() (User, error) { return s.ChangeEmail(ctx, ann.ID, "x", "c@example.com", false) }, "c@example.com", false},
		{EmailChangeToken, func() (User, error) { return s.ChangeEmail(ctx, ann.ID, "x", "d@example.com", true) }, "d@example.com", true},
	} {
		put(step.kind, step.email)

		u, err := step.use()
		testkit.NoError(t, err)
		if !u.EmailVerified || u.OwnerConfirmed != step.want {
			t.Errorf("step %d: got %+v, want a verified email, confirmed by the owner: %v", i, u, step.want)
		}
		ann = u
	}
}

// The email of a change comes from the account, whatever the queue contains.
func TestIssueToken(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	expires := time.Now().Add(time.Minute)
	pending := OneTimeToken{RequestID: "request", Email: "new@example.com", Expires: expires}
	testkit.NoError(t, s.PutToken(ctx, ann.ID, ann.Email, EmailChangeToken, pending))

	wantErr(t, "another request", errorOf(s.IssueToken(ctx, ann.ID, "other", OneTimeToken{Hash: "x", Expires: expires})), ErrNotFound)

	if email, err := s.IssueToken(ctx, ann.ID, "request", OneTimeToken{Hash: "x", Expires: expires}); email != "new@example.com" || err != nil {
		t.Errorf("got email %q, error %v, want new@example.com", email, err)
	}
	if _, email, err := s.ByToken(ctx, ann.ID, EmailChangeToken, "x"); email != "new@example.com" || err != nil {
		t.Errorf("by token: got email %q, error %v, want new@example.com", email, err)
	}
}
