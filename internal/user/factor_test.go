package user

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/testkit"
)

// withFactor creates an account with an authenticator app and a recovery code, and an enrolment.
func withFactor(t *testing.T, s *Store) User {
	t.Helper()
	ctx := context.Background()

	u := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	for _, id := range []string{"app", "next"} {
		e := Enrolment{ID: id, Seed: "v1.x", Expires: time.Now().Add(time.Minute)}
		testkit.NoError(t, s.BeginEnrolment(ctx, u.ID, e))
		if id == "app" {
			added, err := s.AddFactor(ctx, u, Factor{ID: id, Kind: TOTP, Seed: "v1.x", Step: 1}, []string{"code"})
			testkit.NoError(t, err)
			u = added
		}
	}
	_, err := s.UseFactor(ctx, u, FactorUse{FactorID: "app", Step: 2, Trust: &TrustedDevice{
		ID:         "device",
		Generation: u.DeviceGeneration,
		Expires:    time.Now().Add(time.Hour),
	}})
	testkit.NoError(t, err)
	_, err = link(s, u.ID, claimsOf("acme", "ann"))
	testkit.NoError(t, err)
	u, err = s.ByID(ctx, u.ID)
	testkit.NoError(t, err)

	return u
}

// factorChanges are the updates that depend on the account as it was read.
var factorChanges = map[string]func(s *Store, u User) error{
	"a login": func(s *Store, u User) error {
		_, err := s.RecordLogin(context.Background(), u)
		return err
	},
	"a login with a provider": func(s *Store, u User) error {
		_, err := s.RecordSignIn(context.Background(), u, claimsOf("acme", "ann"))
		return err
	},
	"a code": func(s *Store, u User) error {
		_, err := s.UseFactor(context.Background(), u, FactorUse{FactorID: "app", Step: 3})
		return err
	},
	"a recovery code": func(s *Store, u User) error {
		_, err := s.UseFactor(context.Background(), u, FactorUse{RecoveryCode: "code"})
		return err
	},
	"another app": func(s *Store, u User) error {
		_, err := s.AddFactor(context.Background(), u, Factor{ID: "next", Kind: TOTP, Seed: "v1.x"}, nil)
		return err
	},
	"a removal": func(s *Store, u User) error {
		_, err := s.RemoveFactor(context.Background(), u, "app")
		return err
	},
	"recovery codes": func(s *Store, u User) error {
		_, err := s.SetRecoveryCodes(context.Background(), u, []string{"new"})
		return err
	},
}

// meanwhile are the changes of an account after which what was read from it does not count any more.
var meanwhile = map[string]func(t *testing.T, s *Store, u User){
	"devices revoked": func(t *testing.T, s *Store, u User) {
		_, err := s.RevokeDevices(t.Context(), u.ID)
		testkit.NoError(t, err)
	},
	"disabled by another application": func(t *testing.T, s *Store, u User) {
		_, err := s.update(t.Context(), u.ID, nil, set(bson.E{Key: "isActive", Value: false}))
		testkit.NoError(t, err)
	},
	"disabled and enabled": func(t *testing.T, s *Store, u User) {
		for _, active := range []bool{false, true} {
			_, err := s.SetActive(t.Context(), u.ID, active)
			testkit.NoError(t, err)
		}
	},
	"another email": func(t *testing.T, s *Store, u User) {
		_, err := s.update(t.Context(), u.ID, nil, set(bson.E{Key: "email", Value: "other@example.com"}))
		testkit.NoError(t, err)
	},
	"factors reset": func(t *testing.T, s *Store, u User) {
		_, err := s.ResetFactors(t.Context(), u.ID)
		testkit.NoError(t, err)
	},
}

// A login and a change of the factors fail if the account has changed since it was read.
func TestFactorChangesNeedUnchangedAccount(t *testing.T) {
	t.Parallel()

	for name, change := range factorChanges {
		for why, happens := range meanwhile {
			s := newStore(t)
			u := withFactor(t, s)
			happens(t, s, u)
			before, err := s.ByID(t.Context(), u.ID)
			testkit.NoError(t, err)

			if err := change(s, u); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s, %s meanwhile: got error %v, want ErrNotFound", name, why, err)
			}
			after, err := s.ByID(t.Context(), u.ID)
			testkit.NoError(t, err)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s, %s meanwhile: account (-before +after):\n%s", name, why, diff)
			}
		}

		s := newStore(t)
		testkit.NoError(t, change(s, withFactor(t, s)))
	}
}

// Whoever takes over an account whose email was never confirmed gets no factor of its creator, even if one
// was added since the credentials were removed.
func TestClaimRemovesFactors(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	u := withFactor(t, s)

	testkit.NoError(t, s.RemoveCredentials(t.Context(), u.ID, u.Email))
	removed, err := s.ByID(t.Context(), u.ID)
	testkit.NoError(t, err)
	if diff := cmp.Diff(SecondFactors{}, removed.SecondFactors); diff != "" {
		t.Errorf("after RemoveCredentials (-want +got):\n%s", diff)
	}

	testkit.NoError(t, s.BeginEnrolment(t.Context(), u.ID, Enrolment{ID: "late", Seed: "v1.x"}))
	_, err = s.AddFactor(t.Context(), removed, Factor{ID: "late", Kind: TOTP, Seed: "v1.x"}, []string{"code"})
	testkit.NoError(t, err)
	claimed, err := s.ClaimAccount(t.Context(), u.ID, u.Email, Profile{Name: "Ann"})
	if diff := cmp.Diff(SecondFactors{}, claimed.SecondFactors); err != nil || diff != "" {
		t.Errorf("after ClaimAccount: error %v (-want +got):\n%s", err, diff)
	}
}

// An older code is not accepted, even if it was never used.
func TestOlderStep(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	u := withFactor(t, s)
	for _, step := range []int64{2, 1} {
		if _, err := s.UseFactor(t.Context(), u, FactorUse{FactorID: "app", Step: step}); !errors.Is(err, ErrNotFound) {
			t.Errorf("step %d: got error %v, want ErrNotFound", step, err)
		}
	}
}

// A code that was checked before its app was disabled is not accepted after that.
func TestDisabledMeanwhile(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	u := withFactor(t, s)
	for range MaxFactorFailures {
		_, _, err := s.RecordFactorFailure(t.Context(), u)
		testkit.NoError(t, err)
	}
	if _, err := s.UseFactor(t.Context(), u, FactorUse{FactorID: "app", Step: 3}); !errors.Is(err, ErrNotFound) {
		t.Errorf("code: got error %v, want ErrNotFound", err)
	}
	_, err := s.UseFactor(t.Context(), u, FactorUse{RecoveryCode: "code"})
	testkit.NoError(t, err)
}
