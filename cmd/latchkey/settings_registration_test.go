package main

import (
	"fmt"
	"strings"
	"testing"
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
