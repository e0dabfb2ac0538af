package config

import (
	"slices"
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

// Without a verified email, a list of domains keeps nobody out.
func TestDomainsWithoutVerification(t *testing.T) {
	t.Parallel()

	warns := func(w string) bool { return strings.HasPrefix(w, "REGISTRATION_DOMAINS is set without REQUIRE_VERIFIED_EMAIL") }
	c := load(t, good(map[string]string{"REGISTRATION_DOMAINS": "example.com"}))
	if !slices.ContainsFunc(c.Warnings, warns) {
		t.Errorf("warnings: got %q, want one about the domains", c.Warnings)
	}
}
