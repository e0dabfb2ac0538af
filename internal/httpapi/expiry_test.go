package httpapi_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/testkit"
)

const unverifiedMaxAge = 72 * time.Hour

// expire deletes the accounts whose email was not verified in time, and returns their IDs.
func expire(s *apitest.Server) []string {
	s.T.Helper()

	var deleted []string
	err := s.Auth.ExpireUnverified(s.T.Context(), unverifiedMaxAge, func(id string, _ int) { deleted = append(deleted, id) })
	testkit.NoError(s.T, err)

	return deleted
}

// Accounts whose email was not verified in time are deleted with all that belongs to them. All others stay.
func TestUnverifiedAccountsExpire(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	old := e.CreateUser("old@example.com")
	e.linkWith(signInTo(e.Server, "old@example.com"), "acme", ann, "")
	verified := e.CreateUser("verified@example.com")
	e.MarkEmailVerified("verified@example.com")
	disabled := e.CreateUser("disabled@example.com")
	_, err := e.Users.SetActive(t.Context(), disabled.ID, false)
	testkit.NoError(t, err)

	if deleted := expire(e.Server); len(deleted) > 0 {
		t.Errorf("deleted before they expire: got %v, want none", deleted)
	}

	e.Advance(unverifiedMaxAge + time.Second)
	sessions := []*apitest.Client{signInTo(e.Server, "old@example.com"), signInTo(e.Server, "verified@example.com")}
	young := e.CreateUser("young@example.com")
	n, err := e.Auth.CountUnverified(t.Context(), unverifiedMaxAge)
	testkit.NoError(t, err)
	if n != 1 {
		t.Errorf("announced: got %d accounts, want 1", n)
	}

	if deleted := expire(e.Server); !slices.Equal(deleted, []string{old.ID}) {
		t.Errorf("deleted: got %v, want %s", deleted, old.ID)
	}
	if deleted := expire(e.Server); len(deleted) > 0 {
		t.Errorf("deleted again: got %v, want none", deleted)
	}

	for _, id := range []string{verified.ID, disabled.ID, young.ID} {
		if _, err := e.Users.ByID(t.Context(), id); err != nil {
			t.Errorf("account that must stay: got error %v", err)
		}
	}
	e.wantCounts(3, 0)
	sessions[0].WantReason("account_deleted")
	sessions[1].Do("GET", "/auth/session", nil).Want(200)

	e.Register("old@example.com") // the email is free again
}

func signInTo(s *apitest.Server, email string) *apitest.Client {
	s.T.Helper()

	c := s.NewClient()
	if !c.Login(email, apitest.Password) {
		s.T.Fatal("cannot log in")
	}

	return c
}

// A deletion that was interrupted after its first step continues.
func TestExpiryContinues(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	s.Advance(unverifiedMaxAge + time.Second)
	testkit.NoError(t, s.Users.BeginExpiry(t.Context(), u.ID, s.Now().Add(-unverifiedMaxAge)))
	if s.NewClient().Login("ann@example.com", apitest.Password) {
		t.Error("login to an account that is being deleted succeeded")
	}

	if deleted := expire(s); !slices.Equal(deleted, []string{u.ID}) {
		t.Errorf("deleted: got %v, want %s", deleted, u.ID)
	}
}

// An account that is verified while several servers delete expired accounts either stays, with its sessions,
// or is gone, and then the link does not work. One server reports the deletion.
func TestExpiryRace(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	second := apitest.New(t, apitest.Options{StoresOf: s})
	gone := 0
	for range 20 {
		ann := s.Register("ann@example.com")
		id := s.Account("ann@example.com").ID
		token := s.Outbox.Token(t, "ann@example.com", "verify-email")
		past := bson.D{{Key: "$set", Value: bson.D{{Key: "createdAt", Value: s.Now().Add(-unverifiedMaxAge - time.Second)}}}}
		_, err := s.Database().Collection("users").UpdateMany(t.Context(), bson.D{}, past)
		testkit.NoError(t, err)

		var mu sync.Mutex
		deletions := 0
		statuses := testkit.Concurrently(3, func(i int) int {
			if i == 0 {
				return s.NewClient().Do("POST", "/auth/email/verify", map[string]any{"token": token}).Status
			}

			services := []*auth.Service{s.Auth, second.Auth}
			err := services[i-1].ExpireUnverified(t.Context(), unverifiedMaxAge, func(string, int) {
				mu.Lock()
				defer mu.Unlock()
				deletions++
			})
			if err != nil {
				t.Error(err)
			}

			return 0
		})

		want := http.StatusOK
		if statuses[0] != http.StatusOK {
			want = http.StatusUnauthorized
			gone++
		}
		if got := ann.Do("GET", "/auth/me", nil).Status; got != want {
			t.Fatalf("session after the verification got %d: got %d, want %d", statuses[0], got, want)
		}
		if wantDeletions := map[int]int{http.StatusOK: 0, http.StatusUnauthorized: 1}[want]; deletions != wantDeletions {
			t.Fatalf("deletions after the verification got %d: got %d, want %d", statuses[0], deletions, wantDeletions)
		}

		s.DeleteAccount(id)
		s.ResetLimits()
	}
	t.Logf("%d of 20 accounts were deleted", gone)
}

// An operator who disables or enables an account stops its deletion. If a disabled account were deleted,
// its user could register again.
func TestExpiryKeepsDisabledAccounts(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	begin := func(email string) (id string) {
		u := s.CreateUser(email)
		past := bson.D{{Key: "$set", Value: bson.D{{Key: "createdAt", Value: s.Now().Add(-unverifiedMaxAge - time.Second)}}}}
		_, err := s.Database().Collection("users").UpdateMany(t.Context(), bson.D{}, past)
		testkit.NoError(t, err)
		testkit.NoError(t, s.Users.BeginExpiry(t.Context(), u.ID, s.Now().Add(-unverifiedMaxAge)))

		return u.ID
	}

	disabled := begin("disabled@example.com")
	_, err := s.Users.SetActive(t.Context(), disabled, false)
	testkit.NoError(t, err)

	later := begin("later@example.com")
	for _, active := range []bool{true, false} {
		_, err := s.Users.SetActive(t.Context(), later, active)
		testkit.NoError(t, err)
	}

	if deleted := expire(s); len(deleted) > 0 {
		t.Errorf("deleted: got %v, want none of the disabled accounts", deleted)
	}
}

// An account that an operator verifies while it is being deleted stays, and its user can log in.
func TestExpiryOfVerifiedAccount(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	s.Advance(unverifiedMaxAge + time.Second)
	testkit.NoError(t, s.Users.BeginExpiry(t.Context(), u.ID, s.Now().Add(-unverifiedMaxAge)))

	verified, err := s.Users.MarkVerified(t.Context(), u.ID, u.Email)
	testkit.NoError(t, err)
	if !verified.Active || !verified.EmailVerified {
		t.Errorf("got active %v and verified %v, want both", verified.Active, verified.EmailVerified)
	}
	if deleted := expire(s); len(deleted) > 0 {
		t.Errorf("deleted: got %v, want none", deleted)
	}
	signInTo(s, "ann@example.com")
}
