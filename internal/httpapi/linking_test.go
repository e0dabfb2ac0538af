package httpapi

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// linkCase is someone who comes from a provider for the first time, and an account that
// is there already.
type linkCase struct {
	before   func(e *elsewhere, owner *client) // what was done to the account of owner
	provider string                            // acme unless it says otherwise
	comes    person
	want     string // the error, or "" for a session
	// account is where the session is: "the one" that was there, or "another".
	account string
	// keeps says that the owner's session and password of before still work.
	keeps bool
	// linked are the providers of the account that was there, afterwards.
	linked []string
}

// Whether someone who comes from a provider gets into an account that is there already is
// decided by who has confirmed which address, and by nothing else (OWASP ASVS 5.0 6.8.1,
// 10.5.2).
var linkCases = map[string]linkCase{
	"both confirmed": {
		before: confirmed,
		comes:  ann, account: "the one", keeps: true, linked: []string{"acme"},
	},
	"both confirmed, written otherwise": {
		before: confirmed,
		comes:  person{sub: "ann", email: "ANN@Gmail.COM"}, account: "the one", keeps: true, linked: []string{"acme"},
	},
	"only the provider": {
		comes: ann, account: "the one", linked: []string{"acme"},
	},
	"only the account": {
		before: confirmed,
		comes:  person{sub: "ann", email: "ann@gmail.com", unverified: true}, want: "link_required", keeps: true,
	},
	"neither": {
		comes: person{sub: "ann", email: "ann@gmail.com", unverified: true}, want: "link_required", keeps: true,
	},
	"confirmed by a text": {
		before: confirmed,
		comes:  person{sub: "ann", email: "ann@gmail.com", more: map[string]any{"email_verified": "true"}}, account: "the one", keeps: true, linked: []string{"acme"},
	},
	"not confirmed by a text": {
		before: confirmed,
		comes:  person{sub: "ann", email: "ann@gmail.com", more: map[string]any{"email_verified": "false"}}, want: "link_required", keeps: true,
	},
	"not said whether it is confirmed": {
		before: confirmed,
		comes:  person{sub: "ann", email: "ann@gmail.com", more: map[string]any{"email_verified": nil}}, want: "link_required", keeps: true,
	},
	"another address": {
		before: confirmed,
		comes:  person{sub: "ann", email: "ann@example.org"}, account: "another", keeps: true,
	},
	"another address, not confirmed": {
		before: confirmed,
		comes:  person{sub: "ann", email: "ann@example.org", unverified: true}, account: "another", keeps: true,
	},
	"no address": {
		before: confirmed,
		comes:  person{sub: "ann"}, want: "email_missing", keeps: true,
	},
	"an address that is none": {
		before: confirmed,
		comes:  person{sub: "ann", email: "ann@gmail.com@example.com"}, want: "email_missing", keeps: true,
	},
	"the id of the account as subject": {
		before: confirmed,
		comes:  person{sub: testUser, email: "eve@example.org"}, account: "another", keeps: true,
	},
	"google, of an address that it answers for": {
		before: confirmed, provider: "google",
		comes: ann, account: "the one", keeps: true, linked: []string{"google"},
	},
	"google, of another, whose owner may have changed": {
		before: func(e *elsewhere, owner *client) {
			confirmed(e, owner)
			e.rename("ann@gmail.com", "ann@example.org")
		},
		provider: "google", comes: person{sub: "ann", email: "ann@example.org"}, want: "link_required", keeps: true,
	},
	"google, of a customer's domain": {
		before: func(e *elsewhere, owner *client) {
			confirmed(e, owner)
			e.rename("ann@gmail.com", "ann@example.org")
		},
		provider: "google", comes: person{sub: "ann", email: "ann@example.org", more: map[string]any{"hd": "example.org"}},
		account: "the one", keeps: true, linked: []string{"google"},
	},
	"github": {
		before: confirmed, provider: "github",
		comes: ann, account: "the one", keeps: true, linked: []string{"github"},
	},
	"github, not confirmed": {
		before: confirmed, provider: "github",
		comes: person{sub: "ann", email: "ann@gmail.com", unverified: true}, want: "link_required", keeps: true,
	},
	"a second provider": {
		before: func(e *elsewhere, owner *client) {
			confirmed(e, owner)
			e.signInWith(e.client(), "google", ann, "")
		},
		comes: ann, account: "the one", keeps: true, linked: []string{"google", "acme"},
	},
	"the address has another owner at the provider": {
		before: func(e *elsewhere, owner *client) {
			confirmed(e, owner)
			e.signInWith(e.client(), "acme", ann, "")
		},
		comes: person{sub: "someone else", email: "ann@gmail.com"}, want: "link_required", keeps: true, linked: []string{"acme"},
	},
	"the address of a linked account is another there now": {
		before: func(e *elsewhere, owner *client) {
			confirmed(e, owner)
			e.signInWith(e.client(), "acme", ann, "")
		},
		comes: person{sub: "ann", email: "other@example.org"}, account: "the one", keeps: true, linked: []string{"acme"},
	},
	"a linked account comes without an address": {
		before: func(e *elsewhere, owner *client) {
			confirmed(e, owner)
			e.signInWith(e.client(), "acme", ann, "")
		},
		comes: person{sub: "ann"}, account: "the one", keeps: true, linked: []string{"acme"},
	},
	"a disabled account": {
		before: func(e *elsewhere, owner *client) {
			confirmed(e, owner)
			e.disable()
		},
		comes: ann, want: "account_disabled",
	},
	"a disabled account that was never confirmed": {
		before: func(e *elsewhere, _ *client) { e.disable() },
		comes:  ann, want: "account_disabled",
	},
	"a disabled account that is linked": {
		before: func(e *elsewhere, owner *client) {
			confirmed(e, owner)
			e.signInWith(e.client(), "acme", ann, "")
			e.disable()
		},
		comes: ann, want: "account_disabled", linked: []string{"acme"},
	},
	"an account that was waited in, linked to something else": {
		before: func(e *elsewhere, owner *client) {
			owner.do("POST", "/auth/identities/google", map[string]any{}).want(200)
			e.linkWith(owner, "google", person{sub: "eve", email: "eve@gmail.com"}, "")
		},
		comes: ann, account: "the one", linked: []string{"acme"},
	},
}

