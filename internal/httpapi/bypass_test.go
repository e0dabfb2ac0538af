package httpapi_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/httpapi"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// The results of a way to sign in: the level of the session, a login that waits for a second factor, or
// neither.
const (
	pendingLogin = "pending"
	noLogin      = "none"
)

// mfaState is a state of the second factors of an account.
type mfaState struct {
	apps int
	// spoil makes the apps useless, so that only recovery codes are left.
	spoil func(e *bypassEnv, a *mfaAccount)
	// rare is set if each way is tried with only one of such states for each REQUIRE_MFA, unless the races
	// run for long.
	rare bool
}

var mfaStates = map[string]mfaState{
	"no factor": {},
	"an app":    {apps: 1},
	"two apps":  {apps: 2, rare: true},
	"a disabled app": {apps: 1, rare: true, spoil: func(e *bypassEnv, a *mfaAccount) {
		setField(e.t, e.Server, a.user.ID, "factors."+a.apps[0].ID+".failures", user.MaxFactorFailures)
	}},
	"recovery codes only": {apps: 1, rare: true, spoil: func(e *bypassEnv, a *mfaAccount) {
		setField(e.t, e.Server, a.user.ID, "factors."+a.apps[0].ID+".seed", "v1.00000000.AAAA")
	}},
}

// mfaAccount is the account of Ann, which has second factors.
type mfaAccount struct {
	user    user.User
	apps    []apitest.App
	trusted *apitest.Client // has the cookie of a trusted device, if the way needs it
}

func (a *mfaAccount) hasFactor() bool { return len(a.apps) > 0 }

// bypassEnv is a server with one setting of REQUIRE_MFA.
type bypassEnv struct {
	*providerEnv
	t    *testing.T
	mode auth.MFAMode
}

// level returns the result of a correct first factor.
func (e *bypassEnv) level(a *mfaAccount) string {
	if e.mode != auth.MFAOff && a.hasFactor() {
		return pendingLogin
	}

	return session.AAL1
}

// way is a way in which somebody may try to get a session for an account.
type way struct {
	// onlyWithFactor is set if the way makes no sense for an account without a factor.
	onlyWithFactor bool
	confirmed      bool   // the user has proved ownership of the email
	linked         string // the provider that is linked to the account, or ""
	trust          bool   // the user has a trusted device
	resets         bool   // the factors are removed on purpose
	recoveryCodes  int    // the number of recovery codes that are used
	// take returns the browser that may have a session, or a login that waits for a second factor.
	take func(e *bypassEnv, a *mfaAccount) *apitest.Client
	// want returns the result. Nil means bypassEnv.level.
	want func(e *bypassEnv, a *mfaAccount) string
}

func always(result string) func(*bypassEnv, *mfaAccount) string {
	return func(*bypassEnv, *mfaAccount) string { return result }
}

// takeLogin logs in on a browser with a password.
func takeLogin(c *apitest.Client, password string) *apitest.Client {
	c.Do("POST", "/auth/login", apitest.Credentials("ann@example.com", password)).Want(http.StatusOK)

	return c
}

// unknownBrowser has no cookies.
func unknownBrowser(e *bypassEnv, _ *mfaAccount) *apitest.Client { return e.NewClient() }

// trustedBrowser has only the cookie of a trusted device.
func trustedBrowser(_ *bypassEnv, a *mfaAccount) *apitest.Client { return a.trusted.Clone() }

// afterwards logs in with a password after a change.
func afterwards(
	browser func(*bypassEnv, *mfaAccount) *apitest.Client, password string, change func(e *bypassEnv, a *mfaAccount),
) func(*bypassEnv, *mfaAccount) *apitest.Client {
	return func(e *bypassEnv, a *mfaAccount) *apitest.Client {
		c := browser(e, a)
		change(e, a)

		return takeLogin(c, password)
	}
}

// takeProvider signs in with a provider.
func takeProvider(name string, p providerUser) func(*bypassEnv, *mfaAccount) *apitest.Client {
	return func(e *bypassEnv, _ *mfaAccount) *apitest.Client {
		c := e.NewClient()
		c.Do("GET", e.authenticate(name, e.startSignIn(c, name, ""), p), nil).Want(http.StatusFound)

		return c
	}
}

