package httpapi_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// preparation is a way in which an account with the email ann@gmail.com can come about before Ann
// first signs in with a provider that has verified this email.
type preparation struct {
	// prepare returns a client with a session of the account, or nil, and the account's password.
	prepare func(e *providerEnv) (holder *apitest.Client, password string)
	// linked is set if the provider is added to the account. Otherwise Ann takes the account over:
	// whoever prepared it loses all access, because they may be somebody else.
	linked bool
}

// verifyWith uses the newest verification link that was emailed to Ann, in the browser c.
func (e *providerEnv) verifyWith(c *apitest.Client) {
	e.T.Helper()

	token := e.Outbox.Token(e.T, "ann@gmail.com", "verify-email")
	c.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(200)
}

// changeEmail registers eve@example.com and requests a change to Ann's email.
func (e *providerEnv) changeEmail() *apitest.Client {
	e.T.Helper()

	eve := e.Register("eve@example.com")
	token := e.Outbox.Token(e.T, "eve@example.com", "verify-email")
	eve.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(200)
	eve.Do("POST", "/auth/email/change", map[string]any{"email": "ann@gmail.com"}).Want(202)

	return eve
}

// preparations covers every way in which an account gets, verifies or changes an email.
var preparations = map[string]preparation{
	"not verified": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		return e.Register("ann@gmail.com"), apitest.Password
	}},
	"not verified, registered again": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		eve := e.Register("ann@gmail.com")
		again := map[string]any{"name": "Ann", "email": "ann@gmail.com", "password": apitest.NewPassword}
		e.NewClient().Do("POST", "/auth/register", again).WantCode(409, "email_taken")

		return eve, apitest.Password
	}},
	"verified in its session": {linked: true, prepare: func(e *providerEnv) (*apitest.Client, string) {
		owner := e.Register("ann@gmail.com")
		e.verifyWith(owner)

		return owner, apitest.Password
	}},
	"verified in another browser": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		eve := e.Register("ann@gmail.com")
		e.verifyWith(e.NewClient())

		return eve, apitest.Password
	}},
	"verified in a session of another account": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		eve := e.Register("ann@gmail.com")
		e.verifyWith(e.Register("ann@example.org"))

		return eve, apitest.Password
	}},
	"verified after a logout on its device": {linked: true, prepare: func(e *providerEnv) (*apitest.Client, string) {
		owner := e.Register("ann@gmail.com")
		ended := owner.Clone()
		owner.Clone().Do("POST", "/auth/logout", nil).Want(200)
		e.verifyWith(ended)

		return e.login(apitest.Password), apitest.Password
	}},
	"verified on the device of another account": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		eve := e.Register("ann@gmail.com")
		other := e.Register("ann@example.org")
		other.Clone().Do("POST", "/auth/logout", nil).Want(200)
		e.verifyWith(other)

		return eve, apitest.Password
	}},
	"reset by email": {linked: true, prepare: func(e *providerEnv) (*apitest.Client, string) {
		e.Register("ann@gmail.com")
		e.resetPassword()

		return e.login(apitest.NewPassword), apitest.NewPassword
	}},
	"verified in another browser, then reset by email": {linked: true, prepare: func(e *providerEnv) (*apitest.Client, string) {
		e.Register("ann@gmail.com")
		e.verifyWith(e.NewClient())
		e.resetPassword()

		return e.login(apitest.NewPassword), apitest.NewPassword
	}},
	"changed to it in its session": {linked: true, prepare: func(e *providerEnv) (*apitest.Client, string) {
		owner := e.changeEmail()
		e.verifyWith(owner)

		return owner, apitest.Password
	}},
	"verified in its session, then changed to it in another browser": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		e.changeEmail()
		e.verifyWith(e.NewClient())

		return e.login(apitest.Password), apitest.Password
	}},
	"created with a provider that has verified it": {linked: true, prepare: func(e *providerEnv) (*apitest.Client, string) {
		owner := e.NewClient()
		e.signInWith(owner, "acme", ann, "")

		return owner, ""
	}},
	"created with a provider that has not verified it, then verified in another browser": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		eve := e.NewClient()
		e.signInWith(eve, "acme", providerUser{sub: "eve", email: "ann@gmail.com", unverified: true}, "")
		e.verifyWith(e.NewClient())

		return eve, ""
	}},
	"created with a provider that has not verified it, then verified in its session": {linked: true, prepare: func(e *providerEnv) (*apitest.Client, string) {
		owner := e.NewClient()
		e.signInWith(owner, "acme", providerUser{sub: "ann", email: "ann@gmail.com", unverified: true}, "")
		e.verifyWith(owner)

		return owner, ""
	}},
	"provider linked by its creator, verified in another browser": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		eve := e.Register("ann@gmail.com")
		e.linkWith(eve, "acme", providerUser{sub: "eve", email: "eve@example.com"}, "")
		e.verifyWith(e.NewClient())

		return eve, apitest.Password
	}},
	"the same provider linked and unlinked by its creator, verified in another browser": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		eve := e.Register("ann@gmail.com")
		e.linkWith(eve, "google", providerUser{sub: "eve", email: "eve@gmail.com"}, "")
		eve.Do("DELETE", "/auth/identities/google", nil).Want(204)
		e.verifyWith(e.NewClient())

		return eve, apitest.Password
	}},
	"taken over with another provider": {linked: true, prepare: func(e *providerEnv) (*apitest.Client, string) {
		e.Register("ann@gmail.com")
		owner := e.NewClient()
		e.signInWith(owner, "acme", ann, "")

		return owner, ""
	}},
	"created by an operator": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		e.CreateUser("ann@gmail.com")

		return e.login(apitest.Password), apitest.Password
	}},
	"verified in another browser, password set by an operator": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		e.Register("ann@gmail.com")
		e.verifyWith(e.NewClient())
		e.setPassword()

		return e.login(apitest.NewPassword), apitest.NewPassword
	}},
	"verified in its session, password set by an operator": {linked: true, prepare: func(e *providerEnv) (*apitest.Client, string) {
		e.verifyWith(e.Register("ann@gmail.com"))
		e.setPassword()

		return e.login(apitest.NewPassword), apitest.NewPassword
	}},
	"verified in another browser, disabled and enabled by an operator": {prepare: func(e *providerEnv) (*apitest.Client, string) {
		e.Register("ann@gmail.com")
		e.verifyWith(e.NewClient())
		e.disable()
		_, err := e.Users.SetActive(e.T.Context(), e.Account("ann@gmail.com").ID, true)
		testkit.NoError(e.T, err)

		return e.login(apitest.Password), apitest.Password
	}},
}