func confirmed(e *elsewhere, _ *client) { e.confirm("ann@gmail.com") }

// rename gives an account another address, past everything.
func (e *elsewhere) rename(from, to string) {
	e.t.Helper()
	_, err := e.database().Collection("users").UpdateOne(e.t.Context(), bson.D{{Key: "email", Value: from}}, bson.D{{Key: "$set", Value: bson.D{{Key: "email", Value: to}}}})
	if err != nil {
		e.t.Fatal(err)
	}
}

// disable does what an operator does.
func (e *elsewhere) disable() {
	e.t.Helper()
	id := e.account("ann@gmail.com").ID
	if _, err := e.users.SetActive(e.t.Context(), id, false); err != nil {
		e.t.Fatal(err)
	}
	if _, err := e.sessions.RevokeAll(e.t.Context(), id, "", session.AccountDisabled); err != nil {
		e.t.Fatal(err)
	}
}

func TestLinking(t *testing.T) {
	t.Parallel()
	for name, c := range linkCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newElsewhere(t)
			owner := e.register("ann@gmail.com")
			the := e.account("ann@gmail.com")
			if c.before != nil {
				c.before(e, owner)
			}
			if c.provider == "" {
				c.provider = "acme"
			}
			newcomer := e.client()
			e.signInWith(newcomer, c.provider, c.comes, c.want)

			a := newcomer.do("GET", "/auth/me", nil)
			switch {
			case c.want != "":
				a.want(401)
			case (a.want(200).text("user", "id") == the.ID) != (c.account == "the one"):
				t.Errorf("in %s", a.raw)
			}
			if lives := owner.do("GET", "/auth/session", nil).status == 200; lives != c.keeps {
				t.Errorf("the session of before lives: %v", lives)
			}
			if knows := e.proves(the.ID, testPassword); knows != c.keeps {
				t.Errorf("the password of before works: %v", knows)
			}
			all, err := e.users.Identities(t.Context(), the.ID)
			if err != nil {
				t.Fatal(err)
			}
			var linked []string
			for _, i := range all {
				linked = append(linked, i.Provider)
			}
			if diff := cmp.Diff(c.linked, linked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An address is the name of nobody: one subject at two issuers is two people.
func TestSubjectsOfIssuers(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	one, other := e.client(), e.client()
	e.signInWith(one, "acme", person{sub: "1", email: "one@example.com"}, "")
	e.signInWith(other, "google", person{sub: "1", email: "other@gmail.com"}, "")
	if a, b := one.do("GET", "/auth/me", nil).text("user", "id"), other.do("GET", "/auth/me", nil).text("user", "id"); a == b || a == "" {
		t.Errorf("%q and %q", a, b)
	}
}

// What someone has prepared in an account that they made with another's address is worth
// nothing to them once its owner comes.
func TestClaimedAccount(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, setup{mail: &outbox{}})
	eve := e.register("ann@gmail.com")
	elsewhere := e.client()
	if !elsewhere.login("ann@gmail.com", testPassword) {
		t.Fatal("login")
	}
	e.outbox.token(t, "ann@gmail.com", "verify-email")
	eve.do("POST", "/auth/email/change", map[string]any{"email": "eve@example.org"}).want(202)
	change := e.outbox.token(t, "eve@example.org", "verify-email")
	e.linkWith(eve, "google", person{sub: "eve", email: "eve@gmail.com"}, "")
	waiting := eve.clone()
	address := waiting.do("POST", "/auth/identities/github", map[string]any{}).want(200).text("url")
	prepared := e.atProvider("github", address, person{sub: "eve", email: "eve@example.org"})
	eve.do("PUT", "/profile", map[string]any{"name": "<Eve was here>"}).want(200)

	owner := e.client()
	e.signInWith(owner, "acme", ann, "")
	me := owner.do("GET", "/auth/me", nil).want(200)
	if me.text("user", "name") != "Ann A." || me.body["user"].(map[string]any)["emailVerified"] != true {
		t.Errorf("%s", me.raw)
	}
	for _, c := range []*client{eve, elsewhere} {
		c.wantReason(session.Revoked)
	}
	if e.client().login("ann@gmail.com", testPassword) {
		t.Error("the password works")
	}
	e.comeBack(waiting, prepared, "not_authenticated")
	e.client().do("POST", "/auth/email/verify", map[string]any{"token": change}).wantCode(400, "invalid_token")
	e.signInWith(e.client(), "google", person{sub: "eve", email: "ann@gmail.com", unverified: true}, "link_required")
	if linked, hasPassword := owner.identities(); !slices.Equal(linked, []string{"acme"}) || hasPassword {
		t.Errorf("%v, password %v", linked, hasPassword)
	}
	if told(e.drain(), "ann@gmail.com", "Your Latchkey account is yours now") != 1 {
		t.Error("the owner was not told")
	}
	if got := owner.do("GET", "/auth/session", nil).want(200).text("userId"); got != e.account("ann@gmail.com").ID {
		t.Errorf("in %s", got)
	}
}

// However an intruder's requests and the owner's arrival fall together, the intruder is
// out afterwards and the owner is in.
func TestRaceClaim(t *testing.T) {
	e := newElsewhere(t)
	eachRound(t, func(_ int, judged func([]answer) bool) {
		eve := e.register("ann@gmail.com")
		linking := eve.clone()
		address := linking.do("POST", "/auth/identities/google", map[string]any{}).want(200).text("url")
		callback := e.atProvider("google", address, person{sub: "eve", email: "eve@gmail.com"})
		owner := e.client()
		arrival := e.atProvider("acme", e.leave(owner, "acme", ""), ann)

		logins := []*client{e.client(), e.client(), e.client()}
		var group sync.WaitGroup
		group.Go(func() { linking.do("GET", callback, nil) })
		group.Go(func() { eve.do("POST", "/auth/rotate-session", nil) })
		var arrived answer
		group.Go(func() { arrived = owner.do("GET", arrival, nil) })
		for _, c := range logins {
			group.Go(func() {
				c.do("POST", "/auth/login", map[string]any{"email": "ann@gmail.com", "password": testPassword})
			})
		}
		group.Wait()
		defer e.removeAnn()
		if !judged([]answer{arrived}) {
			return
		}
		owner.do("GET", "/auth/session", nil).want(200)
		for i, c := range append(logins, eve, linking) {
			if a := c.do("GET", "/auth/session", nil); a.status != 401 {
				t.Fatalf("intruder %d: %s", i, a.raw)
			}
		}
		if linked, hasPassword := owner.identities(); !slices.Equal(linked, []string{"acme"}) || hasPassword {
			t.Fatalf("%v, password %v", linked, hasPassword)
		}
	})
}

// Who is signed in adds another way in, and only who is.
func TestLinkFromInside(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, setup{mail: &outbox{}})
	owner := e.register("ann@gmail.com")
	id := e.account("ann@gmail.com").ID
	work := person{sub: "at work", email: "ann@example.org", unverified: true}

	before := owner.token
	e.linkWith(owner, "acme", work, "")
	if owner.token != before {
		t.Error("the session has another token")
	}
	e.linkWith(owner, "acme", work, "") // again
	if told(e.drain(), "ann@gmail.com", "A way to sign in was added to your Latchkey account") != 1 {
		t.Error("the owner was not told, or twice")
	}
	in := e.client()
	e.signInWith(in, "acme", work, "")
	if got := in.do("GET", "/auth/me", nil).want(200).text("user", "id"); got != id {
		t.Errorf("in %s", got)
	}
	if me := in.do("GET", "/auth/me", nil); me.text("user", "email") != "ann@gmail.com" {
		t.Errorf("%s", me.raw)
	}

	other := e.register("bob@example.com")
	e.linkWith(other, "acme", work, "identity_taken")
	e.linkWith(owner, "acme", person{sub: "a second one", email: "ann2@example.org"}, "already_linked")
	owner.do("POST", "/auth/identities/nowhere", map[string]any{}).wantCode(404, "not_found")
	owner.do("POST", "/auth/identities/google", map[string]any{"returnTo": "https://evil.example/"}).wantCode(400, "validation_failed")
	if linked, _ := other.identities(); len(linked) > 0 {
		t.Errorf("the other one has %v", linked)
	}

	e.advance(testFresh + time.Minute)
	owner.do("POST", "/auth/identities/google", map[string]any{}).wantCode(403, "step_up_required")
	owner.do("DELETE", "/auth/identities/acme", nil).wantCode(403, "step_up_required")
	owner.do("POST", "/auth/password/set", map[string]any{"newPassword": newPassword}).wantCode(403, "step_up_required")
	e.client().do("POST", "/auth/identities/google", map[string]any{}).wantCode(401, "not_authenticated")
}