// takeRecoveryCode enters a recovery code at a login.
func takeRecoveryCode(code func(e *bypassEnv, a *mfaAccount) string) func(*bypassEnv, *mfaAccount) *apitest.Client {
	return func(e *bypassEnv, a *mfaAccount) *apitest.Client {
		entered := code(e, a)
		c := e.NewClient()
		c.Factors = map[string]string{"mfa": e.BeginPending(a.user.ID)}
		c.Do("POST", "/auth/login/factor", map[string]any{"recoveryCode": entered})

		return c
	}
}

// fullSession is a session whose user has just proved everything that the account has.
func (e *bypassEnv) fullSession(a *mfaAccount) *apitest.Client {
	methods := []session.Method{{Method: session.Password}}
	if a.hasFactor() {
		methods = append(methods, session.Method{Method: session.OTP})
	}

	return e.SignInWith(a.user.ID, methods...)
}

func (e *bypassEnv) fullLevel(a *mfaAccount) string {
	if a.hasFactor() {
		return session.AAL2
	}

	return session.AAL1
}

func linkedTo(provider string) way {
	return way{confirmed: true, linked: provider, take: takeProvider(provider, annAtProvider)}
}

func resetByLink(e *bypassEnv, _ *mfaAccount) {
	e.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"}).Want(http.StatusAccepted)
	in := map[string]any{"token": e.Outbox.Token(e.t, "ann@example.com", "reset-password"), "password": apitest.NewPassword}
	e.NewClient().Do("POST", "/auth/password/reset", in).Want(http.StatusOK)
}

func changePassword(e *bypassEnv, a *mfaAccount) {
	e.fullSession(a).Do("POST", "/auth/password/change", apitest.PasswordChange).Want(http.StatusOK)
}

func endOthers(e *bypassEnv, a *mfaAccount) {
	e.fullSession(a).Do("DELETE", "/auth/sessions", nil).Want(http.StatusOK)
}

func setPasswordAsOperator(e *bypassEnv, a *mfaAccount) {
	_, err := e.Auth.SetPassword(context.Background(), auth.Operator(a.user.ID), apitest.NewPassword)
	testkit.NoError(e.t, err)
}

func nothing(*bypassEnv, *mfaAccount) {}

