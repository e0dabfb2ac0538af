package auth

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/user"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// An unknown address costs as much as a wrong password, and a client that goes
// away does not leave a login half recorded.
func TestLoginWork(t *testing.T) {
	t.Parallel()
	users := user.New(storetest.Database(t, storetest.Mongo(t)), time.Now)
	s := New(users, Options{Cost: 4, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	compared := 0
	s.hasher.compare = func(hash, password []byte) error {
		compared++
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	ctx := context.Background()
	if _, err := s.Register(gone, "Ann", "ann@example.com", "password"); !errors.Is(err, context.Canceled) || s.Hashes() != 0 {
		t.Errorf("work for who has gone away: %v, %d hashes", err, s.Hashes())
	}
	ann, err := s.Register(ctx, "Ann", "ann@example.com", "password")
	if err != nil {
		t.Fatal(err)
	}
	for _, email := range []user.Email{"ann@example.com", "nobody@example.com"} {
		compared = 0
		candidate, err := s.Candidate(gone, email)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Login(ctx, candidate, "wrong"); !errors.Is(err, ErrBadCredentials) || compared != 1 {
			t.Errorf("%s: %v after %d comparisons", email, err, compared)
		}
	}
	if u, err := s.RecordLogin(gone, ann); err != nil || u.LastLogin.IsZero() {
		t.Errorf("record: %+v, %v", u, err)
	}
	if _, err := users.SetActive(gone, ann.ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RecordLogin(gone, ann); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("a login of an account that was disabled meanwhile: %v", err)
	}
	if err := s.Unregister(gone, ann.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := users.ByID(gone, ann.ID); !errors.Is(err, user.ErrNotFound) {
		t.Errorf("after Unregister: %v", err)
	}
}
