package httpapi_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
	"latchkey/internal/user"
)

// linkCase is a first sign-in with a provider when there is already an account.
type linkCase struct {
	setup     func(e *providerEnv, owner *apitest.Client) // prepares the existing account; may be nil
	provider  string                                      // "acme" if empty
	identity  providerUser
	wantError string // empty if the sign-in succeeds
	// account is the account that the user is signed in to: "existing" or "new".
	account string
	// keepsAccess is set if the owner's previous session and password still work.
	keepsAccess bool
	// linked are the providers of the existing account afterwards.
	linked []string
}

// linkCases covers OWASP ASVS 5.0 6.8.1 and 10.5.2: a sign-in with a provider opens an
// existing account only if both have the same email address and the provider has verified
// it.
var linkCases = map[string]linkCase{
	"both verified": {
		setup:       verifyEmail,
		identity:    ann,
		account:     "existing",
		keepsAccess: true,
		linked:      []string{"acme"},
	},
	"both verified, different case": {
		setup:       verifyEmail,
		identity:    providerUser{sub: "ann", email: "ANN@Gmail.COM"},
		account:     "existing",
		keepsAccess: true,
		linked:      []string{"acme"},
	},
	"verified only by the provider": {
		identity: ann,
		account:  "existing",
		linked:   []string{"acme"},
	},
	"verified only by us": {
		setup:       verifyEmail,
		identity:    providerUser{sub: "ann", email: "ann@gmail.com", unverified: true},
		wantError:   "link_required",
		keepsAccess: true,
	},
	"verified by neither": {
		identity:    providerUser{sub: "ann", email: "ann@gmail.com", unverified: true},
		wantError:   "link_required",
		keepsAccess: true,
	},
	"email_verified is the string true": {
		setup:       verifyEmail,
		identity:    providerUser{sub: "ann", email: "ann@gmail.com", extraClaims: map[string]any{"email_verified": "true"}},
		account:     "existing",
		keepsAccess: true,
		linked:      []string{"acme"},
	},
	"email_verified is the string false": {
		setup:       verifyEmail,
		identity:    providerUser{sub: "ann", email: "ann@gmail.com", extraClaims: map[string]any{"email_verified": "false"}},
		wantError:   "link_required",
		keepsAccess: true,
	},
	"email_verified is null": {
		setup:       verifyEmail,
		identity:    providerUser{sub: "ann", email: "ann@gmail.com", extraClaims: map[string]any{"email_verified": nil}},
		wantError:   "link_required",
		keepsAccess: true,
	},
	"different email": {
		setup:       verifyEmail,
		identity:    providerUser{sub: "ann", email: "ann@example.org"},
		account:     "new",
		keepsAccess: true,
	},
	"different email, unverified": {
		setup:       verifyEmail,
		identity:    providerUser{sub: "ann", email: "ann@example.org", unverified: true},
		account:     "new",
		keepsAccess: true,
	},
	"no email": {
		setup:       verifyEmail,
		identity:    providerUser{sub: "ann"},
		wantError:   "email_missing",
		keepsAccess: true,
	},
	"invalid email": {
		setup:       verifyEmail,
		identity:    providerUser{sub: "ann", email: "ann@gmail.com@example.com"},
		wantError:   "email_missing",
		keepsAccess: true,
	},
	"subject equals the account ID": {
		setup:       verifyEmail,
		identity:    providerUser{sub: apitest.UserID, email: "eve@example.org"},
		account:     "new",
		keepsAccess: true,
	},
	"google, at Gmail": {
		setup:       verifyEmail,
		provider:    "google",
		identity:    ann,
		account:     "existing",
		keepsAccess: true,
		linked:      []string{"google"},
	},
	"google, email at a third-party domain": {
		setup:       moveToExampleOrg,
		provider:    "google",
		identity:    providerUser{sub: "ann", email: "ann@example.org"},
		wantError:   "link_required",
		keepsAccess: true,
	},
	"google, email at a hosted domain": {
		setup:       moveToExampleOrg,
		provider:    "google",
		identity:    providerUser{sub: "ann", email: "ann@example.org", extraClaims: map[string]any{"hd": "example.org"}},
		account:     "existing",
		keepsAccess: true,
		linked:      []string{"google"},
	},
	"github": {
		setup:       verifyEmail,
		provider:    "github",
		identity:    ann,
		account:     "existing",
		keepsAccess: true,
		linked:      []string{"github"},
	},
	"github, unverified email": {
		setup:       verifyEmail,
		provider:    "github",
		identity:    providerUser{sub: "ann", email: "ann@gmail.com", unverified: true},
		wantError:   "link_required",
		keepsAccess: true,
	},
	"second provider": {
		setup: func(e *providerEnv, owner *apitest.Client) {
			verifyEmail(e, owner)
			e.signInWith(e.NewClient(), "google", ann, "")
		},
		identity:    ann,
		account:     "existing",
		keepsAccess: true,
		linked:      []string{"google", "acme"},
	},
	"email now belongs to another user of the linked provider": {
		setup:       linkAcme,
		identity:    providerUser{sub: "someone else", email: "ann@gmail.com"},
		wantError:   "link_required",
		keepsAccess: true,
		linked:      []string{"acme"},
	},
	"linked account, email changed at the provider": {
		setup:       linkAcme,
		identity:    providerUser{sub: "ann", email: "other@example.org"},
		account:     "existing",
		keepsAccess: true,
		linked:      []string{"acme"},
	},
	"linked account, no email": {
		setup:       linkAcme,
		identity:    providerUser{sub: "ann"},
		account:     "existing",
		keepsAccess: true,
		linked:      []string{"acme"},
	},
	"disabled account": {
		setup: func(e *providerEnv, owner *apitest.Client) {
			verifyEmail(e, owner)
			e.disable()
		},
		identity:  ann,
		wantError: "account_disabled",
	},
	"disabled account, unverified email": {
		setup:     func(e *providerEnv, _ *apitest.Client) { e.disable() },
		identity:  ann,
		wantError: "account_disabled",
	},
	"disabled account, linked": {
		setup: func(e *providerEnv, owner *apitest.Client) {
			linkAcme(e, owner)
			e.disable()
		},
		identity:  ann,
		wantError: "account_disabled",
		linked:    []string{"acme"},
	},
	"pre-registered by an attacker who linked a provider": {
		setup: func(e *providerEnv, owner *apitest.Client) {
			owner.Do("POST", "/auth/identities/google", map[string]any{}).Want(200)
			e.linkWith(owner, "google", providerUser{sub: "eve", email: "eve@gmail.com"}, "")
		},
		identity: ann,
		account:  "existing",
		linked:   []string{"acme"},
	},
}