// ways are the ways of TestNoBypass.
var ways = map[string]way{
	"password": {take: afterwards(unknownBrowser, apitest.Password, nothing)},

	"google":                         linkedTo("google"),
	"acme":                           linkedTo("acme"),
	"github":                         linkedTo("github"),
	"a provider, verified email":     {confirmed: true, take: takeProvider("acme", annAtProvider), want: withoutFactor(session.AAL1)},
	"github, verified email":         {confirmed: true, take: takeProvider("github", annAtProvider), want: withoutFactor(session.AAL1)},
	"a provider, email not verified": {confirmed: true, take: takeProvider("acme", providerUser{sub: "thief", email: "ann@example.com", unverified: true}), want: always(noLogin)},
	"a provider, claim":              {resets: true, take: takeProvider("acme", annAtProvider), want: always(session.AAL1)},
	"a provider, new account":        {confirmed: true, take: takeProvider("acme", providerUser{sub: "bob", email: "bob@example.com"}), want: always(session.AAL1)},

	"reset link, password":         {take: afterwards(unknownBrowser, apitest.NewPassword, resetByLink)},
	"reset link, linked provider":  {confirmed: true, linked: "acme", take: resetThenProvider, want: withoutFactor(session.AAL1)},
	"verify link":                  {take: takeVerifyLink, want: always(noLogin)},
	"verify link, with a session":  {take: takeVerifyLinkSignedIn, want: (*bypassEnv).fullLevel},
	"email change link":            {confirmed: true, take: takeEmailChange(false), want: always(noLogin)},
	"email change link, signed in": {confirmed: true, take: takeEmailChange(true), want: (*bypassEnv).fullLevel},

	"trusted device":                        {trust: true, take: afterwards(trustedBrowser, apitest.Password, nothing), want: always(session.AAL2)},
	"trusted device, last minute":           {trust: true, take: afterwards(trustedBrowser, apitest.Password, advance(user.TrustMaxAge-time.Minute)), want: always(session.AAL2)},
	"trusted device, expired":               {trust: true, take: afterwards(trustedBrowser, apitest.Password, advance(user.TrustMaxAge))},
	"trusted device, of another account":    {trust: true, take: takeOthersTrust},
	"trusted device, password changed":      {trust: true, take: afterwards(trustedBrowser, apitest.NewPassword, changePassword)},
	"trusted device, reset link":            {trust: true, take: afterwards(trustedBrowser, apitest.NewPassword, resetByLink)},
	"trusted device, others ended":          {trust: true, take: afterwards(trustedBrowser, apitest.Password, endOthers)},
	"trusted device, password by operator":  {trust: true, take: afterwards(trustedBrowser, apitest.NewPassword, setPasswordAsOperator)},
	"trusted device, another factor added":  {trust: true, take: afterwards(trustedBrowser, apitest.Password, addApp)},
	"trusted device, no longer trusted":     {trust: true, take: afterwards(trustedBrowser, apitest.Password, untrust)},
	"trusted device, without its password":  {trust: true, take: takeWrongPassword, want: always(noLogin)},
	"trusted device, wrong secret":          {trust: true, take: takeForgedTrust},
	"trusted device, factors reset and set": {trust: true, resets: true, take: afterwards(trustedBrowser, apitest.Password, resetAndAdd)},

	"recovery code": {
		onlyWithFactor: true, recoveryCodes: 1, want: always(session.AAL2),
		take: takeRecoveryCode(func(_ *bypassEnv, a *mfaAccount) string { return a.apps[0].RecoveryCodes[0] }),
	},
	"recovery code, used": {
		onlyWithFactor: true, recoveryCodes: 1, want: always(pendingLogin),
		take: takeRecoveryCode(func(e *bypassEnv, a *mfaAccount) string {
			code := a.apps[0].RecoveryCodes[0]
			e.fullSession(a).Do("POST", "/auth/step-up", map[string]any{"recoveryCode": code}).Want(http.StatusOK)

			return code
		}),
	},
	"recovery code, of another account": {
		onlyWithFactor: true, want: always(pendingLogin),
		take: takeRecoveryCode(func(e *bypassEnv, _ *mfaAccount) string { return e.otherApp().RecoveryCodes[0] }),
	},

	"operator sets the password": {take: afterwards(unknownBrowser, apitest.NewPassword, setPasswordAsOperator)},
	"operator resets the factors": {
		resets: true, want: always(session.AAL1),
		take: afterwards(unknownBrowser, apitest.Password, func(e *bypassEnv, a *mfaAccount) {
			_, err := e.Auth.ResetFactors(context.Background(), auth.Operator(a.user.ID), "lost phone")
			testkit.NoError(e.t, err)
		}),
	},
	"operator disables and enables": {
		take: afterwards(unknownBrowser, apitest.Password, func(e *bypassEnv, a *mfaAccount) {
			_, err := e.Auth.Disable(context.Background(), auth.Operator(a.user.ID), session.AccountDisabled)
			testkit.NoError(e.t, err)
			_, err = e.Users.SetActive(context.Background(), a.user.ID, true)
			testkit.NoError(e.t, err)
		}),
	},

	"step-up with the password": {
		onlyWithFactor: true, want: always(session.AAL1),
		take: takeWeak("POST", "/auth/step-up", map[string]any{"password": apitest.Password}),
	},
	"rotation": {onlyWithFactor: true, want: always(session.AAL1), take: takeWeak("POST", "/auth/rotate-session", nil)},

	"pending login as a session": {take: takePendingAsSession, want: always(noLogin)},
	"session as a pending login": {take: takeSessionAsPending, want: always(noLogin)},
}

// withoutFactor returns the result for accounts without a factor. Others get none.
func withoutFactor(result string) func(*bypassEnv, *mfaAccount) string {
	return func(_ *bypassEnv, a *mfaAccount) string {
		if a.hasFactor() {
			return noLogin
		}

		return result
	}
}

func advance(d time.Duration) func(*bypassEnv, *mfaAccount) {
	return func(e *bypassEnv, _ *mfaAccount) { e.Advance(d) }
}

func addApp(e *bypassEnv, a *mfaAccount) { a.apps = append(a.apps, e.AddFactor(a.user.ID)) }

func resetAndAdd(e *bypassEnv, a *mfaAccount) {
	_, err := e.Users.ResetFactors(context.Background(), a.user.ID)
	testkit.NoError(e.t, err)
	a.apps = []apitest.App{e.AddFactor(a.user.ID)}
}

func untrust(e *bypassEnv, a *mfaAccount) {
	c := e.fullSession(a)
	for _, d := range c.Do("GET", "/auth/devices", nil).Want(http.StatusOK).JSON["devices"].([]any) {
		c.Do("DELETE", "/auth/devices/"+d.(map[string]any)["id"].(string), nil).Want(http.StatusNoContent)
	}
}