// setPassword sets the password of Ann's account as an operator does.
func (e *providerEnv) setPassword() {
	e.T.Helper()

	_, err := e.Auth.SetPassword(e.T.Context(), auth.Operator(e.Account("ann@gmail.com").ID), apitest.NewPassword)
	testkit.NoError(e.T, err)
}

// Somebody who prepares an account with Ann's email loses access to it when she signs in with a
// provider, even if she has used the verification link before (pre-hijacking). Owners who have proved
// that both the account and the email are theirs lose nothing.
func TestFirstProviderSignIn(t *testing.T) {
	t.Parallel()

	for name, tc := range preparations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
			holder, password := tc.prepare(e)
			before := e.Account("ann@gmail.com")
			e.TakeEvents()

			owner := e.NewClient()
			e.signInWith(owner, "google", ann, "")
			if id := owner.Do("GET", "/auth/me", nil).Want(200).Text("user", "id"); id != before.ID {
				t.Errorf("account: got %s, want %s", id, before.ID)
			}

			want := "account_claimed"
			if tc.linked {
				want = "identity_linked"
			}
			if events := e.TakeEvents(); events[0]["name"] != want || events[0]["userId"] != before.ID {
				t.Errorf("got events %v, want %s first", events, want)
			}

			if got := holder.Do("GET", "/auth/session", nil).Status == 200; got != tc.linked {
				t.Errorf("previous session works: got %t, want %t", got, tc.linked)
			}
			if got := e.HasPassword(before.ID, password); password != "" && got != tc.linked {
				t.Errorf("previous password works: got %t, want %t", got, tc.linked)
			}

			after := e.Account("ann@gmail.com")
			if !after.EmailVerified || !after.OwnerConfirmed {
				t.Errorf("account: got %+v, want an email that is verified by its owner", after)
			}
			if linked, _ := owner.Identities(); !tc.linked && !slices.Equal(linked, []string{"google"}) {
				t.Errorf("linked providers: got %v, want only google", linked)
			}
		})
	}
}

