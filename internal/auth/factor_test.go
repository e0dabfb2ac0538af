package auth

import (
	"context"
	"testing"

	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// A request that was authorized before its session ended gets no recovery codes. Otherwise a thief whose
// session ends because the owner adds a factor could get codes for it.
func TestEndedSessionGetsNoRecoveryCodes(t *testing.T) {
	t.Parallel()

	ctx := t.Context()
	s := newTestService(t)
	ann := register(t, s, "ann@example.com")
	loaded, err := s.sessions.Load(ctx, ann.Token)
	testkit.NoError(t, err)

	testkit.NoError(t, s.users.BeginEnrolment(ctx, ann.User.ID, user.Enrolment{ID: "app", Expires: s.options.Now()}))
	withFactor, err := s.users.AddFactor(ctx, ann.User, user.Factor{ID: "app", Kind: user.TOTP}, []string{"hash"})
	testkit.NoError(t, err)
	caller := Caller{UserID: ann.User.ID, SessionID: ann.Session.ID}
	if _, err := s.NewRecoveryCodes(loaded, caller); err != nil {
		t.Fatalf("live session: got error %v, want none", err)
	}

	before := firstCode(t, s, withFactor.ID)
	_, err = s.sessions.RevokeAll(ctx, ann.User.ID, "", session.FactorsChanged)
	testkit.NoError(t, err)
	codes, err := s.NewRecoveryCodes(loaded, caller)
	if !session.IsGone(err) || codes != nil {
		t.Errorf("ended session: got %d codes and error %v, want an error that the session has ended", len(codes), err)
	}
	if after := firstCode(t, s, withFactor.ID); after != before {
		t.Errorf("first stored code: got %s, want %s", after, before)
	}
}

// firstCode returns the hash of the first recovery code of an account.
func firstCode(t *testing.T, s *Service, userID string) string {
	t.Helper()

	u, err := s.users.ByID(context.Background(), userID)
	testkit.NoError(t, err)

	return u.RecoveryCodes[0]
}