func resetThenProvider(e *bypassEnv, a *mfaAccount) *apitest.Client {
	resetByLink(e, a)

	return takeProvider("acme", annAtProvider)(e, a)
}

func takeVerifyLink(e *bypassEnv, a *mfaAccount) *apitest.Client {
	testkit.NoError(e.t, e.Auth.RequestVerification(context.Background(), a.user, session.Client{}))
	c := e.NewClient()
	c.Do("POST", "/auth/email/verify", map[string]any{"token": e.Outbox.Token(e.t, "ann@example.com", "verify-email")}).Want(http.StatusOK)

	return c
}

func takeVerifyLinkSignedIn(e *bypassEnv, a *mfaAccount) *apitest.Client {
	testkit.NoError(e.t, e.Auth.RequestVerification(context.Background(), a.user, session.Client{}))
	c := e.fullSession(a)
	c.Do("POST", "/auth/email/verify", map[string]any{"token": e.Outbox.Token(e.t, "ann@example.com", "verify-email")}).Want(http.StatusOK)

	return c
}

// takeEmailChange opens the link that confirms a change of the email.
func takeEmailChange(signedIn bool) func(*bypassEnv, *mfaAccount) *apitest.Client {
	return func(e *bypassEnv, a *mfaAccount) *apitest.Client {
		c := e.fullSession(a)
		c.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(http.StatusAccepted)
		if !signedIn {
			c = e.NewClient()
		}
		c.Do("POST", "/auth/email/verify", map[string]any{"token": e.Outbox.Token(e.t, "new@example.com", "verify-email")}).Want(http.StatusOK)

		return c
	}
}

// takeOthersTrust presents the trusted device of another account as one of Ann's.
func takeOthersTrust(e *bypassEnv, a *mfaAccount) *apitest.Client {
	app := e.otherApp()
	other := e.NewClient()
	other.Factors = map[string]string{"mfa": e.BeginPending(e.Account("other@example.com").ID)}
	other.Do("POST", "/auth/login/factor", map[string]any{"code": app.Code(), "trustDevice": true}).Want(http.StatusOK)

	c := e.NewClient()
	c.Factors = maps.Clone(other.Factors)
	for name := range a.trusted.Factors {
		for _, value := range other.Factors {
			c.Factors[name] = value
		}
	}

	return takeLogin(c, apitest.Password)
}

// takeForgedTrust presents the ID of a trusted device with another secret.
func takeForgedTrust(_ *bypassEnv, a *mfaAccount) *apitest.Client {
	c := a.trusted.Clone()
	for name, value := range c.Factors {
		id, _, _ := strings.Cut(value, ".")
		c.Factors[name] = id + "." + unknownToken
	}

	return takeLogin(c, apitest.Password)
}

func takeWrongPassword(_ *bypassEnv, a *mfaAccount) *apitest.Client {
	c := a.trusted.Clone()
	c.Do("POST", "/auth/login", apitest.Credentials("ann@example.com", "wrong password")).WantCode(http.StatusUnauthorized, "invalid_credentials")

	return c
}

// takeWeak sends a request in a session that began while REQUIRE_MFA was off.
func takeWeak(method, path string, body any) func(*bypassEnv, *mfaAccount) *apitest.Client {
	return func(e *bypassEnv, a *mfaAccount) *apitest.Client {
		c := e.SignInWith(a.user.ID, session.Method{Method: session.Password})
		c.Do(method, path, body)

		return c
	}
}

func takePendingAsSession(e *bypassEnv, a *mfaAccount) *apitest.Client {
	return e.WithToken(e.BeginPending(a.user.ID))
}

func takeSessionAsPending(e *bypassEnv, a *mfaAccount) *apitest.Client {
	c := e.NewClient()
	c.Factors = map[string]string{"mfa": e.fullSession(a).Token}
	c.Do("POST", "/auth/login/factor", map[string]any{"code": "123456"}).WantCode(http.StatusUnauthorized, "no_pending_login")

	return c
}

// otherApp returns the authenticator app of another account, which it creates.
func (e *bypassEnv) otherApp() apitest.App {
	return e.AddFactor(e.CreateUser("other@example.com").ID)
}