// A link is made for the session that has asked for it: it lives on under another token,
// but not in other hands.
func TestLinkNeedsItsSession(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(e *elsewhere, c *client)
		want      string
	}{
		"nothing":       {func(*elsewhere, *client) {}, ""},
		"rotated":       {func(_ *elsewhere, c *client) { c.do("POST", "/auth/rotate-session", nil).want(200) }, ""},
		"no cookie":     {func(_ *elsewhere, c *client) { c.token = "" }, ""}, // SameSite=Strict
		"logged out":    {func(_ *elsewhere, c *client) { c.do("POST", "/auth/logout", nil).want(200) }, "not_authenticated"},
		"ended":         {func(_ *elsewhere, c *client) { c.clone().do("DELETE", "/auth/sessions?scope=all", nil).want(200) }, "not_authenticated"},
		"another login": {func(_ *elsewhere, c *client) { c.login("ann@gmail.com", testPassword) }, ""},
		"someone else": {func(e *elsewhere, c *client) {
			e.register("bob@example.com")
			if !c.login("bob@example.com", testPassword) {
				e.t.Fatal("login")
			}
		}, "not_authenticated"},
		"password changed elsewhere": {func(e *elsewhere, _ *client) {
			other := e.client()
			other.login("ann@gmail.com", testPassword)
			other.do("POST", "/auth/password/change", map[string]any{"currentPassword": testPassword, "newPassword": newPassword}).want(200)
		}, "not_authenticated"},
		"disabled":       {func(e *elsewhere, _ *client) { e.disable() }, "not_authenticated"},
		"deleted":        {func(_ *elsewhere, c *client) { c.clone().do("DELETE", "/profile", nil).want(204) }, "not_authenticated"},
		"only the store": {func(e *elsewhere, _ *client) { e.remove(e.account("ann@gmail.com").ID) }, "not_authenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newElsewhere(t)
			owner := e.register("ann@gmail.com")
			address := owner.do("POST", "/auth/identities/acme", map[string]any{}).want(200).text("url")
			callback := e.atProvider("acme", address, person{sub: "at work", email: "ann@example.org"})
			c.meanwhile(e, owner)
			in := owner.clone().do("GET", "/auth/session", nil).status
			e.comeBack(owner, callback, c.want)
			if now := owner.do("GET", "/auth/session", nil).status; now != in {
				t.Errorf("the browser's own session: %d, and %d before", now, in)
			}
			if _, identities := e.count(); (identities == 1) != (c.want == "") {
				t.Errorf("%d identities", identities)
			}
		})
	}
}