// Write access to Redis is not enough to link an external account to another user's account: an
// attacker who puts the session of a victim into their own flow gets nothing.
func TestForgedFlow(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	victim := e.Register("ann@gmail.com")
	id := e.Account("ann@gmail.com").ID
	eve := e.NewClient()
	authURL := e.startSignIn(eve, "acme", "")

	conn := e.Redis.Conn(t)
	keys, err := redis.Strings(conn.Do("KEYS", "oauth:*"))
	testkit.NoError(t, err)
	value, err := redis.String(conn.Do("GET", keys[0]))
	testkit.NoError(t, err)

	text, mac, _ := strings.Cut(value, "\n")
	var record map[string]any
	testkit.NoError(t, json.Unmarshal([]byte(text), &record))
	record["flow"] = map[string]any{"link": true, "userId": id, "sessionId": victim.SessionID()}
	_, err = conn.Do("SET", keys[0], string(apitest.Encode(record))+"\n"+mac)
	testkit.NoError(t, err)

	callback := e.authenticate("acme", authURL, providerUser{sub: "eve", email: "eve@example.com"})
	e.finishSignIn(eve, callback, "sign_in_expired")

	if all, err := e.Users.Identities(context.Background(), id); len(all) > 0 || err != nil {
		t.Errorf("got identities %v, error %v, want none", all, err)
	}
	if _, err := e.Users.ByIdentity(t.Context(), e.issuers["acme"].URL, "eve"); err == nil {
		t.Error("Eve's identity is linked to an account")
	}
}

// A verification in a session of the account is recorded with the ID of the session, so that the
// owner can tell it from a verification in another browser.
func TestVerificationEvent(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	for _, inSession := range []bool{true, false} {
		email := map[bool]string{true: "ann@example.com", false: "bob@example.com"}[inSession]
		owner := s.Register(email)
		browser := s.NewClient()
		want := any(nil)
		if inSession {
			browser = owner
			want = owner.SessionID()
		}

		s.TakeEvents()
		browser.Do("POST", "/auth/email/verify", map[string]any{"token": s.Outbox.Token(t, email, "verify-email")}).Want(200)
		if events := s.TakeEvents(); len(events) != 1 || events[0]["name"] != "email_verified" || events[0]["sessionId"] != want {
			t.Errorf("in a session of the account %t: got events %v, want one with session ID %v", inSession, events, want)
		}
		if u := s.Account(email); !u.EmailVerified || u.OwnerConfirmed != inSession {
			t.Errorf("in a session of the account %t: got account %+v, want a verified email", inSession, u)
		}
	}
}

// Emails contain neither the name of a user nor the name of an unknown client. Anyone can register
// with the email of a stranger, and could otherwise write to them in our name.
func TestMailsContainNoFreeText(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	const canary = "Reply with your password"
	for userAgent, want := range map[string]string{
		canary + "/1":  "",
		firefoxOnLinux: "Device: Firefox 128 on Linux",
		"Evil․com/1":   "",
	} {
		email := user.NewID() + "@example.com"
		body := apitest.Encode(map[string]any{"name": canary, "email": email, "password": apitest.Password})
		s.NewClient().Send("POST", "/auth/register", map[string][]string{
			"User-Agent":   {userAgent},
			"Content-Type": {"application/json"},
		}, body).Want(201)

		text := s.Outbox.Subject(t, email, "Confirm your email address for Latchkey").Text
		if strings.Contains(text, "Reply with") || strings.Contains(text, "Evil") {
			t.Errorf("User-Agent %q: got text %s, want it without text from the client", userAgent, text)
		}
		if !strings.Contains(text, want) || (want == "") == strings.Contains(text, "Device:") {
			t.Errorf("User-Agent %q: got text %s, want %q", userAgent, text, want)
		}
	}
}
