package httpapi

import (
	"cmp"
	"net/http"

	"latchkey/internal/auth"
)

// configResult contains the settings that a page needs before the user signs in, so that it can hide
// features that are not available.
type configResult struct {
	Name         string                `json:"name" description:"The name of the product: APP_NAME."`
	URL          string                `json:"url,omitempty" format:"uri" description:"The product's website: APP_URL."`
	Registration auth.RegistrationMode `json:"registration" enum:"open,invite,closed" description:"Who may create an account: anyone, only invited users, or nobody."`
	EmailDomains []string              `json:"emailDomains,omitempty" minItems:"1" description:"The domains that emails may have. Missing if all are allowed."`
	Email        emailConfig           `json:"email"`
	Providers    []loginProvider       `json:"providers"`
	Password     passwordConfig        `json:"password"`
	Factors      []auth.FactorKind     `json:"factors" description:"The kinds of second factors that users can add."`
	// FactorRequired is REQUIRE_MFA=all.
	FactorRequired bool     `json:"factorRequired" description:"Whether every user must add a second factor before they can use most routes."`
	Languages      []string `json:"languages" minItems:"1" description:"The languages of emails and pages, as BCP 47 tags."`
}

type emailConfig struct {
	Enabled              bool `json:"enabled" description:"Whether emails are sent. If not, users cannot reset a password, and cannot verify or change their email."`
	VerificationRequired bool `json:"verificationRequired" description:"Whether users must verify their email before they can use most routes."`
}

type passwordConfig struct {
	MinLength     int  `json:"minLength" minimum:"8" description:"In characters."`
	MaxLength     int  `json:"maxLength" minimum:"64" description:"In characters."`
	RefuseCommon  bool `json:"refuseCommon" description:"Whether common passwords are refused."`
	CheckBreaches bool `json:"checkBreaches" description:"Whether passwords from known breaches are refused."`
}

var configOperation = operation{
	id:          "config",
	tag:         tagLogin,
	summary:     "Get the public configuration",
	description: "With it, a page can hide features that are not available, such as registration, providers, and everything that needs an email. It depends only on the settings of the server.",
	response: response{
		status: http.StatusOK,
		result: "The configuration",
		body: configResult{
			Name:         "Example",
			URL:          "https://example.com/",
			Registration: auth.OpenRegistration,
			EmailDomains: []string{"example.com"},
			Email:        emailConfig{Enabled: true, VerificationRequired: false},
			Providers:    []loginProvider{{"google", "Google"}, {"github", "GitHub"}},
			Password: passwordConfig{
				MinLength:    auth.MinPasswordLength,
				MaxLength:    auth.MaxPasswordLength,
				RefuseCommon: true,
			},
			Factors:   []auth.FactorKind{auth.TOTPFactor},
			Languages: []string{"en", "de"},
		},
	},
}

// config handles GET /auth/config.
func (s *Server) config(w http.ResponseWriter, _ *http.Request) error {
	policy := s.auth.Registration()
	rules := s.auth.Rules()

	return writeJSON(w, http.StatusOK, configResult{
		Name:         s.brand.Name,
		URL:          s.brand.URL,
		Registration: cmp.Or(policy.Mode, auth.OpenRegistration),
		EmailDomains: policy.Domains,
		Email: emailConfig{
			Enabled:              s.auth.SendsEmail(),
			VerificationRequired: s.verifiedOnly,
		},
		Providers: s.loginProviders(),
		Password: passwordConfig{
			MinLength:     s.minPassword,
			MaxLength:     auth.MaxPasswordLength,
			RefuseCommon:  rules.RefusesCommon(),
			CheckBreaches: rules.ChecksBreaches(),
		},
		Factors:        s.auth.AvailableFactors(),
		FactorRequired: s.auth.MFA() == auth.MFAAll,
		Languages:      s.languages.Names(),
	})
}