// Nobody is left without a way in, and who takes one away ends what it has begun.
func TestUnlink(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, setup{mail: &outbox{}})
	c := e.client()
	e.signInWith(c, "acme", ann, "")
	c.do("DELETE", "/auth/identities/acme", nil).wantCode(409, "last_login_method")
	c.do("DELETE", "/auth/identities/google", nil).wantCode(404, "not_found")
	e.signInWith(e.client(), "acme", ann, "") // still

	e.linkWith(c, "google", ann, "")
	by := e.client()
	e.signInWith(by, "google", ann, "")
	c.do("DELETE", "/auth/identities/google", nil).want(204)
	by.wantReason(session.Revoked)
	c.do("GET", "/auth/session", nil).want(200)
	c.do("DELETE", "/auth/identities/google", nil).wantCode(404, "not_found")
	if linked, _ := c.identities(); !slices.Equal(linked, []string{"acme"}) {
		t.Errorf("%v", linked)
	}

	c.do("POST", "/auth/password/change", map[string]any{"currentPassword": testPassword, "newPassword": newPassword}).wantCode(409, "no_password")
	weak := c.do("POST", "/auth/password/set", map[string]any{"newPassword": "short"})
	weak.want(400)
	before := c.clone()
	c.do("POST", "/auth/password/set", map[string]any{"newPassword": newPassword}).want(200)
	before.do("GET", "/auth/session", nil).want(401)
	c.do("POST", "/auth/password/set", map[string]any{"newPassword": newPassword}).wantCode(409, "password_exists")
	c.do("DELETE", "/auth/identities/acme", nil).want(204)
	if !e.client().login("ann@gmail.com", newPassword) {
		t.Error("the password does not work")
	}
	// What its owner has removed does not come back by itself, whatever its address: whoever
	// has it now may not be the owner.
	e.signInWith(e.client(), "acme", ann, "link_required")
	if !c.login("ann@gmail.com", newPassword) {
		t.Fatal("login")
	}
	e.linkWith(c, "acme", ann, "")
	e.signInWith(e.client(), "acme", ann, "")
	c.do("DELETE", "/auth/identities/acme", nil).want(204)
	sent := e.drain()
	for subject, want := range map[string]int{
		"A way to sign in was added to your Latchkey account": 2, "A way to sign in was removed from your Latchkey account": 3,
		"Your Latchkey password was changed": 1,
	} {
		if n := told(sent, "ann@gmail.com", subject); n != want {
			t.Errorf("%d mails %q", n, subject)
		}
	}
}

