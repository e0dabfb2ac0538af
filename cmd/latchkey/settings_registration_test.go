package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// codeOf returns the status and the code of a failure.
func codeOf(t *testing.T, res response) string {
	t.Helper()

	return fmt.Sprint(res.StatusCode, " ", decode[struct{ Code string }](t, res).Code)
}

func observeRegistration(t *testing.T, o *observer) {
	for mode, want := range map[string]string{"closed": "403 registration_closed", "invite": "403 invitation_required"} {
		addr, _, _ := start(t, environment(t, "REGISTRATION="+mode))
		o.equal(t, "REGISTRATION", codeOf(t, send(t, "POST", "http://"+addr+"/auth/register", annsAccount)), want)
	}

	s := newMailSetup(t, "REQUIRE_VERIFIED_EMAIL=true")
	strict, _, _ := start(t, s.environ)
	c := sessionCookie(t, mustSend(t, 201, "POST", "http://"+strict+"/auth/register", annsAccount))
	me := send(t, "GET", "http://"+strict+"/auth/me", "", "Cookie", c.Name+"="+c.Value)
	o.equal(t, "REQUIRE_VERIFIED_EMAIL", codeOf(t, me), "403 email_not_verified")

	config := send(t, "GET", "http://"+strict+"/auth/config", "")
	o.equal(t, "REQUIRE_VERIFIED_EMAIL", strings.Contains(config.text, `"email":{"enabled":true,"verificationRequired":true}`), true)

	addr, _, _ := start(t, environment(t, "REGISTRATION_DOMAINS=Odd.Example, xn--bcher-kva.example"))
	for email, want := range map[string]string{
		"ann@example.com":            "403 email_domain_not_allowed",
		"ann@odd.example":            "201 ",
		"ann@sub.odd.example":        "403 email_domain_not_allowed",
		"ann@bücher.example":         "201 ",
		"bob@xn--bcher-kva.example":  "201 ",
		"ann@odd.example.evil.test":  "403 email_domain_not_allowed",
		"ann+odd.example@evil.test":  "403 email_domain_not_allowed",
		"bob@ODD.EXAMPLE":            "201 ",
		"ann@xn--bcher-kva.evil.net": "403 email_domain_not_allowed",
	} {
		account := fmt.Sprintf(`{"name":"Ann","email":%q,"password":%q}`, email, annsPassword)
		res := send(t, "POST", "http://"+addr+"/auth/register", account)
		o.equal(t, "REGISTRATION_DOMAINS", email+": "+codeOf(t, res), email+": "+want)
	}
}

// Accounts that were not verified in time are deleted, but not before the log has announced it.
func observeUnverifiedMaxAge(t *testing.T, o *observer) {
	s := newMailSetup(t, "MAIL_INTERVAL=1s", "RESET_LINK_MAX_AGE=1s", "VERIFY_LINK_MAX_AGE=1s")
	addr, _, stop := start(t, s.environ)
	c := sessionCookie(t, mustSend(t, 201, "POST", "http://"+addr+"/auth/register", annsAccount))
	testkit.NoError(t, stop())

	users := storetest.Database(t, s.mongo).Collection("users")
	_, err := users.UpdateMany(context.Background(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "createdAt", Value: time.Now().Add(-time.Hour)}}}})
	testkit.NoError(t, err)

	addr, log, _ := start(t, append(s.environ, "UNVERIFIED_MAX_AGE=1h", "OPS_ADDR=127.0.0.1:0"))
	testkit.Eventually(t, "the announcement", func() bool {
		return strings.Contains(log.String(), `accounts with an unverified email will be deleted; to keep them, unset UNVERIFIED_MAX_AGE","count":1,"in":"6m0s"`)
	})
	if got := send(t, "GET", "http://"+addr+"/auth/session", "", "Cookie", c.Name+"="+c.Value).StatusCode; got != 200 {
		t.Errorf("session after the announcement: got %d, want 200", got)
	}

	addr, log, _ = start(t, append(s.environ, "UNVERIFIED_MAX_AGE=2s", "OPS_ADDR=127.0.0.1:0"))
	testkit.Eventually(t, "the deletion", func() bool {
		return strings.Contains(log.String(), `"accounts with an unverified email deleted","count":1`)
	})
	res := send(t, "GET", "http://"+addr+"/auth/session", "", "Cookie", c.Name+"="+c.Value)
	o.equal(t, "UNVERIFIED_MAX_AGE", strings.Contains(res.text, `"reason":"account_deleted"`), true)
	o.equal(t, "UNVERIFIED_MAX_AGE", strings.Contains(log.String(), `"event":"account_expired"`), true)
	wantGet(t, "http://"+opsAddr(t, log)+"/metrics", 200, "latchkey_accounts_expired_total 1")
}
