package oauth

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/testkit"
)

// Valid claims of the provider are used, others are dropped.
func TestClaims(t *testing.T) {
	t.Parallel()

	type row struct {
		kind   Kind
		claims map[string]any

		// onlyInUserInfo lists claims that the ID token does not contain.
		onlyInUserInfo []string
		email          string
		verified       bool
		name, picture  string
		requests       int // to the userinfo endpoint
	}

	person := func(changes map[string]any) map[string]any {
		claims := maps.Clone(ann)
		changed(changes).IDToken(claims)

		return claims
	}

	const img = "https://img.example.com/ann"
	for name, tc := range map[string]row{
		"complete":               {OIDC, ann, nil, "ann@example.com", true, "Ann Example", img, 0},
		"not verified":           {OIDC, person(map[string]any{"email_verified": false}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"verified in a string":   {OIDC, person(map[string]any{"email_verified": "true"}), nil, "ann@example.com", true, "Ann Example", img, 0},
		"unverified in a string": {OIDC, person(map[string]any{"email_verified": "false"}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"null email_verified":    {OIDC, person(map[string]any{"email_verified": json.RawMessage("null")}), nil, "ann@example.com", false, "Ann Example", img, 1},
		"no email_verified":      {OIDC, person(map[string]any{"email_verified": nil}), nil, "ann@example.com", false, "Ann Example", img, 1},
		"no email":               {OIDC, person(map[string]any{"email": nil}), nil, "", false, "Ann Example", img, 1},
		"invalid email":          {OIDC, person(map[string]any{"email": "ann@localhost"}), nil, "", false, "Ann Example", img, 0},
		"invalid name":           {OIDC, person(map[string]any{"name": "a\nb"}), nil, "ann@example.com", true, "", img, 0},
		"http picture":           {OIDC, person(map[string]any{"picture": "http://img.example.com/"}), nil, "ann@example.com", true, "Ann Example", "", 0},
		"picture without host":   {OIDC, person(map[string]any{"picture": "https:///x"}), nil, "ann@example.com", true, "Ann Example", "", 0},
		"picture URL too long":   {OIDC, person(map[string]any{"picture": "https://a/" + strings.Repeat("x", maxPicture)}), nil, "ann@example.com", true, "Ann Example", "", 0},
		"email in userinfo":      {OIDC, ann, []string{"email", "email_verified"}, "ann@example.com", true, "Ann Example", img, 1},
		"name in userinfo":       {OIDC, ann, []string{"name"}, "ann@example.com", true, "", img, 0}, // not worth a request
		"verified in userinfo":   {OIDC, ann, []string{"email_verified", "name"}, "ann@example.com", true, "Ann Example", img, 1},

		"email is a number":              {OIDC, person(map[string]any{"email": 42}), nil, "", false, "Ann Example", img, 1},
		"email_verified is a number":     {OIDC, person(map[string]any{"email_verified": 1}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"email_verified is another text": {OIDC, person(map[string]any{"email_verified": "yes"}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"email_verified is a list":       {OIDC, person(map[string]any{"email_verified": []bool{true}}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"name is an object":              {OIDC, person(map[string]any{"name": map[string]any{"first": "Ann"}}), nil, "ann@example.com", true, "", img, 0},
		"picture is an object":           {OIDC, person(map[string]any{"picture": map[string]any{"data": map[string]any{"url": img}}}), nil, "ann@example.com", true, "Ann Example", "", 0},
		"hd is a bool":                   {Google, person(map[string]any{"hd": false}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"everything is null": {OIDC, person(map[string]any{
			"email": json.RawMessage("null"), "email_verified": json.RawMessage("null"), "name": json.RawMessage("null"), "picture": json.RawMessage("null"),
		}), nil, "", false, "", "", 1},

		"Google, other domain":              {Google, ann, nil, "ann@example.com", false, "Ann Example", img, 0},
		"Google, gmail.com":                 {Google, person(map[string]any{"email": "Ann@Gmail.com"}), nil, "ann@gmail.com", true, "Ann Example", img, 0},
		"Google, gmail.com, unverified":     {Google, person(map[string]any{"email": "ann@gmail.com", "email_verified": false}), nil, "ann@gmail.com", false, "Ann Example", img, 0},
		"Google, similar domain":            {Google, person(map[string]any{"email": "ann@notgmail.com"}), nil, "ann@notgmail.com", false, "Ann Example", img, 0},
		"Google, subdomain lookalike":       {Google, person(map[string]any{"email": "ann@gmail.com.example"}), nil, "ann@gmail.com.example", false, "Ann Example", img, 0},
		"Google, hosted domain":             {Google, person(map[string]any{"hd": "example.com"}), nil, "ann@example.com", true, "Ann Example", img, 0},
		"Google, hosted, unverified":        {Google, person(map[string]any{"hd": "example.com", "email_verified": false}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"Google, hosted only in userinfo":   {Google, person(map[string]any{"hd": "example.com"}), []string{"hd", "email_verified"}, "ann@example.com", false, "Ann Example", img, 1},
		"hosted domain of another provider": {OIDC, person(map[string]any{"hd": "example.com"}), nil, "ann@example.com", true, "Ann Example", img, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, i := issuerOf(t, tc.kind)
			i.Behave(oauthtest.Behaviour{IDToken: func(claims map[string]any) {
				for _, name := range tc.onlyInUserInfo {
					delete(claims, name)
				}
			}})

			f := w.begin(t, "home", Flow{})
			got, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.redirect, tc.claims))
			testkit.NoError(t, err)

			if string(got.Email) != tc.email || got.EmailVerified != tc.verified || got.Name != tc.name || got.Picture != tc.picture {
				t.Errorf("got %+v, want email %q (verified %t), name %q, picture %q", got, tc.email, tc.verified, tc.name, tc.picture)
			}
			if calls := i.Calls(oauthtest.UserInfo); calls != tc.requests {
				t.Errorf("got %d requests to the userinfo endpoint, want %d", calls, tc.requests)
			}
		})
	}
}

// The time of authentication is never in the future. If a provider supports auth_time, every sign-in
// requests it, so that removing the parameter from the URL does not help an attacker.
func TestAuthenticatedAt(t *testing.T) {
	t.Parallel()

	now := newClock().now()
	never := time.Unix(0, 0)
	earlier := now.Add(-time.Hour)

	for name, tc := range map[string]struct {
		supported      bool
		reauthenticate bool
		authTime       any // nil if the ID token does not contain it
		want           time.Time
	}{
		"unsupported":           {false, false, nil, now},
		"unsupported, required": {false, true, nil, now},
		"unannounced":           {false, false, earlier.Unix(), earlier},
		"unannounced, required": {false, true, earlier.Unix(), time.Time{}},
		"present":               {true, false, earlier.Unix(), earlier},
		"missing":               {true, false, nil, never},
		"missing, required":     {true, true, nil, time.Time{}},
		"now":                   {true, true, now.Unix(), now},
		"clock behind":          {true, true, now.Add(-clockSkew).Unix(), now.Add(-clockSkew)},
		"before the flow":       {true, true, now.Add(-clockSkew - time.Second).Unix(), time.Time{}},
		"clock ahead":           {true, true, now.Add(clockSkew).Unix(), now},
		"future":                {true, true, now.Add(clockSkew + time.Second).Unix(), time.Time{}},
		"future, not required":  {true, false, now.Add(clockSkew + time.Second).Unix(), time.Time{}},
		"future, unannounced":   {false, false, now.Add(clockSkew + time.Second).Unix(), time.Time{}},
		"fractional seconds":    {true, false, float64(now.Unix()) - 0.5, now.Add(-time.Second)},
		"1970":                  {true, false, 0, never},
		"negative":              {true, false, -5, time.Time{}},
		"too large":             {true, false, 1e300, time.Time{}},
		"text":                  {true, false, "now", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, i := oneIssuer(t)
			b := oauthtest.Behaviour{IDToken: func(claims map[string]any) {
				if claims["auth_time"] = tc.authTime; tc.authTime == nil {
					delete(claims, "auth_time")
				}
			}}

			if tc.supported {
				b.Document = func(d map[string]any) { d["claims_supported"] = []string{"sub", "auth_time"} }
			}

			i.Behave(b)
			f := w.begin(t, "home", Flow{Reauthenticate: tc.reauthenticate})
			got, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.redirect, ann))
			if tc.want.IsZero() {
				wantError(t, err, ErrRefused)
				return
			}
			if maxAge := queryOf(t, f.redirect).Get("max_age"); (maxAge != "") != (tc.supported || tc.reauthenticate) {
				t.Errorf("got max_age %q, want it to be set: %t", maxAge, tc.supported || tc.reauthenticate)
			}

			wantError(t, err, nil)
			if !got.AuthenticatedAt.Equal(tc.want) {
				t.Errorf("got %v, want %v", got.AuthenticatedAt, tc.want)
			}
		})
	}
}