// newMFAAccount creates Ann's account.
func (e *bypassEnv) newMFAAccount(w way, state mfaState) *mfaAccount {
	a := &mfaAccount{user: e.CreateUser("ann@example.com")}
	if w.confirmed {
		e.MarkEmailVerified("ann@example.com")
	}
	if w.linked != "" {
		full := e.SignInWith(a.user.ID, session.Method{Method: session.Password}, session.Method{Method: session.OTP})
		e.linkWith(full, w.linked, annAtProvider, "")
	}
	for range state.apps {
		addApp(e, a)
	}
	if w.trust {
		c := e.NewClient()
		c.Factors = map[string]string{"mfa": e.BeginPending(a.user.ID)}
		c.Do("POST", "/auth/login/factor", map[string]any{"code": a.apps[0].Code(), "trustDevice": true}).Want(http.StatusOK)
		c.Token = ""
		c.Device = ""
		a.trusted = c
	}
	if state.spoil != nil {
		state.spoil(e, a)
	}
	a.user = e.Account("ann@example.com")

	return a
}

// result returns what a browser has.
func (e *bypassEnv) result(c *apitest.Client) string {
	if a := c.Clone().Do("GET", "/auth/session", nil); a.Status == http.StatusOK {
		return a.Text("level")
	}
	if c.Clone().Do("GET", "/auth/login/factor", nil).Status == http.StatusOK {
		return pendingLogin
	}

	return noLogin
}

// security describes the factors of an account.
func security(u user.User, usedCodes int) []string {
	described := []string{fmt.Sprintf("%d recovery codes", len(u.RecoveryCodes)-usedCodes)}
	for _, f := range u.ListFactors() {
		described = append(described, f.ID+" "+f.Seed)
	}

	return described
}

// No way to sign in leads to a session below the level that the account requires, and none removes or adds
// a factor, whatever factors the account has.
func TestNoBypass(t *testing.T) {
	t.Parallel()

	for i, mode := range []auth.MFAMode{auth.MFAOff, auth.MFAEnrolled, auth.MFAAll} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()

			e := &bypassEnv{newProviderEnv(t, apitest.Options{MFA: mode, Mail: &apitest.Outbox{}}), t, mode}
			for j, name := range slices.Sorted(maps.Keys(ways)) {
				w := ways[name]
				for _, stateName := range statesFor(w, i+j) {
					if !e.try(w, mfaStates[stateName]) {
						t.Errorf("%s, %s", name, stateName)
					}
				}
			}
		})
	}
}

// statesFor returns the states with which a way is tried: the rare ones take turns.
func statesFor(w way, turn int) (names []string) {
	const ordinaryRounds = 5

	rare := 0
	for _, name := range slices.Sorted(maps.Keys(mfaStates)) {
		state := mfaStates[name]
		isTurn := true
		if state.rare {
			isTurn = *rounds > ordinaryRounds || turn%3 == rare
			rare++
		}
		isSensible := state.apps > 0 || !w.onlyWithFactor && !w.trust
		if isTurn && isSensible {
			names = append(names, name)
		}
	}

	return names
}

// try takes a way for one account, and reports whether the result is right.
func (e *bypassEnv) try(w way, state mfaState) (ok bool) {
	a := e.newMFAAccount(w, state)
	c := w.take(e, a)
	want := e.level(a)
	if w.want != nil {
		want = w.want(e, a)
	}

	ok = true
	if got := e.result(c); got != want {
		e.t.Errorf("got %s, want %s", got, want)
		ok = false
	}
	if want == session.AAL1 && e.mode == auth.MFAAll {
		for _, path := range []string{"/auth/verify", "/profile", "/auth/sessions"} {
			c.Do("GET", path, nil).WantCode(http.StatusForbidden, "second_factor_required")
		}
	}

	after, err := e.Users.ByID(context.Background(), a.user.ID)
	testkit.NoError(e.t, err)
	before := security(a.user, w.recoveryCodes)
	if len(a.apps) > state.apps { // the way adds one on purpose
		before = append(before, security(after, 0)[len(before):]...)
	}
	if diff := cmp.Diff(before, security(after, 0)); diff != "" && !w.resets {
		e.t.Errorf("factors (-before +after):\n%s", diff)
		ok = false
	}

	for _, email := range []user.Email{after.Email, "bob@example.com", "other@example.com"} {
		if u, err := e.Users.ByEmail(context.Background(), email); err == nil {
			e.DeleteAccount(u.ID)
		}
	}
	e.ResetLimits()

	return ok
}

