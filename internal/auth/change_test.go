package auth

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// requestEmailChange stores a pending email change in an account.
func requestEmailChange(t *testing.T, s *Service, u user.User) {
	t.Helper()

	stored := user.OneTimeToken{RequestID: "request", Email: "eve@example.com", Expires: time.Now().Add(time.Hour)}
	testkit.NoError(t, s.users.PutToken(context.Background(), u.ID, u.Email, user.EmailChangeToken, stored))
}

// assertNoEmailChange fails the test if an account has a pending email change.
func assertNoEmailChange(t *testing.T, s *Service, userID string) {
	t.Helper()

	if _, err := s.users.PendingEmailChange(context.Background(), userID, "eve@example.com"); !errors.Is(err, user.ErrNotFound) {
		t.Errorf("pending email change: got error %v, want ErrNotFound", err)
	}
}

// No session survives a change except the one to keep: neither an earlier session nor one that
// begins during the change. This holds even if the result of the change is unknown.
func TestNoSessionSurvivesAChange(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		result   error
		kept     int
		notified bool
	}{
		"made":            {nil, 1, true},
		"made, keep none": {nil, 0, true},
		"unknown result":  {user.ErrUnavailable, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			ctx := context.Background()
			s := newTestService(t)
			ann := register(t, s, "ann@example.com")
			login := func() {
				_, err := s.SignIn(ctx, Credentials{Email: "ann@example.com", Password: testPassword}, Client{})
				testkit.NoError(t, err)
			}

			login()

			keep := ""
			if tc.kept > 0 {
				keep = ann.Session.ID
			}

			notified := false
			changed, err := s.withSessionsEnded(ctx, Operator(ann.User.ID), change{
				why:  session.PasswordChanged,
				keep: keep,
				apply: func() (user.User, error) {
					assertSessions(t, s, ann.User.ID, tc.kept)
					login()
					requestEmailChange(t, s, ann.User)

					return ann.User, tc.result
				},
				notify: func(user.User) { notified = true },
			})

			if !errors.Is(err, tc.result) || (changed.User.ID != "") != tc.notified || notified != tc.notified {
				t.Errorf("got %+v, error %v, notified %t, want error %v, notified %t", changed, err, notified, tc.result, tc.notified)
			}
			if want := 3 - tc.kept; tc.notified && changed.Ended != want {
				t.Errorf("got %d sessions ended, want %d", changed.Ended, want)
			}

			assertSessions(t, s, ann.User.ID, tc.kept)
			assertNoEmailChange(t, s, ann.User.ID)
		})
	}
}

// Revoking sessions cancels a pending email change.
func TestRevokeCancelsEmailChange(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	s := newTestService(t)
	ann := register(t, s, "ann@example.com")

	requestEmailChange(t, s, ann.User)
	testkit.NoError(t, s.RevokeSession(ctx, Operator(ann.User.ID), ann.Session.ID))
	assertSessions(t, s, ann.User.ID, 0)
	assertNoEmailChange(t, s, ann.User.ID)

	requestEmailChange(t, s, ann.User)
	_, err := s.RevokeSessions(ctx, ann.User.ID, "")
	testkit.NoError(t, err)
	assertNoEmailChange(t, s, ann.User.ID)
}

// If the sessions cannot be ended, nothing is changed, except for an operator's urgent changes.
func TestChangeWhileRedisIsDown(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	s := newTestService(t)
	ann := register(t, s, "ann@example.com").User
	withoutRedis := newTestServiceOn(t, storetest.Redis{Addr: "127.0.0.1:1"}, s.users, 4)
	caller := Operator(ann.ID)

	if changed, err := withoutRedis.Delete(ctx, caller); !errors.Is(err, session.ErrUnavailable) || changed.User.ID != "" {
		t.Errorf("Delete: got %+v, error %v, want no change and ErrUnavailable", changed, err)
	}
	if changed, err := withoutRedis.ChangePassword(ctx, caller, testPassword, "another password"); !errors.Is(err, session.ErrUnavailable) || changed.User.ID != "" {
		t.Errorf("ChangePassword: got %+v, error %v, want no change and ErrUnavailable", changed, err)
	}
	if _, err := s.CheckPassword(ctx, caller, testPassword); err != nil {
		t.Errorf("old password: got error %v, want it to be unchanged", err)
	}

	changed, err := withoutRedis.SetPassword(ctx, caller, "another password")
	if !errors.Is(err, session.ErrUnavailable) || changed.User.ID != ann.ID {
		t.Errorf("SetPassword: got %+v, error %v, want a change and ErrUnavailable", changed, err)
	}
	if _, err := s.CheckPassword(ctx, caller, "another password"); err != nil {
		t.Errorf("password set by an operator: got error %v, want none", err)
	}

	changed, err = withoutRedis.Disable(ctx, caller, session.AccountDisabled)
	if !errors.Is(err, session.ErrUnavailable) || changed.User.Active || changed.User.ID != ann.ID {
		t.Errorf("Disable: got %+v, error %v, want a disabled account and ErrUnavailable", changed, err)
	}
}
