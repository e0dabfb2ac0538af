package auth

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// An invitation that was withdrawn or used while the password was being hashed creates no account.
func TestInvitationIsCheckedAgain(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	s := newTestService(t)
	s.options.BaseURL = "https://app.example.com"
	s.options.InvitationMaxAge = time.Hour
	s.options.Registration.Mode = InviteRegistration

	for name, meanwhile := range map[string]func(user.Email) error{
		"withdrawn": func(email user.Email) error {
			_, err := s.users.RemoveInvitation(ctx, email)

			return err
		},
		"in use": func(email user.Email) error { return s.users.TakeInvitationOf(ctx, email, user.NewID()) },
		"replaced": func(email user.Email) error {
			_, err := s.InviteWithLink(ctx, email, "")

			return err
		},
	} {
		email := user.Email("ann." + user.NewID() + "@example.com")
		testkit.NoError(t, s.storeInvitation(ctx, email, ""))
		const oneTime = "a token"
		testkit.NoError(t, s.users.IssueInvitationToken(ctx, email, tokenHash(oneTime), time.Now().Add(time.Hour)))

		in := Registration{Name: "Ann", Email: email, Invitation: oneTime}
		testkit.NoError(t, s.mayRegister(ctx, in))
		testkit.NoError(t, meanwhile(email))

		want := ErrInvalidToken
		if name == "in use" {
			want = user.ErrUnavailable // the other registration may still fail
		}

		_, err := s.createRegistered(ctx, user.User{ID: user.NewID(), Email: email}, oneTime)
		if !errors.Is(err, want) {
			t.Errorf("%s: got error %v, want %v", name, err, want)
		}
		if _, err := s.users.ByEmail(ctx, email); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("%s: got error %v, want no account", name, err)
		}
	}
}