func verifyEmail(e *providerEnv, _ *apitest.Client) { e.MarkEmailVerified("ann@gmail.com") }

// linkAcme links Ann's account to her identity at acme.
func linkAcme(e *providerEnv, owner *apitest.Client) {
	e.T.Helper()

	verifyEmail(e, owner)
	e.signInWith(e.NewClient(), "acme", ann, "")
}

// moveToExampleOrg changes Ann's email address directly in the database.
func moveToExampleOrg(e *providerEnv, owner *apitest.Client) {
	e.T.Helper()

	verifyEmail(e, owner)
	_, err := e.Database().Collection("users").UpdateOne(e.T.Context(),
		bson.D{{Key: "email", Value: "ann@gmail.com"}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "email", Value: "ann@example.org"}}}})
	testkit.NoError(e.T, err)
}

// disable disables Ann's account as an operator does.
func (e *providerEnv) disable() {
	e.T.Helper()

	id := e.Account("ann@gmail.com").ID
	if _, err := e.Users.SetActive(e.T.Context(), id, false); err != nil {
		e.T.Fatal(err)
	}

	if _, err := e.Sessions.RevokeAll(e.T.Context(), id, "", session.AccountDisabled); err != nil {
		e.T.Fatal(err)
	}
}

func TestLinking(t *testing.T) {
	t.Parallel()

	for name, c := range linkCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newProviderEnv(t)
			owner := e.Register("ann@gmail.com")
			existing := e.Account("ann@gmail.com")
			if c.setup != nil {
				c.setup(e, owner)
			}

			if c.provider == "" {
				c.provider = "acme"
			}

			client := e.NewClient()
			e.signInWith(client, c.provider, c.identity, c.wantError)

			me := client.Do("GET", "/auth/me", nil)
			if c.wantError != "" {
				me.Want(401)
			} else {
				account := "new"
				if me.Want(200).Text("user", "id") == existing.ID {
					account = "existing"
				}
				if account != c.account {
					t.Errorf("account: got %s, want %s\n%s", account, c.account, me.Raw)
				}
			}

			if got := owner.Do("GET", "/auth/session", nil).Status == 200; got != c.keepsAccess {
				t.Errorf("previous session works: got %v, want %v", got, c.keepsAccess)
			}
			if got := e.HasPassword(existing.ID, apitest.Password); got != c.keepsAccess {
				t.Errorf("previous password works: got %v, want %v", got, c.keepsAccess)
			}

			identities, err := e.Users.Identities(t.Context(), existing.ID)
			testkit.NoError(t, err)
			var linked []string
			for _, identity := range identities {
				linked = append(linked, identity.Provider)
			}
			if diff := cmp.Diff(c.linked, linked); diff != "" {
				t.Errorf("linked providers (-want +got):\n%s", diff)
			}
		})
	}
}

