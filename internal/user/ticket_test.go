package user

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A ticket is used once, and goes with every change of what it was made for.
func TestTickets(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	skew := time.Duration(0)
	s.now = func() time.Time { return time.Now().Add(skew) }
	var u User
	put := func(kind TicketKind, hash string, email Email) {
		t.Helper()
		if err := s.PutTicket(ctx, u.ID, u.Email, kind, Ticket{Hash: hash, Email: email, Expires: s.now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	use := map[TicketKind]func(hash string) error{
		ResetTicket:  func(hash string) error { _, err := s.ResetPassword(ctx, u.ID, hash, "h2"); return err },
		VerifyTicket: func(hash string) error { _, err := s.VerifyEmail(ctx, u.ID, hash); return err },
		ChangeTicket: func(hash string) error { _, err := s.ChangeEmail(ctx, u.ID, hash, "new@example.com"); return err },
	}
	for name, c := range map[string]struct {
		between func() error
		want    map[TicketKind]bool // good afterwards
	}{
		"nothing":             {func() error { return nil }, map[TicketKind]bool{ResetTicket: true, VerifyTicket: true, ChangeTicket: true}},
		"a change of name":    {func() error { _, err := s.Rename(ctx, u.ID, "Bob"); return err }, map[TicketKind]bool{ResetTicket: true, VerifyTicket: true, ChangeTicket: true}},
		"a better hash":       {func() error { return s.ReplaceHash(ctx, u.ID, "h", "better") }, map[TicketKind]bool{ResetTicket: true, VerifyTicket: true, ChangeTicket: true}},
		"time":                {func() error { skew = time.Minute; return nil }, nil},
		"a change of pass":    {func() error { _, err := s.ChangePassword(ctx, u.ID, "h", "h3"); return err }, nil},
		"an operator's":       {func() error { _, err := s.SetPassword(ctx, u.ID, "h3"); return err }, nil},
		"a reset":             {func() error { return use[ResetTicket]("reset1") }, nil},
		"a change of address": {func() error { return use[ChangeTicket]("change1") }, nil},
		"its verification":    {func() error { return use[VerifyTicket]("verify1") }, map[TicketKind]bool{ResetTicket: true, ChangeTicket: true}},
		"being disabled":      {func() error { _, err := s.SetActive(ctx, u.ID, false); return err }, nil},
		"being deleted":       {func() error { return s.Delete(ctx, u.ID) }, nil},
		"newer ones": {func() error {
			for kind := range use {
				put(kind, string(kind)+"2", "new@example.com")
			}
			return nil
		}, nil},
	} {
		for kind := range use {
			skew = 0
			var err error
			if u, err = s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"}); err != nil {
				t.Fatal(err)
			}
			for other := range use {
				put(other, string(other)+"1", "new@example.com")
			}
			if err := c.between(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			hash := string(kind) + "1"
			_, _, looked := s.ByTicket(ctx, u.ID, kind, hash)
			used := use[kind](hash)
			if good := used == nil; good != c.want[kind] || good != (looked == nil) {
				t.Errorf("after %s a %s ticket: looked up %v, used %v; want good %v", name, kind, looked, used, c.want[kind])
			}
			if again := use[kind](hash); !errors.Is(again, ErrNotFound) && !errors.Is(again, ErrEmailTaken) {
				t.Errorf("after %s a %s ticket is used twice: %v", name, kind, again)
			}
			if err := s.Delete(ctx, u.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What a ticket does, and that one of another kind or account does not.
func TestTicketEffects(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	ann, err := s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	if err != nil {
		t.Fatal(err)
	}
	eve, err := s.Create(ctx, User{Name: "Eve", Email: "eve@example.com", PasswordHash: "h"})
	if err != nil {
		t.Fatal(err)
	}
	ticket := Ticket{Hash: "x", Email: "eve@example.com", Expires: time.Now().Add(time.Minute)}
	for _, kind := range []TicketKind{VerifyTicket, ChangeTicket} {
		if err := s.PutTicket(ctx, ann.ID, ann.Email, kind, ticket); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.ResetPassword(ctx, ann.ID, "x", "h2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a verify ticket resets a password: %v", err)
	}
	if _, err := s.VerifyEmail(ctx, eve.ID, "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Ann's ticket verifies Eve: %v", err)
	}
	if _, email, err := s.ByTicket(ctx, ann.ID, ChangeTicket, "x"); err != nil || email != "eve@example.com" {
		t.Errorf("the ticket is for %q, %v", email, err)
	}
	if _, err := s.ChangeEmail(ctx, ann.ID, "x", "eve@example.com"); !errors.Is(err, ErrEmailTaken) {
		t.Errorf("two accounts of one address: %v", err)
	}
	if err := s.PutTicket(ctx, ann.ID, "old@example.com", ResetTicket, ticket); !errors.Is(err, ErrNotFound) {
		t.Errorf("a ticket for an address that is no longer the account's: %v", err)
	}
	if u, err := s.VerifyEmail(ctx, ann.ID, "x"); err != nil || !u.EmailVerified || u.PasswordHash != "h" {
		t.Errorf("verified: %+v, %v", u, err)
	}
	if err := s.PutTicket(ctx, eve.ID, eve.Email, ResetTicket, ticket); err != nil {
		t.Fatal(err)
	}
	if u, err := s.ResetPassword(ctx, eve.ID, "x", "h2"); err != nil || u.PasswordHash != "h2" || !u.EmailVerified {
		t.Errorf("reset: %+v, %v", u, err)
	}
}
