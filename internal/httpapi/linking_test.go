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

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
	"latchkey/internal/user"
)

// linkCase is a sign-in with a provider when an account already exists.
type linkCase struct {
	setup     func(e *providerEnv, owner *apitest.Client) // prepares the existing account; may be nil
	identity  providerUser
	wantError string // empty if the sign-in succeeds
	// account is the account that the user is signed in to: "existing" or "new".
	account string
	// losesAccess is set if the owner's previous session and password stop working.
	losesAccess bool
	// linked are the providers of the existing account afterwards.
	linked []string
}

// linkCases covers OWASP ASVS 5.0 6.8.1 and 10.5.2: a sign-in with an external account that is not
// linked yet opens an existing account only if both have the same email, and only if the provider
// has verified it.
var linkCases = map[string]linkCase{
	"both verified":                 {setup: verifyEmail, identity: ann, account: "existing", linked: acme},
	"verified only by the provider": {identity: ann, account: "existing", losesAccess: true, linked: acme},
	"verified only by us":           {setup: verifyEmail, identity: unverifiedAnn, wantError: "link_required"},
	"verified by neither":           {identity: unverifiedAnn, wantError: "link_required"},
	"no email":                      {setup: verifyEmail, identity: providerUser{sub: "ann"}, wantError: "email_missing"},
	"different email": {
		setup:    verifyEmail,
		identity: providerUser{sub: "ann", email: "ann@example.org"},
		account:  "new",
	},
	"subject equals the account ID": {
		setup:    verifyEmail,
		identity: providerUser{sub: apitest.UserID, email: "eve@example.org"},
		account:  "new",
	},
	"second provider": {
		setup: func(e *providerEnv, owner *apitest.Client) {
			verifyEmail(e, owner)
			e.signInWith(e.NewClient(), "google", ann, "")
		},
		identity: ann,
		account:  "existing",
		linked:   []string{"google", "acme"},
	},
	"email now belongs to another user of the linked provider": {
		setup:     linkAcme,
		identity:  providerUser{sub: "someone else", email: "ann@gmail.com"},
		wantError: "link_required",
		linked:    acme,
	},
	"linked account, email changed at the provider": {
		setup:    linkAcme,
		identity: providerUser{sub: "ann", email: "other@example.org"},
		account:  "existing",
		linked:   acme,
	},
	"linked account, no email": {setup: linkAcme, identity: providerUser{sub: "ann"}, account: "existing", linked: acme},
	"disabled account": {
		setup: func(e *providerEnv, owner *apitest.Client) {
			verifyEmail(e, owner)
			e.disable()
		},
		identity:    ann,
		wantError:   "account_disabled",
		losesAccess: true,
	},
	"disabled account, unverified email": {
		setup:       func(e *providerEnv, _ *apitest.Client) { e.disable() },
		identity:    ann,
		wantError:   "account_disabled",
		losesAccess: true,
	},
	"disabled account, linked": {
		setup: func(e *providerEnv, owner *apitest.Client) {
			linkAcme(e, owner)
			e.disable()
		},
		identity:    ann,
		wantError:   "account_disabled",
		losesAccess: true,
		linked:      acme,
	},
}

var (
	acme          = []string{"acme"}
	unverifiedAnn = providerUser{sub: "ann", email: "ann@gmail.com", unverified: true}
)

func verifyEmail(e *providerEnv, _ *apitest.Client) { e.MarkEmailVerified("ann@gmail.com") }

// linkAcme links Ann's account to her identity at acme.
func linkAcme(e *providerEnv, owner *apitest.Client) {
	e.T.Helper()

	verifyEmail(e, owner)
	e.signInWith(e.NewClient(), "acme", ann, "")
}

// disable disables Ann's account as an operator does.
func (e *providerEnv) disable() {
	e.T.Helper()

	id := e.Account("ann@gmail.com").ID
	_, err := e.Auth.Disable(e.T.Context(), auth.Operator(id), session.AccountDisabled)
	testkit.NoError(e.T, err)
}

// login returns a client that has logged in to Ann's account with a password.
func (e *providerEnv) login(password string) *apitest.Client {
	e.T.Helper()

	c := e.NewClient()
	if !c.Login("ann@gmail.com", password) {
		e.T.Fatal("login failed")
	}

	return c
}