// A subject is unique only within its issuer: the same subject at two issuers is two
// accounts.
func TestSubjectsOfIssuers(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	one, other := e.NewClient(), e.NewClient()
	e.signInWith(one, "acme", providerUser{sub: "1", email: "one@example.com"}, "")
	e.signInWith(other, "google", providerUser{sub: "1", email: "other@gmail.com"}, "")

	first := one.Do("GET", "/auth/me", nil).Text("user", "id")
	second := other.Do("GET", "/auth/me", nil).Text("user", "id")
	if first == second || first == "" {
		t.Errorf("account IDs: got %q and %q, want two different ones", first, second)
	}
}

// Nothing that an attacker prepares in an account with someone else's email address
// survives when the owner signs in.
func TestAccountTakeover(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	eve := e.Register("ann@gmail.com")
	eveOnOtherDevice := e.NewClient()
	if !eveOnOtherDevice.Login("ann@gmail.com", apitest.Password) {
		t.Fatal("login failed")
	}

	e.Outbox.Token(t, "ann@gmail.com", "verify-email")
	eve.Do("POST", "/auth/email/change", map[string]any{"email": "eve@example.org"}).Want(202)
	change := e.Outbox.Token(t, "eve@example.org", "verify-email")
	e.linkWith(eve, "google", providerUser{sub: "eve", email: "eve@gmail.com"}, "")
	linking := eve.Clone()
	authURL := linking.Do("POST", "/auth/identities/github", map[string]any{}).Want(200).Text("url")
	callback := e.authenticate("github", authURL, providerUser{sub: "eve", email: "eve@example.org"})
	eve.Do("PUT", "/profile", map[string]any{"name": "<Eve was here>"}).Want(200)

	owner := e.NewClient()
	e.signInWith(owner, "acme", ann, "")
	me := owner.Do("GET", "/auth/me", nil).Want(200)
	if me.Text("user", "name") != "Ann A." || me.JSON["user"].(map[string]any)["emailVerified"] != true {
		t.Errorf("account: got %s, want name Ann A. and a verified email", me.Raw)
	}

	for _, c := range []*apitest.Client{eve, eveOnOtherDevice} {
		c.WantReason(session.Revoked)
	}

	if e.NewClient().Login("ann@gmail.com", apitest.Password) {
		t.Error("login with the attacker's password succeeded")
	}

	e.finishSignIn(linking, callback, "not_authenticated")
	e.NewClient().Do("POST", "/auth/email/verify", map[string]any{"token": change}).WantCode(400, "invalid_token")
	e.signInWith(e.NewClient(), "google", providerUser{sub: "eve", email: "ann@gmail.com", unverified: true}, "link_required")
	wantOnlyAcme(owner)
	if got := countMails(e.TakeMails(), "ann@gmail.com", "Your Latchkey account is now confirmed"); got != 1 {
		t.Errorf("emails to the owner: got %d, want 1", got)
	}

	got := owner.Do("GET", "/auth/session", nil).Want(200).Text("userId")
	if want := e.Account("ann@gmail.com").ID; got != want {
		t.Errorf("account: got %s, want %s", got, want)
	}
}

// wantOnlyAcme fails the test unless acme is the only way to sign in to the client's
// account.
func wantOnlyAcme(c *apitest.Client) {
	c.T.Helper()

	linked, hasPassword := c.Identities()
	if !slices.Equal(linked, []string{"acme"}) || hasPassword {
		c.T.Fatalf("login methods: got %v, password %v; want only acme", linked, hasPassword)
	}
}