// A reset by mail gives an account back to who reads its mail: all other ways in are
// closed, those of whoever made it in advance above all.
func TestResetUnlinks(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, setup{mail: &outbox{}})
	eve := e.register("ann@gmail.com")
	thief := person{sub: "eve", email: "eve@gmail.com"}
	e.linkWith(eve, "google", thief, "")
	e.client().do("POST", "/auth/password/forgot", map[string]any{"email": "ann@gmail.com"}).want(202)
	token := e.outbox.token(t, "ann@gmail.com", "reset-password")
	e.client().do("POST", "/auth/password/reset", map[string]any{"token": token, "password": newPassword}).want(200)
	eve.wantReason(session.PasswordChanged)
	in := e.client()
	e.signInWith(in, "google", thief, "")
	owner := e.client()
	if !owner.login("ann@gmail.com", newPassword) {
		t.Fatal("login")
	}
	if a, b := in.do("GET", "/auth/me", nil).text("user", "id"), owner.do("GET", "/auth/me", nil).text("user", "id"); a == b {
		t.Error("who made the account is in it")
	}
}

// A claim that breaks off, wherever, lets nobody in and is begun anew.
func TestClaimBreaksOff(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 3; at++ {
		e := newElsewhere(t)
		eve := e.register("ann@gmail.com")
		e.linkWith(eve, "google", person{sub: "eve", email: "eve@gmail.com"}, "")
		claims := user.Claims{Provider: "acme", Issuer: e.issuers["acme"].URL, Subject: "ann", Email: "ann@gmail.com", EmailVerified: true}
		calls := 0
		_, _, err := e.auth.Enter(t.Context(), claims, auth.Origin{}, func(ctx context.Context, id string) error {
			if calls++; calls == at {
				return session.ErrUnavailable
			}
			_, err := e.sessions.RevokeAll(ctx, id, "", session.Revoked)
			return err
		}, func() error { return nil })
		if !errors.Is(err, session.ErrUnavailable) {
			t.Fatalf("end %d: %v", at, err)
		}
		if u := e.account("ann@gmail.com"); u.EmailVerified {
			t.Errorf("end %d: the account is confirmed", at)
		}
		owner := e.client()
		e.signInWith(owner, "acme", ann, "")
		if linked, hasPassword := owner.identities(); !slices.Equal(linked, []string{"acme"}) || hasPassword {
			t.Errorf("end %d: %v, password %v", at, linked, hasPassword)
		}
		eve.do("GET", "/auth/session", nil).want(401)
	}
}

