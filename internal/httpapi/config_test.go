package httpapi_test

import (
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
)

// The configuration that pages read follows the settings, and needs no session.
func TestPublicConfig(t *testing.T) {
	t.Parallel()

	const languages = `"languages":["en","de","fr","es","pt","it","nl","pl","ja","zh-Hans"]`
	for name, tc := range map[string]struct {
		options apitest.Options
		want    string
	}{
		"defaults": {
			apitest.Options{},
			`{"name":"Latchkey","registration":"open","email":{"enabled":false,"verificationRequired":false},"providers":[],` +
				`"password":{"minLength":8,"maxLength":1024,"refuseCommon":false,"checkBreaches":false},"factors":["totp"],"factorRequired":false,` + languages + `}`,
		},
		"everything": {
			apitest.Options{
				Mail:                 &apitest.Outbox{},
				Registration:         auth.RegistrationPolicy{Mode: auth.InviteRegistration, Domains: []string{"example.com"}},
				RequireVerifiedEmail: true,
				MFA:                  auth.MFAAll,
				Rules:                auth.NewRules(true, "http://127.0.0.1:1", nil),
			},
			`{"name":"Latchkey","registration":"invite","emailDomains":["example.com"],"email":{"enabled":true,"verificationRequired":true},"providers":[],` +
				`"password":{"minLength":8,"maxLength":1024,"refuseCommon":true,"checkBreaches":true},"factors":["totp"],"factorRequired":true,` + languages + `}`,
		},
	} {
		got := string(apitest.New(t, tc.options).NewClient().Do("GET", "/auth/config", nil).Want(200).Raw)
		if got != tc.want+"\n" {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}