// However the requests of the intruder and the owner interleave, the intruder is signed out
// and the owner is signed in.
func TestRaceTakeover(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	e := newProviderEnv(t)
	eachRound(t, func(_ int, conclusive func([]apitest.Response) bool) {
		eve := e.Register("ann@gmail.com")
		linking := eve.Clone()
		authURL := linking.Do("POST", "/auth/identities/google", map[string]any{}).Want(200).Text("url")
		eveCallback := e.authenticate("google", authURL, providerUser{sub: "eve", email: "eve@gmail.com"})
		owner := e.NewClient()
		ownerCallback := e.authenticate("acme", e.startSignIn(owner, "acme", ""), ann)

		logins := []*apitest.Client{e.NewClient(), e.NewClient(), e.NewClient()}
		var group sync.WaitGroup
		group.Go(func() { linking.Do("GET", eveCallback, nil) })
		group.Go(func() { eve.Do("POST", "/auth/rotate-session", nil) })
		var signedIn apitest.Response
		group.Go(func() { signedIn = owner.Do("GET", ownerCallback, nil) })

		for _, c := range logins {
			group.Go(func() {
				c.Do("POST", "/auth/login", map[string]any{"email": "ann@gmail.com", "password": apitest.Password})
			})
		}

		group.Wait()
		defer e.deleteAnn()

		if !conclusive([]apitest.Response{signedIn}) {
			return
		}

		owner.Do("GET", "/auth/session", nil).Want(200)

		for i, c := range append(logins, eve, linking) {
			if a := c.Do("GET", "/auth/session", nil); a.Status != 401 {
				t.Fatalf("intruder %d: got %d, want 401: %s", i, a.Status, a.Raw)
			}
		}

		wantOnlyAcme(owner)
	})
}

// A signed-in user can link a provider to the account, whatever its email address there.
func TestLinkWhileSignedIn(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	owner := e.Register("ann@gmail.com")
	id := e.Account("ann@gmail.com").ID
	work := providerUser{sub: "at work", email: "ann@example.org", unverified: true}

	before := owner.Token
	e.linkWith(owner, "acme", work, "")
	if owner.Token != before {
		t.Errorf("session token: got %s, want %s", owner.Token, before)
	}

	// Linking the same identity again has no effect.
	e.linkWith(owner, "acme", work, "")
	if got := countMails(e.TakeMails(), "ann@gmail.com", "A sign-in method was added to your Latchkey account"); got != 1 {
		t.Errorf("emails to the owner: got %d, want 1", got)
	}

	c := e.NewClient()
	e.signInWith(c, "acme", work, "")
	me := c.Do("GET", "/auth/me", nil).Want(200)
	if got := me.Text("user", "id"); got != id {
		t.Errorf("account: got %s, want %s", got, id)
	}
	if got := me.Text("user", "email"); got != "ann@gmail.com" {
		t.Errorf("email: got %s, want ann@gmail.com", got)
	}

	other := e.Register("bob@example.com")
	e.linkWith(other, "acme", work, "identity_taken")
	e.linkWith(owner, "acme", providerUser{sub: "second identity", email: "ann2@example.org"}, "already_linked")
	owner.Do("POST", "/auth/identities/nowhere", map[string]any{}).WantCode(404, "not_found")
	owner.Do("POST", "/auth/identities/google", map[string]any{"returnTo": "https://evil.example/"}).WantCode(400, "validation_failed")
	if linked, _ := other.Identities(); len(linked) > 0 {
		t.Errorf("identities of the other account: got %v, want none", linked)
	}

	e.Advance(apitest.StepUpMaxAge + time.Minute)
	owner.Do("POST", "/auth/identities/google", map[string]any{}).WantCode(403, "step_up_required")
	owner.Do("DELETE", "/auth/identities/acme", nil).WantCode(403, "step_up_required")
	owner.Do("POST", "/auth/password/set", map[string]any{"newPassword": apitest.NewPassword}).WantCode(403, "step_up_required")
	e.NewClient().Do("POST", "/auth/identities/google", map[string]any{}).WantCode(401, "not_authenticated")
}