// A pending login is no session: with its cookie alone, all other routes respond as without any cookie.
func TestPendingLoginIsNoSession(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Providers: httpapi.SomeProviders})
	ann := s.CreateUser("ann@example.com")
	s.AddFactor(ann.ID)
	token := s.BeginPending(ann.ID)
	fill := strings.NewReplacer("{id}", strings.Repeat("x", 45), "{provider}", "some", "*", "")

	for _, name := range httpapi.RoutesOf(t) {
		method, path, _ := strings.Cut(name, " ")
		if slices.Contains(httpapi.Pending, name) || name == "DELETE /auth/login/factor" || name == "POST /auth/logout" {
			continue
		}

		c := s.NewClient()
		c.Factors = map[string]string{"mfa": token}
		a := c.Do(method, fill.Replace(path), nil)
		if isRefused := a.Status == http.StatusUnauthorized; isRefused == slices.Contains(httpapi.Sessionless, name) || c.Token != "" {
			t.Errorf("%s: got %d and the session cookie %q", name, a.Status, c.Token)
		}

		// Neither as the cookie of a session.
		a = s.WithToken(token).Do(method, fill.Replace(path), nil)
		if isRefused := a.Status == http.StatusUnauthorized; isRefused == slices.Contains(httpapi.Sessionless, name) {
			t.Errorf("%s with the pending login as a session: got %d", name, a.Status)
		}
	}

	c := s.NewClient()
	c.Factors = map[string]string{"mfa": token}
	c.Do("GET", "/auth/login/factor", nil).Want(http.StatusOK)
}

// What a route may do with a session.
const (
	beginsSession  = "begins a session"       // a way of TestNoBypass
	changesFactors = "changes the factors"    // a row of TestFactorChangesNeedFactor
	demandsProof   = "demands a recent proof" // found in the route table
	keepsLevel     = "keeps the level"        // may renew the token, or needs no session
	raisesLevel    = "raises the level"       // after the proof of a second factor
)

// sessionEffects classifies the routes. It is written by hand, so that nobody adds a route without a
// thought about second factors.
var sessionEffects = map[string]string{
	"POST /auth/register":           beginsSession,
	"POST /auth/login":              beginsSession,
	"POST /auth/login/factor":       beginsSession,
	"GET /auth/{provider}/callback": beginsSession,

	"POST /auth/step-up": raisesLevel,

	"POST /auth/totp":              changesFactors,
	"POST /auth/totp/{id}/confirm": changesFactors,
	"DELETE /auth/factors/{id}":    changesFactors,
	"POST /auth/recovery-codes":    changesFactors,

	"POST /auth/password/change":         demandsProof,
	"POST /auth/password/set":            demandsProof,
	"POST /auth/email/change":            demandsProof,
	"POST /auth/identities/{provider}":   demandsProof,
	"DELETE /auth/identities/{provider}": demandsProof,
	"DELETE /profile":                    demandsProof,

	"GET /auth/login/factor": keepsLevel, "DELETE /auth/login/factor": keepsLevel, "POST /auth/logout": keepsLevel,
	"GET /auth/me": keepsLevel, "GET /auth/session": keepsLevel, "GET /auth/verify": keepsLevel,
	"POST /auth/rotate-session": keepsLevel, "GET /auth/sessions": keepsLevel, "DELETE /auth/sessions": keepsLevel,
	"DELETE /auth/sessions/{id}": keepsLevel, "GET /auth/activity": keepsLevel,
	"POST /auth/password/forgot": keepsLevel, "POST /auth/password/reset": keepsLevel, "POST /auth/email/verify": keepsLevel,
	"POST /auth/email/resend": keepsLevel, "GET /auth/factors": keepsLevel, "PUT /auth/factors/{id}": keepsLevel,
	"GET /auth/devices": keepsLevel, "DELETE /auth/devices/{id}": keepsLevel, "GET /auth/config": keepsLevel,
	"GET /auth/providers": keepsLevel, "GET /auth/identities": keepsLevel, "GET /auth/{provider}": keepsLevel,
	"GET /profile": keepsLevel, "PUT /profile": keepsLevel, "GET /healthz": keepsLevel, "GET /readyz": keepsLevel,
	"GET /docs": keepsLevel, "GET /docs/*": keepsLevel, "GET /openapi.json": keepsLevel, "GET /client.js": keepsLevel,
	"GET /client.d.ts": keepsLevel, "GET /postman.json": keepsLevel,
}

