package user

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/internal/testkit"
)

// An invitation that is reserved for an account cannot be used for another one, until it is released or
// the reservation has ended.
func TestTakeInvitation(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	s := newStore(t)
	skew := time.Duration(0)
	s.now = func() time.Time { return time.Now().Add(skew) }

	const email = "ann@example.com"
	first, second := NewID(), NewID()
	invited := Invitation{Email: email, Name: "Ann", Expires: s.now().Add(time.Hour)}
	testkit.NoError(t, s.Invite(ctx, invited))
	testkit.NoError(t, s.IssueInvitationToken(ctx, email, "h", s.now().Add(time.Hour)))

	take := func(want error, userID, hash string) {
		t.Helper()

		if err := s.TakeInvitation(ctx, email, hash, userID); !errors.Is(err, want) {
			t.Errorf("got error %v, want %v", err, want)
		}
	}
	take(ErrNotFound, first, "other")
	take(ErrNotFound, first, "")
	take(nil, first, "h")
	take(nil, first, "h") // after a lost reply
	take(ErrNotFound, second, "h")
	if err := s.TakeInvitationOf(ctx, email, second); !errors.Is(err, ErrNotFound) {
		t.Errorf("without the token: got error %v, want ErrNotFound", err)
	}

	testkit.NoError(t, s.ReleaseInvitation(ctx, email, second)) // not its reservation
	take(ErrNotFound, second, "h")
	testkit.NoError(t, s.ReleaseInvitation(ctx, email, first))
	take(nil, second, "h")

	skew = pendingTTL + time.Second
	take(nil, first, "h")

	// A new invitation has no token yet, but can be used by the owner of the email.
	testkit.NoError(t, s.Invite(ctx, invited))
	take(ErrNotFound, first, "h")
	testkit.NoError(t, s.TakeInvitationOf(ctx, email, first))

	skew = time.Hour + time.Second
	testkit.NoError(t, s.ReleaseInvitation(ctx, email, first))
	if err := s.TakeInvitationOf(ctx, email, first); !errors.Is(err, ErrNotFound) {
		t.Errorf("expired: got error %v, want ErrNotFound", err)
	}
	testkit.NoError(t, s.PruneInvitations(ctx))
	if removed, err := s.RemoveInvitation(ctx, email); removed || err != nil {
		t.Errorf("got %v, %v, want the expired invitation to be gone", removed, err)
	}
}