// A link belongs to the session that requested it. It survives a rotation, but works in no
// other session.
func TestLinkNeedsItsSession(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		before    func(e *providerEnv, c *apitest.Client) // runs before the callback
		wantError string
	}{
		"nothing":    {func(*providerEnv, *apitest.Client) {}, ""},
		"rotated":    {func(_ *providerEnv, c *apitest.Client) { c.Do("POST", "/auth/rotate-session", nil).Want(200) }, ""},
		"no cookie":  {func(_ *providerEnv, c *apitest.Client) { c.Token = "" }, ""}, // SameSite=Strict
		"logged out": {func(_ *providerEnv, c *apitest.Client) { c.Do("POST", "/auth/logout", nil).Want(200) }, "not_authenticated"},
		"ended": {func(_ *providerEnv, c *apitest.Client) {
			c.Clone().Do("DELETE", "/auth/sessions?scope=all", nil).Want(200)
		}, "not_authenticated"},
		"another login": {func(_ *providerEnv, c *apitest.Client) { c.Login("ann@gmail.com", apitest.Password) }, ""},
		"someone else": {func(e *providerEnv, c *apitest.Client) {
			e.Register("bob@example.com")
			if !c.Login("bob@example.com", apitest.Password) {
				e.T.Fatal("login failed")
			}
		}, "not_authenticated"},
		"password changed on another device": {func(e *providerEnv, _ *apitest.Client) {
			other := e.NewClient()
			other.Login("ann@gmail.com", apitest.Password)
			other.Do("POST", "/auth/password/change", map[string]any{"currentPassword": apitest.Password, "newPassword": apitest.NewPassword}).Want(200)
		}, "not_authenticated"},
		"disabled":                            {func(e *providerEnv, _ *apitest.Client) { e.disable() }, "not_authenticated"},
		"deleted":                             {func(_ *providerEnv, c *apitest.Client) { c.Clone().Do("DELETE", "/profile", nil).Want(204) }, "not_authenticated"},
		"deleted without ending its sessions": {func(e *providerEnv, _ *apitest.Client) { e.DeleteAccount(e.Account("ann@gmail.com").ID) }, "not_authenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newProviderEnv(t)
			owner := e.Register("ann@gmail.com")
			authURL := owner.Do("POST", "/auth/identities/acme", map[string]any{}).Want(200).Text("url")
			callback := e.authenticate("acme", authURL, providerUser{sub: "at work", email: "ann@example.org"})

			c.before(e, owner)
			before := owner.Clone().Do("GET", "/auth/session", nil).Status
			e.finishSignIn(owner, callback, c.wantError)
			if got := owner.Do("GET", "/auth/session", nil).Status; got != before {
				t.Errorf("session after the callback: got %d, want %d as before", got, before)
			}

			_, identities := e.count()
			if linked := identities == 1; linked != (c.wantError == "") {
				t.Errorf("identities: got %d, want error %q", identities, c.wantError)
			}
		})
	}
}

// The last login method cannot be removed, and removing one ends its sessions.
func TestUnlink(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	c := e.NewClient()
	e.signInWith(c, "acme", ann, "")
	c.Do("DELETE", "/auth/identities/acme", nil).WantCode(409, "last_login_method")
	c.Do("DELETE", "/auth/identities/google", nil).WantCode(404, "not_found")
	e.signInWith(e.NewClient(), "acme", ann, "")

	e.linkWith(c, "google", ann, "")
	viaGoogle := e.NewClient()
	e.signInWith(viaGoogle, "google", ann, "")
	c.Do("DELETE", "/auth/identities/google", nil).Want(204)
	viaGoogle.WantReason(session.Revoked)
	c.Do("GET", "/auth/session", nil).Want(200)
	c.Do("DELETE", "/auth/identities/google", nil).WantCode(404, "not_found")
	if linked, _ := c.Identities(); !slices.Equal(linked, []string{"acme"}) {
		t.Errorf("linked providers: got %v, want acme", linked)
	}

	c.Do("POST", "/auth/password/change", map[string]any{"currentPassword": apitest.Password, "newPassword": apitest.NewPassword}).WantCode(409, "no_password")
	c.Do("POST", "/auth/password/set", map[string]any{"newPassword": "short"}).Want(400)

	before := c.Clone()
	c.Do("POST", "/auth/password/set", map[string]any{"newPassword": apitest.NewPassword}).Want(200)
	before.Do("GET", "/auth/session", nil).Want(401)
	c.Do("POST", "/auth/password/set", map[string]any{"newPassword": apitest.NewPassword}).WantCode(409, "password_exists")
	c.Do("DELETE", "/auth/identities/acme", nil).Want(204)
	if !e.NewClient().Login("ann@gmail.com", apitest.NewPassword) {
		t.Error("login with the password failed")
	}

	// A removed identity is not linked again by its email, which may belong
	// to someone else now.
	e.signInWith(e.NewClient(), "acme", ann, "link_required")
	if !c.Login("ann@gmail.com", apitest.NewPassword) {
		t.Fatal("login failed")
	}

	e.linkWith(c, "acme", ann, "")
	e.signInWith(e.NewClient(), "acme", ann, "")
	c.Do("DELETE", "/auth/identities/acme", nil).Want(204)
	sent := e.TakeMails()
	for subject, want := range map[string]int{
		"A sign-in method was added to your Latchkey account":     2,
		"A sign-in method was removed from your Latchkey account": 3,
		"Your Latchkey password was changed":                      1,
	} {
		if got := countMails(sent, "ann@gmail.com", subject); got != want {
			t.Errorf("emails %q: got %d, want %d", subject, got, want)
		}
	}
}