// Every route is classified, and exactly the routes that need it demand a recent proof.
func TestSessionEffects(t *testing.T) {
	t.Parallel()

	if diff := cmp.Diff(slices.Sorted(maps.Keys(sessionEffects)), httpapi.RoutesOf(t)); diff != "" {
		t.Errorf("classified routes (-sessionEffects +router):\n%s", diff)
	}

	demanding := httpapi.StepUpRoutes()
	for name, effect := range sessionEffects {
		want := effect == changesFactors || effect == demandsProof
		if got := slices.Contains(demanding, name); got != want {
			t.Errorf("%s %s: demands a recent proof: got %v, want %v", name, effect, got, want)
		}
	}
}

// weakSessions are the sessions that may not change the factors of an account that has one. The times are
// relative to now.
var weakSessions = map[string][]session.Method{
	"a password":                       {{Method: session.Password}},
	"a provider":                       {{Method: session.Federated, Provider: "acme"}},
	"a code of some time ago":          {{Method: session.Password}, {Method: session.OTP, At: longAgo}},
	"a recovery code of some time ago": {{Method: session.Password}, {Method: session.Recovery, At: longAgo}},
	"a trusted device":                 {{Method: session.Password}, {Method: session.Device}},
}

// longAgo is a time before STEP_UP_MAX_AGE.
var longAgo = time.Now().Add(-2 * apitest.StepUpMaxAge)

// Whatever demands a recent proof refuses a session without a recent second factor, if the account has
// one, and changes nothing.
func TestFactorChangesNeedFactor(t *testing.T) {
	t.Parallel()

	for _, mode := range []auth.MFAMode{auth.MFAOff, auth.MFAEnrolled, auth.MFAAll} {
		e := &bypassEnv{newProviderEnv(t, apitest.Options{MFA: mode, Mail: &apitest.Outbox{}}), t, mode}
		a := e.newMFAAccount(way{}, mfaStates["an app"])
		const enrolment = "enrolment"
		bodies := map[string]any{
			"POST /auth/totp/{id}/confirm":     map[string]any{"code": e.BeginEnrolment(a.user.ID, enrolment)},
			"POST /auth/password/change":       apitest.PasswordChange,
			"POST /auth/password/set":          map[string]any{"newPassword": apitest.NewPassword},
			"POST /auth/email/change":          map[string]any{"email": "new@example.com"},
			"POST /auth/identities/{provider}": map[string]any{},
		}
		before, err := e.Users.ByID(t.Context(), a.user.ID)
		testkit.NoError(t, err)

		for sessionName, methods := range weakSessions {
			for _, name := range httpapi.StepUpRoutes() {
				method, path, _ := strings.Cut(name, " ")
				id := a.apps[0].ID
				if strings.Contains(path, "/totp/") {
					id = enrolment
				}
				path = strings.NewReplacer("{id}", id, "{provider}", "acme").Replace(path)

				c := e.SignInWith(a.user.ID, methods...)
				got := c.Do(method, path, bodies[name]).Want(http.StatusForbidden)
				switch code := got.Text("code"); {
				case code == "second_factor_required" && mode == auth.MFAAll && len(methods) == 1:
				case code != "step_up_required" || fmt.Sprint(got.JSON["methods"]) != "[otp]" || got.JSON["maxAge"] != apitest.StepUpMaxAge.Seconds():
					t.Errorf("REQUIRE_MFA=%s, %s in a session with %s: got %s", mode, name, sessionName, got.Raw)
				}
			}
		}

		after, err := e.Users.ByID(t.Context(), a.user.ID)
		testkit.NoError(t, err)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("REQUIRE_MFA=%s: account (-before +after):\n%s", mode, diff)
		}
	}
}

