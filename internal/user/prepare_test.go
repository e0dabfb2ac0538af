package user

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mongoconn"
	"latchkey/internal/testkit"
)

// newUnpreparedStore returns a store in which Prepare is required but has not run, and the same
// store with a short time limit, for calls that are expected to time out.
func newUnpreparedStore(t *testing.T) (s, impatient *Store) {
	t.Helper()

	uri := storetest.Mongo(t)
	s = New(conntest.Mongo(t, mongoconn.Options{URI: uri}), time.Now)
	s.RequirePreparation()

	impatient = New(conntest.Mongo(t, mongoconn.Options{URI: uri, Timeout: time.Second}), time.Now)
	impatient.preparation = s.preparation

	return s, impatient
}

// Until stored emails are canonical, nobody can get the email of an account that another
// application has stored in another spelling.
func TestPrepare(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, impatient := newUnpreparedStore(t)
	testkit.NoError(t, s.EnsureEmailIndex(ctx))
	insertWith(t, s, "Ann@Example.com", "lastLogin", nil)
	bob := insertWith(t, s, "bob@example.com", "lastLogin", nil)
	testkit.NoError(t, s.PutToken(ctx, bob, "bob@example.com", EmailChangeToken, OneTimeToken{Hash: "t", Email: "ann@example.com", Expires: time.Now().Add(time.Hour)}))
	stranger := User{Name: "Eve", Email: "ann@example.com", PasswordHash: "h"}

	wantErr(t, "register", errorOf(impatient.Create(ctx, stranger)), ErrUnavailable)
	wantErr(t, "change the email", errorOf(impatient.ChangeEmail(ctx, bob, "t", "ann@example.com", true)), ErrUnavailable)
	wantErr(t, "ready", impatient.Ready(ctx), ErrUnavailable)

	for range 2 { // also if it has succeeded before
		testkit.NoError(t, errorOf(s.Prepare(ctx)))
		wantErr(t, "register after Prepare", errorOf(s.Create(ctx, stranger)), ErrEmailTaken)
		wantErr(t, "change the email after Prepare", errorOf(s.ChangeEmail(ctx, bob, "t", "ann@example.com", true)), ErrEmailTaken)
		wantErr(t, "ready after Prepare", s.Ready(ctx), nil)
	}
}

// While an operator has to fix the index, nobody can register, but existing accounts work.
func TestPrepareBlocked(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := newUnpreparedStore(t)
	for range 2 {
		insertWith(t, s, "twice@example.com", "lastLogin", nil)
	}

	err := errorOf(s.Prepare(ctx))
	var missing *IndexError
	if !errors.As(err, &missing) || strings.Contains(err.Error(), "unavailable") {
		t.Errorf("prepare: got %v, want an IndexError with the cause", err)
	}
	wantErr(t, "prepare", err, ErrUnavailable)
	wantErr(t, "ready", s.Ready(ctx), nil)
	wantErr(t, "register", errorOf(s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})), ErrUnavailable)
}

// If MongoDB refuses to list the emails, existing accounts work. During an outage or a failover,
// servers are not ready, because it will end.
func TestNeedsOperator(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"success":    {nil, false},
		"no index":   {&IndexError{Err: errors.New("duplicate key")}, true},
		"refused":    {mongo.CommandError{Code: 13}, true},
		"failover":   {mongo.CommandError{Code: 10107, Labels: []string{"RetryableWriteError"}}, false},
		"outage":     {mongo.CommandError{Code: 6, Labels: []string{"NetworkError"}}, false},
		"no servers": {context.DeadlineExceeded, false},
	} {
		if got := needsOperator(mongoconn.Unavailable(tc.err)); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}