// A password reset gives an account back to whoever reads its email: all other login
// methods are removed.
func TestResetUnlinks(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	eve := e.Register("ann@gmail.com")
	thief := providerUser{sub: "eve", email: "eve@gmail.com"}
	e.linkWith(eve, "google", thief, "")
	e.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@gmail.com"}).Want(202)
	token := e.Outbox.Token(t, "ann@gmail.com", "reset-password")
	e.NewClient().Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": apitest.NewPassword}).Want(200)
	eve.WantReason(session.PasswordChanged)

	viaGoogle := e.NewClient()
	e.signInWith(viaGoogle, "google", thief, "")
	owner := e.NewClient()
	if !owner.Login("ann@gmail.com", apitest.NewPassword) {
		t.Fatal("login failed")
	}

	attackerID := viaGoogle.Do("GET", "/auth/me", nil).Text("user", "id")
	if ownerID := owner.Do("GET", "/auth/me", nil).Text("user", "id"); attackerID == ownerID {
		t.Errorf("the attacker's identity still opens the owner's account %s", ownerID)
	}
}

// If revoking the attacker's access is interrupted, the sign-in fails and can be repeated.
func TestInterruptedTakeover(t *testing.T) {
	t.Parallel()

	for at := 1; at <= 3; at++ { // the revocation that fails
		_, proxied, proxy := storetest.ProxiedRedis(t)
		e := newProviderEnv(t, apitest.Options{Redis: &proxied})
		eve := e.Register("ann@gmail.com")
		e.linkWith(eve, "google", providerUser{sub: "eve", email: "eve@gmail.com"}, "")
		id := e.Account("ann@gmail.com").ID
		if _, err := e.Sessions.RevokeAll(t.Context(), apitest.UserID, "", session.Revoked); err != nil {
			t.Fatal(err)
		}

		// Redis has cached the script now, so each revocation is a single EVALSHA.
		var revocations atomic.Int32
		proxy.Set(storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
			isRevocation := containsAll(chunk, "EVALSHA", "generation:", id)
			if !isRevocation || int(revocations.Add(1)) < at {
				return false
			}

			_ = client.Close()

			return true
		}})
		e.signInWith(e.NewClient(), "acme", ann, "session_store_unavailable")
		if got := int(revocations.Load()); got < at {
			t.Fatalf("revocations: got %d, want at least %d", got, at)
		}

		proxy.Set(storetest.Faults{})

		if u := e.Account("ann@gmail.com"); u.EmailVerified {
			t.Errorf("interrupted at revocation %d: email verified: got true, want false", at)
		}

		owner := e.NewClient()
		e.signInWith(owner, "acme", ann, "")
		wantOnlyAcme(owner)

		eve.Do("GET", "/auth/session", nil).Want(401)
	}
}

// An account left over from an interrupted sign-up does not block the email address.
func TestInterruptedSignUp(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	if _, err := e.Users.Create(t.Context(), user.User{Name: "Ann", Email: "ann@example.org"}); err != nil {
		t.Fatal(err)
	}

	p := providerUser{sub: "ann", email: "ann@example.org", unverified: true}
	e.signInWith(e.NewClient(), "acme", p, "user_store_unavailable") // the sign-up may still be running

	e.Advance(2 * time.Minute)
	c := e.NewClient()
	e.signInWith(c, "acme", p, "")
	if linked, _ := c.Identities(); !slices.Equal(linked, []string{"acme"}) {
		t.Errorf("linked providers: got %v, want acme", linked)
	}
	if accounts, _ := e.count(); accounts != 1 {
		t.Errorf("accounts: got %d, want 1", accounts)
	}
}