// A session with an old password and an old code has to prove both, in one request or in two.
func TestStepUpProvesBoth(t *testing.T) {
	t.Parallel()

	e := &bypassEnv{newProviderEnv(t), t, auth.MFAEnrolled}
	a := e.newMFAAccount(way{}, mfaStates["an app"])
	c := e.SignInWith(a.user.ID, session.Method{Method: session.Password, At: longAgo}, session.Method{Method: session.OTP, At: longAgo})
	remove := func() apitest.Response { return c.Do("POST", "/auth/recovery-codes", nil) }
	wantMissing := func(want string) {
		t.Helper()

		if got := fmt.Sprint(remove().WantCode(http.StatusForbidden, "step_up_required").JSON["methods"]); got != want {
			t.Errorf("methods: got %s, want %s", got, want)
		}
	}

	wantMissing("[pwd otp]")
	c.Do("POST", "/auth/step-up", map[string]any{"code": a.apps[0].Code()}).Want(http.StatusOK)
	wantMissing("[pwd]")
	c.Do("POST", "/auth/step-up", map[string]any{"password": apitest.Password}).Want(http.StatusOK)
	remove().Want(http.StatusOK)

	e.Advance(apitest.StepUpMaxAge + time.Second)
	c.Do("POST", "/auth/step-up", map[string]any{"password": apitest.Password}).Want(http.StatusOK)
	wantMissing("[otp]")
	c.Do("POST", "/auth/step-up", map[string]any{"password": apitest.Password, "code": a.apps[0].Code()}).Want(http.StatusOK)
	remove().Want(http.StatusOK)

	// A wrong code or a wrong password proves nothing, even if the other one is right.
	e.Advance(apitest.StepUpMaxAge + time.Second)
	wrong := map[string]any{"password": apitest.Password, "code": a.apps[0].WrongCode()}
	c.Do("POST", "/auth/step-up", wrong).WantCode(http.StatusUnauthorized, "wrong_code")
	wrong = map[string]any{"password": "wrong password", "code": a.apps[0].Code()}
	c.Do("POST", "/auth/step-up", wrong).WantCode(http.StatusUnauthorized, "wrong_password")
	wantMissing("[pwd otp]")
}

// After a provider, the page is told that the account has a second factor, and the session that follows
// names the provider.
func TestProviderThenFactor(t *testing.T) {
	t.Parallel()

	e := &bypassEnv{newProviderEnv(t), t, auth.MFAEnrolled}
	a := e.newMFAAccount(linkedTo("acme"), mfaStates["an app"])
	c := e.NewClient()
	callback := e.authenticate("acme", e.startSignIn(c, "acme", "?return_to=/welcome"), annAtProvider)
	location := c.Do("GET", callback, nil).Want(http.StatusFound).Header.Get("Location")
	if want := testFrontend + "/welcome?error=" + url.QueryEscape("second_factor_required"); location != want {
		t.Errorf("Location: got %s, want %s", location, want)
	}

	c.Do("POST", "/auth/login/factor", map[string]any{"code": a.apps[0].Code()}).Want(http.StatusOK)
	got := c.Do("GET", "/auth/session", nil).Want(http.StatusOK)
	methods := got.JSON["methods"].([]any)
	first := methods[0].(map[string]any)
	if got.Text("level") != session.AAL2 || first["method"] != session.Federated || first["provider"] != "acme" || len(methods) != 2 {
		t.Errorf("session: got %s", got.Raw)
	}
}

// If the external account is unlinked while the login waits for the second factor, the login fails.
func TestUnlinkedBeforeFactor(t *testing.T) {
	t.Parallel()

	e := &bypassEnv{newProviderEnv(t), t, auth.MFAEnrolled}
	a := e.newMFAAccount(linkedTo("acme"), mfaStates["an app"])
	c := takeProvider("acme", annAtProvider)(e, a)
	testkit.NoError(t, e.Users.UnlinkAll(t.Context(), a.user.ID))
	c.Do("POST", "/auth/login/factor", map[string]any{"code": a.apps[0].Code()}).WantCode(http.StatusUnauthorized, "no_pending_login")
	if c.Token != "" {
		t.Error("got a session")
	}
}

// A provider that has verified the email neither is linked to an account with a second factor nor takes it
// over, if the account's email is verified. Otherwise the mailbox would replace the factor.
func TestNoLinkByEmailWithFactor(t *testing.T) {
	t.Parallel()

	for _, confirmed := range []bool{true, false} {
		e := &bypassEnv{newProviderEnv(t), t, auth.MFAEnrolled}
		a := e.newMFAAccount(way{}, mfaStates["an app"])
		setField(t, e.Server, a.user.ID, "emailVerified", true)
		setField(t, e.Server, a.user.ID, "ownerConfirmed", confirmed)
		before := e.Account("ann@example.com")

		c := e.NewClient()
		e.signInWith(c, "acme", annAtProvider, "link_required")
		if c.Token != "" || len(c.Factors) != 0 {
			t.Errorf("confirmed %v: got a session or a pending login", confirmed)
		}
		e.wantCounts(1, 0)
		if diff := cmp.Diff(before, e.Account("ann@example.com")); diff != "" {
			t.Errorf("confirmed %v: account (-before +after):\n%s", confirmed, diff)
		}
	}
}
