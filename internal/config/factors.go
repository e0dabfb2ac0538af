package config

import "slices"

// MFA determines which users need a second factor to log in.
type MFA string

// The values of REQUIRE_MFA.
const (
	MFAOff      MFA = "off"      // nobody, even if the account has a second factor
	MFAEnrolled MFA = "enrolled" // users whose account has a second factor
	MFAAll      MFA = "all"      // everyone; users without a second factor can only set one up
)

// Factors holds the settings of second factors.
type Factors struct {
	// DataKeys encrypt the seeds of authenticator apps. The first one encrypts, all decrypt. If empty,
	// nobody can set up an authenticator app.
	DataKeys []Secret `env:"DATA_KEY"`
	Require  MFA      `env:"REQUIRE_MFA" envDefault:"enrolled"`
}

func (l *loader) checkFactors() {
	const name = "DATA_KEY"

	f := &l.Factors
	l.checkSecrets(name, f.DataKeys)

	isShared := func(key Secret) bool { return key != "" && slices.Contains(l.Session.Secrets, key) }
	if slices.ContainsFunc(f.DataKeys, isShared) {
		// Old values of SESSION_SECRET are dropped after a day, but seeds are kept for years.
		l.report(name, "must not contain a secret of SESSION_SECRET%s", howToGenerate)
	}

	if len(f.DataKeys) > 0 || l.rejected[name] {
		return
	}

	if f.Require == MFAAll {
		l.report("REQUIRE_MFA", "all requires DATA_KEY: without it, nobody can set up a second factor")
	}
	l.warn("DATA_KEY is not set: nobody can set up an authenticator app, and those that are set up do not work")
}
