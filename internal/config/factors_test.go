package config

import (
	"slices"
	"testing"
)

func TestRequireMFA(t *testing.T) {
	t.Parallel()

	for value, want := range map[string]MFA{"": MFAEnrolled, "off": MFAOff, "enrolled": MFAEnrolled, "All": MFAAll} {
		checkEqual(t, "REQUIRE_MFA="+value, load(t, good(map[string]string{"REQUIRE_MFA": value})).Factors.Require, want)
	}
}

// The keys keep their order, because the first one encrypts.
func TestDataKeys(t *testing.T) {
	t.Parallel()

	c := load(t, good(map[string]string{"DATA_KEY": "new" + goodKey + ", " + goodKey}))
	if want := []Secret{"new" + goodKey, goodKey}; !slices.Equal(c.Factors.DataKeys, want) {
		t.Errorf("got %d keys, want the two that were given, in their order and without spaces", len(c.Factors.DataKeys))
	}

	c = load(t, map[string]string{"APP_ENV": Development, "SESSION_SECRET": "x", "DATA_KEY": "y"})
	checkEqual(t, "short keys in development", len(c.Factors.DataKeys), 1)
}

// Without a key the server starts, because not every product offers second factors, but it logs a warning.
func TestMissingDataKeyIsAWarning(t *testing.T) {
	t.Parallel()

	const warning = "DATA_KEY is not set: nobody can set up an authenticator app, and those that are set up do not work"
	for _, environment := range []string{Production, Development, Test} {
		for key, want := range map[string]bool{"": true, goodKey: false} {
			c := load(t, good(map[string]string{"APP_ENV": environment, "DATA_KEY": key}))
			if got := slices.Contains(c.Warnings, warning); got != want || (len(c.Factors.DataKeys) == 0) != want {
				t.Errorf("APP_ENV=%s, with a key: %t: got %d keys and warnings %q", environment, key != "", len(c.Factors.DataKeys), c.Warnings)
			}
		}
	}
}