// resetPassword sets a new password of Ann's account by email.
func (e *providerEnv) resetPassword() {
	e.T.Helper()

	c := e.NewClient()
	c.Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@gmail.com"}).Want(202)
	token := e.Outbox.Token(e.T, "ann@gmail.com", "reset-password")
	c.Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": apitest.NewPassword}).Want(200)
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

			client := e.NewClient()
			e.signInWith(client, "acme", c.identity, c.wantError)

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

			if got := owner.Do("GET", "/auth/session", nil).Status == 200; got == c.losesAccess {
				t.Errorf("previous session works: got %v, want %v", got, !c.losesAccess)
			}
			if got := e.HasPassword(existing.ID, apitest.Password); got == c.losesAccess {
				t.Errorf("previous password works: got %v, want %v", got, !c.losesAccess)
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

// Nothing that an attacker prepares in an account with someone else's email address
// survives when the owner signs in.
func TestAccountTakeover(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	eve := e.Register("ann@gmail.com")
	eveOnOtherDevice := e.login(apitest.Password)

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
	e.Outbox.Subject(t, "ann@gmail.com", "Your Latchkey account is now confirmed")
}

// wantOnlyAcme fails the test unless acme is the only way to sign in to the client's
// account.
func wantOnlyAcme(c *apitest.Client) {
	c.T.Helper()

	wantLinked(c, "acme")
	if _, hasPassword := c.Identities(); hasPassword {
		c.T.Fatal("the account has a password")
	}
}

// wantLinked fails the test unless exactly these providers are linked to the client's account.
func wantLinked(c *apitest.Client, want ...string) {
	c.T.Helper()

	if got, _ := c.Identities(); !slices.Equal(got, want) {
		c.T.Fatalf("linked providers: got %v, want %v", got, want)
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

		intruders := []*apitest.Client{e.NewClient(), e.NewClient(), e.NewClient()}
		var group sync.WaitGroup
		group.Go(func() { linking.Do("GET", eveCallback, nil) })
		group.Go(func() { eve.Do("POST", "/auth/rotate-session", nil) })
		var signedIn apitest.Response
		group.Go(func() { signedIn = owner.Do("GET", ownerCallback, nil) })

		for _, c := range intruders {
			group.Go(func() { c.Do("POST", "/auth/login", apitest.Credentials("ann@gmail.com", apitest.Password)) })
		}

		group.Wait()
		defer e.deleteAnn()

		if !conclusive([]apitest.Response{signedIn}) {
			return
		}

		owner.Do("GET", "/auth/session", nil).Want(200)

		for _, c := range append(intruders, eve, linking) {
			c.Do("GET", "/auth/session", nil).Want(401)
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
	if me.Text("user", "id") != id || me.Text("user", "email") != "ann@gmail.com" {
		t.Errorf("account: got %s, want %s with email ann@gmail.com", me.Raw, id)
	}

	other := e.Register("bob@example.com")
	e.linkWith(other, "acme", work, "identity_taken")
	e.linkWith(owner, "acme", providerUser{sub: "second identity", email: "ann2@example.org"}, "already_linked")
	owner.Do("POST", "/auth/identities/nowhere", map[string]any{}).WantCode(404, "not_found")
	owner.Do("POST", "/auth/identities/google", map[string]any{"returnTo": "https://evil.example/"}).WantCode(400, "validation_failed")
	wantLinked(other)

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
			c.Login("bob@example.com", apitest.Password)
		}, "not_authenticated"},
		"password changed on another device": {func(e *providerEnv, _ *apitest.Client) {
			other := e.login(apitest.Password)
			other.Do("POST", "/auth/password/change", apitest.PasswordChange).Want(200)
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

			_, err := e.Users.ByIdentity(t.Context(), e.issuers["acme"].URL, "at work")
			if linked := err == nil; linked != (c.wantError == "") {
				t.Errorf("identity: got %v, want error %q", err, c.wantError)
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
	wantOnlyAcme(c)

	c.Do("POST", "/auth/password/change", apitest.PasswordChange).WantCode(409, "no_password")
	c.Do("POST", "/auth/password/set", map[string]any{"newPassword": "short"}).Want(400)

	before := c.Clone()
	c.Do("POST", "/auth/password/set", map[string]any{"newPassword": apitest.NewPassword}).Want(200)
	before.Do("GET", "/auth/session", nil).Want(401)
	c.Do("POST", "/auth/password/set", map[string]any{"newPassword": apitest.NewPassword}).WantCode(409, "password_exists")
	c.Do("DELETE", "/auth/identities/acme", nil).Want(204)

	// A removed identity is not linked again by its email, which may belong
	// to someone else now.
	e.signInWith(e.NewClient(), "acme", ann, "link_required")
	c = e.login(apitest.NewPassword)
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
	e.resetPassword()
	eve.WantReason(session.PasswordChanged)
	wantLinked(e.login(apitest.NewPassword))

	viaGoogle := e.NewClient()
	e.signInWith(viaGoogle, "google", thief, "")
	if got := viaGoogle.Do("GET", "/auth/me", nil).Want(200).Text("user", "email"); got != "eve@gmail.com" {
		t.Errorf("the attacker's identity opens the account of %s", got)
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
		_, err := e.Sessions.RevokeAll(t.Context(), apitest.UserID, "", session.Revoked)
		testkit.NoError(t, err)

		// Redis has cached the script now, so each revocation is a single EVALSHA.
		var revocations atomic.Int32
		proxy.Set(storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
			isRevocation := containsAll(chunk, "EVALSHA", "generation:", id)
			if !isRevocation || int(revocations.Add(1)) < at {
				return false
			}

			return client.Close() == nil
		}})
		e.signInWith(e.NewClient(), "acme", ann, "session_store_unavailable")
		if got := int(revocations.Load()); got < at {
			t.Fatalf("revocations: got %d, want at least %d", got, at)
		}

		proxy.Set(storetest.Faults{})

		if e.Account("ann@gmail.com").EmailVerified {
			t.Errorf("interrupted at revocation %d: the email is verified", at)
		}

		owner := e.NewClient()
		e.signInWith(owner, "acme", ann, "")
		wantOnlyAcme(owner)

		eve.Do("GET", "/auth/session", nil).Want(401)
	}
}

// A sign-in never changes the account with its email if the provider has not verified the email,
// even if nobody has logged in to the account yet. An import creates such accounts, and their owners
// set a password by email.
func TestUnverifiedSignInKeepsImportedAccount(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	imported, err := e.Users.Create(t.Context(), user.User{Name: "Ann", Email: "ann@gmail.com"})
	testkit.NoError(t, err)
	e.Advance(24 * time.Hour)

	for range 2 {
		e.signInWith(e.NewClient(), "acme", unverifiedAnn, "link_required")
	}
	e.wantCounts(1, 0)

	e.resetPassword()
	me := e.login(apitest.NewPassword).Do("GET", "/auth/me", nil).Want(200)
	if got := me.Text("user", "id"); got != imported.ID {
		t.Errorf("account after the reset: got %s, want %s", got, imported.ID)
	}
}

// After a crash between the two steps of a link, the sign-in can be repeated once the interrupted
// link has expired. Until then, the error does not ask the user to log in to another account.
func TestSignInAfterInterruptedLink(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	e.Register("ann@gmail.com")
	e.MarkEmailVerified("ann@gmail.com")
	_, _, err := e.Users.ProposeLink(t.Context(), e.Account("ann@gmail.com").ID, user.Claims{
		Provider: "acme",
		Issuer:   e.issuers["acme"].URL,
		Subject:  "ann",
	})
	testkit.NoError(t, err)

	e.signInWith(e.NewClient(), "acme", ann, "user_store_unavailable")

	e.Advance(2 * time.Minute)
	e.signInWith(e.NewClient(), "acme", ann, "")
	e.wantCounts(1, 1)
}

// Providers that are no longer configured do not count as login methods.
func TestUnlinkIgnoresRemovedProviders(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	c := e.NewClient()
	e.signInWith(c, "acme", ann, "")
	gone := user.Claims{Provider: "gone", Issuer: "https://gone.example", Subject: "ann"}
	proposal, _, err := e.Users.ProposeLink(t.Context(), e.Account("ann@gmail.com").ID, gone)
	testkit.NoError(t, err)
	testkit.NoError(t, e.Users.ConfirmLink(t.Context(), proposal))

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
	e.resetPassword()
	c.WantReason(session.PasswordChanged)
	e.login(apitest.NewPassword)
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
	e.signInWith(e.NewClient(), "acme", ann, "invalid_credentials")
	if !overlapped.Load() {
		t.Error("the removal did not overlap the sign-in")
	}
}
