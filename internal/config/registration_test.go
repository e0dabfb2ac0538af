package config

import (
	"strings"
	"testing"
)

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
