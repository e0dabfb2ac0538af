package config

import (
	"strings"
	"testing"
)

// Domains are compared in the form in which emails are stored.
func TestRegistrationDomains(t *testing.T) {
	t.Parallel()

	c := load(t, withSMTP(good(map[string]string{
		"REGISTRATION_DOMAINS":   " Example.com, xn--bcher-kva.example,BÜCHER.example,",
		"REQUIRE_VERIFIED_EMAIL": "true",
		"FRONTEND_URL":           "https://app.example.com",
		"APP_NAME":               "Example",
	})))
	checkEqual(t, "domains", c.Registration.Domains, []string{"example.com", "bücher.example", "bücher.example"})
	checkEqual(t, "warnings", c.Warnings, []string(nil))
}

// Domains without a verified email are worth a warning only if anyone may register. Those who are invited
// have proved ownership of their email.
func TestUnverifiedDomainsAreAWarning(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		mode, required string
		want           bool
	}{
		{"open", "false", true},
		{"open", "true", false},
		{"invite", "false", false},
		{"closed", "false", false},
	} {
		c := load(t, good(map[string]string{
			"REGISTRATION":           tc.mode,
			"REGISTRATION_DOMAINS":   "example.com",
			"REQUIRE_VERIFIED_EMAIL": tc.required,
			"FRONTEND_URL":           "https://app.example.com",
			"SMTP_URL":               "smtp://localhost",
			"MAIL_FROM":              "no-reply@example.com",
		}))
		warned := strings.Contains(strings.Join(c.Warnings, "\n"), "REGISTRATION_DOMAINS")
		checkEqual(t, "warning with REGISTRATION="+tc.mode+" and REQUIRE_VERIFIED_EMAIL="+tc.required, warned, tc.want)
	}
}
