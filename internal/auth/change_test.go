package auth

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// requestEmailChange stores a pending email change in an account.
func requestEmailChange(t *testing.T, s *Service, u user.User) {
	t.Helper()

	stored := user.OneTimeToken{RequestID: "request", Email: "eve@example.com", Expires: time.Now().Add(time.Hour)}
	if err := s.users.PutToken(context.Background(), u.ID, u.Email, user.EmailChangeToken, stored); err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

// emailChangePending reports whether an account has a pending email change.
func emailChangePending(t *testing.T, s *Service, userID string) bool {
	t.Helper()

	_, err := s.users.PendingEmailChange(context.Background(), userID, "eve@example.com")
	if err != nil && !errors.Is(err, user.ErrNotFound) {
		t.Errorf("got error %v, want none", err)
	}

	return err == nil
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
				if _, err := s.SignIn(ctx, Credentials{Email: "ann@example.com", Password: testPassword}, Client{}); err != nil {
					t.Errorf("got error %v, want none", err)
				}
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
					if n := sessionCount(t, s, ann.User.ID); n != tc.kept {
						t.Errorf("got %d sessions before the change, want %d", n, tc.kept)
					}

					login()
					requestEmailChange(t, s, ann.User)

					return ann.User, tc.result
				},
				notify: func(user.User) { notified = true },
			})

			if !errors.Is(err, tc.result) || (changed.User.ID != "") != tc.notified || notified != tc.notified {
				t.Errorf("got %+v, error %v, notified %t, want error %v, notified %t", changed, err, notified, tc.result, tc.notified)
			}
			if n := sessionCount(t, s, ann.User.ID); n != tc.kept {
				t.Errorf("got %d sessions after the change, want %d", n, tc.kept)
			}
			if want := 3 - tc.kept; tc.notified && changed.Ended != want {
				t.Errorf("got %d sessions ended, want %d", changed.Ended, want)
			}
			if emailChangePending(t, s, ann.User.ID) {
				t.Error("got a pending email change, want it to be cancelled")
			}
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
	testkit.NoError(t, s.RevokeSession(ctx, ann.User.ID, ann.Session.ID))

	if sessionCount(t, s, ann.User.ID) != 0 || emailChangePending(t, s, ann.User.ID) {
		t.Error("RevokeSession: got a session or a pending email change, want neither")
	}

	requestEmailChange(t, s, ann.User)
	if _, err := s.RevokeSessions(ctx, ann.User.ID, ""); err != nil {
		t.Fatal(err)
	}

	if emailChangePending(t, s, ann.User.ID) {
		t.Error("RevokeSessions: got a pending email change, want it to be cancelled")
	}
}

// If the sessions cannot be ended, nothing is changed, except for urgent changes of an operator.
func TestChangeWhileRedisIsDown(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	s := newTestService(t)
	ann := register(t, s, "ann@example.com").User

	log := slog.New(slog.DiscardHandler)
	unreachable := redisconn.New(redisconn.Options{Addr: "127.0.0.1:1", Log: log})
	t.Cleanup(unreachable.Close)
	sessions := session.New(unreachable, session.Options{Secrets: [][]byte{[]byte("x")}, Idle: time.Hour, Absolute: time.Hour, Log: log})
	withoutRedis := New(s.users, sessions, s.hasher, Options{Log: log})
	caller := Operator(ann.ID)

	if changed, err := withoutRedis.Delete(ctx, caller); !errors.Is(err, session.ErrUnavailable) || changed.User.ID != "" {
		t.Errorf("Delete: got %+v, error %v, want no change and ErrUnavailable", changed, err)
	}
	if changed, err := withoutRedis.ChangePassword(ctx, caller, testPassword, "another password"); !errors.Is(err, session.ErrUnavailable) || changed.User.ID != "" {
		t.Errorf("ChangePassword: got %+v, error %v, want no change and ErrUnavailable", changed, err)
	}
	if _, err := s.CheckPassword(ctx, ann.ID, testPassword); err != nil {
		t.Errorf("old password: got error %v, want it to be unchanged", err)
	}

	changed, err := withoutRedis.SetPassword(ctx, caller, "another password")
	if !errors.Is(err, session.ErrUnavailable) || changed.User.ID != ann.ID {
		t.Errorf("SetPassword: got %+v, error %v, want a change and ErrUnavailable", changed, err)
	}
	if _, err := s.CheckPassword(ctx, ann.ID, "another password"); err != nil {
		t.Errorf("password set by an operator: got error %v, want none", err)
	}

	changed, err = withoutRedis.Disable(ctx, caller, session.AccountDisabled)
	if !errors.Is(err, session.ErrUnavailable) || changed.User.Active || changed.User.ID != ann.ID {
		t.Errorf("Disable: got %+v, error %v, want a disabled account and ErrUnavailable", changed, err)
	}
}