// Providers that are no longer configured do not count as login methods.
func TestUnlinkIgnoresRemovedProviders(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	c := e.NewClient()
	e.signInWith(c, "acme", ann, "")
	gone := user.Claims{Provider: "gone", Issuer: "https://gone.example", Subject: "ann"}
	proposal, _, err := e.Users.ProposeLink(t.Context(), e.Account("ann@gmail.com").ID, gone)
	if err == nil {
		err = e.Users.ConfirmLink(t.Context(), proposal)
	}

	testkit.NoError(t, err)
	other := e.NewClient()
	e.signInWith(other, "acme", ann, "")
	c.Do("DELETE", "/auth/identities/acme", nil).WantCode(409, "last_login_method")
	other.Do("GET", "/auth/session", nil).Want(200) // the refused request ends no session
	c.Do("DELETE", "/auth/identities/gone", nil).Want(204)
}

// An account without a password can set one by email.
func TestResetWithoutPassword(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	c := e.NewClient()
	e.signInWith(c, "acme", ann, "")
	e.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@gmail.com"}).Want(202)
	token := e.Outbox.Token(t, "ann@gmail.com", "reset-password")
	e.NewClient().Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": apitest.NewPassword}).Want(200)
	c.WantReason(session.PasswordChanged)
	if !c.Login("ann@gmail.com", apitest.NewPassword) {
		t.Error("login with the password failed")
	}

	e.signInWith(c, "acme", ann, "")
}

// A sign-in with an unverified email address sends a verification email.
func TestUnverifiedSignIn(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	c := e.NewClient()
	e.signInWith(c, "acme", providerUser{sub: "ann", email: "ann@example.org", unverified: true}, "")
	if me := c.Do("GET", "/auth/me", nil).Want(200); me.JSON["user"].(map[string]any)["emailVerified"] != false {
		t.Errorf("emailVerified: got %s, want false", me.Raw)
	}

	token := e.Outbox.Token(t, "ann@example.org", "verify-email")
	c.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(200)
}

// A sign-in fails if its identity is removed while it runs.
func TestUnlinkedDuringSignIn(t *testing.T) {
	t.Parallel()

	_, proxied, proxy := storetest.ProxiedRedis(t)
	e := newProviderEnv(t, apitest.Options{Redis: &proxied})
	e.linkWith(e.Register("ann@gmail.com"), "acme", ann, "")
	id := e.Account("ann@gmail.com").ID

	var overlapped atomic.Bool
	proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
		if containsAll(chunk, "MGET", id) && overlapped.CompareAndSwap(false, true) {
			// The sign-in has found the account and is about to read its generation.
			if err := e.Users.UnlinkAll(context.Background(), id); err != nil {
				t.Error(err)
			}
		}

		return false
	}})
	c := e.NewClient()
	e.signInWith(c, "acme", ann, "invalid_credentials")
	if !overlapped.Load() {
		t.Error("the removal did not overlap the sign-in")
	}
	if c.Token != "" {
		t.Errorf("session cookie: got %q, want none", c.Token)
	}
}

// A sign-in that races with the removal of its identity leaves no session behind.
func TestRaceUnlink(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	e := newProviderEnv(t)
	owner := e.Register("ann@gmail.com")
	e.MarkEmailVerified("ann@gmail.com")

	for range *rounds {
		e.linkWith(owner, "acme", ann, "")

		const signIns = 6
		clients := make([]*apitest.Client, signIns)
		callbacks := make([]string, signIns)
		for i := range signIns {
			clients[i] = e.NewClient()
			authURL := e.startSignIn(clients[i], "acme", "")
			// The email is unverified, because a verified one would be linked again.
			callbacks[i] = e.authenticate("acme", authURL, providerUser{sub: "ann", email: "ann@gmail.com", unverified: true})
		}

		var group sync.WaitGroup
		for i, c := range clients {
			group.Go(func() { c.Do("GET", callbacks[i], nil) })
		}

		removed := owner.Do("DELETE", "/auth/identities/acme", nil)
		group.Wait()
		removed.Want(204)

		for _, c := range clients {
			if a := c.Do("GET", "/auth/session", nil); a.Status != 401 {
				t.Fatalf("session: got %d, want 401: %s", a.Status, a.Raw)
			}
		}
	}
}