// An account that was made for someone who signs in elsewhere, and was never linked since
// that broke off, keeps nobody out.
func TestHalfMadeAccount(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	if _, err := e.users.Create(t.Context(), user.User{Name: "Ann", Email: "ann@example.org"}); err != nil {
		t.Fatal(err)
	}
	p := person{sub: "ann", email: "ann@example.org", unverified: true}
	e.signInWith(e.client(), "acme", p, "user_store_unavailable") // it may be under way
	e.advance(2 * time.Minute)
	c := e.client()
	e.signInWith(c, "acme", p, "")
	if linked, _ := c.identities(); !slices.Equal(linked, []string{"acme"}) {
		t.Errorf("%v", linked)
	}
	if accounts, _ := e.count(); accounts != 1 {
		t.Errorf("%d accounts", accounts)
	}
}

// Providers that are not configured any more are no way to log in.
func TestUnlinkWhatIsLeft(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	c := e.client()
	e.signInWith(c, "acme", ann, "")
	gone := user.Claims{Provider: "gone", Issuer: "https://gone.example", Subject: "ann"}
	proposal, _, err := e.users.Propose(t.Context(), e.account("ann@gmail.com").ID, gone)
	if err == nil {
		err = e.users.Confirm(t.Context(), proposal)
	}
	if err != nil {
		t.Fatal(err)
	}
	other := e.client()
	e.signInWith(other, "acme", ann, "")
	c.do("DELETE", "/auth/identities/acme", nil).wantCode(409, "last_login_method")
	other.do("GET", "/auth/session", nil).want(200) // nobody is signed out for it
	c.do("DELETE", "/auth/identities/gone", nil).want(204)
}

