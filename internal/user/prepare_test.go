package user

import (
	"errors"
	"testing"
	"time"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mongoconn"
	"latchkey/internal/testkit"
)

// newUnpreparedStore returns a store in which Prepare is required but has not run.
func newUnpreparedStore(t *testing.T) *Store {
	t.Helper()

	const timeout = time.Second // of the calls that wait in vain
	s := New(conntest.Mongo(t, mongoconn.Options{URI: storetest.Mongo(t), Timeout: timeout}), time.Now)
	s.RequirePreparation()

	return s
}

// Until stored emails are canonical, nobody can get the email of an account that another
// application has stored in another spelling.
func TestPrepare(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newUnpreparedStore(t)
	testkit.NoError(t, s.EnsureEmailIndex(ctx))
	insertWith(t, s, "Ann@Example.com", "lastLogin", nil)
	bob := insertWith(t, s, "bob@example.com", "lastLogin", nil)
	testkit.NoError(t, s.PutToken(ctx, bob, "bob@example.com", EmailChangeToken, OneTimeToken{Hash: "t", Email: "ann@example.com", Expires: time.Now().Add(time.Hour)}))

	stranger := User{Name: "Eve", Email: "ann@example.com", PasswordHash: "h"}
	for _, want := range []error{ErrUnavailable, ErrEmailTaken} {
		wantErr(t, "register", errorOf(s.Create(ctx, stranger)), want)
		wantErr(t, "change the email", errorOf(s.ChangeEmail(ctx, bob, "t", "ann@example.com", true)), want)
		if want == ErrUnavailable {
			wantErr(t, "ready", s.Ready(ctx), ErrUnavailable)
			testkit.NoError(t, errorOf(s.Prepare(ctx)))
			wantErr(t, "ready after Prepare", s.Ready(ctx), nil)
		}
	}

	testkit.NoError(t, errorOf(s.Prepare(ctx))) // again
}

// While an operator has to fix the index, nobody can register, but the other accounts work.
func TestPrepareBlocked(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newUnpreparedStore(t)
	for range 2 {
		insertWith(t, s, "twice@example.com", "lastLogin", nil)
	}

	var missing *IndexError
	if err := errorOf(s.Prepare(ctx)); !errors.As(err, &missing) {
		t.Errorf("prepare: got %v, want an IndexError", err)
	}
	wantErr(t, "ready", s.Ready(ctx), nil)
	wantErr(t, "register", errorOf(s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})), ErrUnavailable)
}