// Who has no password can have one by mail as well.
func TestResetWithoutPassword(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, setup{mail: &outbox{}})
	c := e.client()
	e.signInWith(c, "acme", ann, "")
	e.client().do("POST", "/auth/password/forgot", map[string]any{"email": "ann@gmail.com"}).want(202)
	token := e.outbox.token(t, "ann@gmail.com", "reset-password")
	e.client().do("POST", "/auth/password/reset", map[string]any{"token": token, "password": newPassword}).want(200)
	c.wantReason(session.PasswordChanged)
	if !c.login("ann@gmail.com", newPassword) {
		t.Error("the password does not work")
	}
	e.signInWith(c, "acme", ann, "")
}

// A sign-in that an address has not confirmed gets a mail to do so.
func TestUnverifiedSignIn(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, setup{mail: &outbox{}})
	c := e.client()
	e.signInWith(c, "acme", person{sub: "ann", email: "ann@example.org", unverified: true}, "")
	if me := c.do("GET", "/auth/me", nil).want(200); me.body["user"].(map[string]any)["emailVerified"] != false {
		t.Errorf("%s", me.raw)
	}
	token := e.outbox.token(t, "ann@example.org", "verify-email")
	c.do("POST", "/auth/email/verify", map[string]any{"token": token}).want(200)
}

// A sign-in that was under way when its account was removed comes to nothing.
func TestRecordEntry(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	owner := e.register("ann@gmail.com")
	e.linkWith(owner, "acme", ann, "")
	claims := user.Claims{Provider: "acme", Issuer: e.issuers["acme"].URL, Subject: "ann"}
	u, _, err := e.auth.Enter(t.Context(), claims, auth.Origin{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	owner.do("DELETE", "/auth/identities/acme", nil).want(204)
	if _, err := e.auth.RecordEntry(t.Context(), u.ID, claims); !errors.Is(err, auth.ErrBadCredentials) {
		t.Error(err)
	}
}

// Of a sign-in with an account elsewhere and its removal, at once, no session is left
// that the removal does not know of.
func TestRaceUnlink(t *testing.T) {
	e := newElsewhere(t)
	owner := e.register("ann@gmail.com")
	e.confirm("ann@gmail.com")
	for range *rounds {
		e.linkWith(owner, "acme", ann, "")
		const at = 6
		clients, callbacks := make([]*client, at), make([]string, at)
		for i := range at {
			clients[i] = e.client()
			// Not confirmed, or it would be linked anew by its address.
			callbacks[i] = e.atProvider("acme", e.leave(clients[i], "acme", ""), person{sub: "ann", email: "ann@gmail.com", unverified: true})
		}
		var group sync.WaitGroup
		for i, c := range clients {
			group.Go(func() { c.do("GET", callbacks[i], nil) })
		}
		removed := owner.do("DELETE", "/auth/identities/acme", nil)
		group.Wait()
		removed.want(204)
		for _, c := range clients {
			if a := c.do("GET", "/auth/session", nil); a.status != 401 {
				t.Fatalf("%s", a.raw)
			}
		}
	}
}
