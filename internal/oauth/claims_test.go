package oauth

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"latchkey/internal/oauth/oauthtest"
)

// What the provider says is taken for what it is.
func TestClaims(t *testing.T) {
	t.Parallel()
	type row struct {
		kind   Kind
		claims map[string]any
		// onlyInUserInfo is taken out of the ID token.
		onlyInUserInfo []string
		email          string
		verified       bool
		name, picture  string
		asked          int
	}
	person := func(changes map[string]any) map[string]any {
		claims := maps.Clone(ann)
		for name, value := range changes {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
		return claims
	}
	const img = "https://img.example.com/ann"
	for name, tc := range map[string]row{
		"all":                   {OIDC, ann, nil, "ann@example.com", true, "Ann Example", img, 0},
		"not verified":          {OIDC, person(map[string]any{"email_verified": false}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"verified in a string":  {OIDC, person(map[string]any{"email_verified": "true"}), nil, "ann@example.com", true, "Ann Example", img, 0},
		"not, in a string":      {OIDC, person(map[string]any{"email_verified": "false"}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"nothing of verified":   {OIDC, person(map[string]any{"email_verified": nil}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"no address":            {OIDC, person(map[string]any{"email": nil}), nil, "", false, "Ann Example", img, 1},
		"no address for us":     {OIDC, person(map[string]any{"email": "ann@localhost"}), nil, "", false, "Ann Example", img, 0},
		"no name for us":        {OIDC, person(map[string]any{"name": "a\nb"}), nil, "ann@example.com", true, "", img, 0},
		"a picture without TLS": {OIDC, person(map[string]any{"picture": "http://img.example.com/"}), nil, "ann@example.com", true, "Ann Example", "", 0},
		"a picture of script":   {OIDC, person(map[string]any{"picture": "javascript:alert(1)"}), nil, "ann@example.com", true, "Ann Example", "", 0},
		"a picture of data":     {OIDC, person(map[string]any{"picture": "data:image/png;base64,"}), nil, "ann@example.com", true, "Ann Example", "", 0},
		"a picture of nowhere":  {OIDC, person(map[string]any{"picture": "https:///x"}), nil, "ann@example.com", true, "Ann Example", "", 0},
		"a long picture":        {OIDC, person(map[string]any{"picture": "https://a/" + strings.Repeat("x", maxPicture)}), nil, "ann@example.com", true, "Ann Example", "", 0},
		"address asked for":     {OIDC, ann, []string{"email", "email_verified"}, "ann@example.com", true, "Ann Example", img, 1},
		"all asked for":         {OIDC, ann, []string{"email", "email_verified", "name", "picture"}, "ann@example.com", true, "Ann Example", img, 1},
		"name asked for":        {OIDC, ann, []string{"name"}, "ann@example.com", true, "Ann Example", img, 1},
		// What is said of one address holds for no other one.
		"verified elsewhere": {OIDC, ann, []string{"email_verified", "name"}, "ann@example.com", false, "Ann Example", img, 1},

		"Google, elsewhere":      {Google, ann, nil, "ann@example.com", false, "Ann Example", img, 0},
		"Google's own":           {Google, person(map[string]any{"email": "Ann@Gmail.com"}), nil, "ann@gmail.com", true, "Ann Example", img, 0},
		"Google's own, not":      {Google, person(map[string]any{"email": "ann@gmail.com", "email_verified": false}), nil, "ann@gmail.com", false, "Ann Example", img, 0},
		"almost Google's":        {Google, person(map[string]any{"email": "ann@notgmail.com"}), nil, "ann@notgmail.com", false, "Ann Example", img, 0},
		"under Google's name":    {Google, person(map[string]any{"email": "ann@gmail.com.example"}), nil, "ann@gmail.com.example", false, "Ann Example", img, 0},
		"hosted by Google":       {Google, person(map[string]any{"hd": "example.com"}), nil, "ann@example.com", true, "Ann Example", img, 0},
		"hosted, not verified":   {Google, person(map[string]any{"hd": "example.com", "email_verified": false}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"hosted by whom":         {Google, person(map[string]any{"hd": ""}), nil, "ann@example.com", false, "Ann Example", img, 0},
		"hosted says userinfo":   {Google, person(map[string]any{"hd": "example.com"}), []string{"hd", "name"}, "ann@example.com", false, "Ann Example", img, 1},
		"hosted means no others": {OIDC, person(map[string]any{"hd": "example.com"}), nil, "ann@example.com", true, "Ann Example", img, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w *world
			i := newIssuer(t, &w)
			w = newWorld(t, settingsOf(tc.kind, "home", i.URL))
			i.Behave(oauthtest.Behaviour{IDToken: func(claims map[string]any) {
				for _, name := range tc.onlyInUserInfo {
					delete(claims, name)
				}
			}})
			f := w.begin(t, "home", Flow{})
			got, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.address, tc.claims))
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Email) != tc.email || got.EmailVerified != tc.verified || got.Name != tc.name || got.Picture != tc.picture {
				t.Errorf("got %+v", got)
			}
			if calls := i.Calls(oauthtest.UserInfo); calls != tc.asked {
				t.Errorf("the userinfo endpoint was asked %d times", calls)
			}
		})
	}
}

// When the user has proved who they are is not later than now. A provider that can tell
// is asked each time, so that nobody takes the question out of the address on the way.
func TestAuthenticatedAt(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	never, long := time.Unix(0, 0), now.Add(-time.Hour)
	for name, tc := range map[string]struct {
		tells, again bool
		authTime     any // none in the ID token if it is nil
		want         time.Time
	}{
		"cannot tell":                   {false, false, nil, now},
		"cannot tell, wanted":           {false, true, nil, now},
		"tells unannounced":             {false, false, long.Unix(), long},
		"tells unannounced, wanted":     {false, true, long.Unix(), time.Time{}},
		"tells":                         {true, false, long.Unix(), long},
		"does not tell":                 {true, false, nil, never},
		"does not tell, wanted":         {true, true, nil, time.Time{}},
		"now":                           {true, true, now.Unix(), now},
		"a clock behind":                {true, true, now.Add(-clockSkew).Unix(), now.Add(-clockSkew)},
		"before the flow":               {true, true, now.Add(-clockSkew - time.Second).Unix(), time.Time{}},
		"a clock ahead":                 {true, true, now.Add(time.Hour).Unix(), now},
		"half a second":                 {true, false, float64(now.Unix()) - 0.5, now.Add(-time.Second)},
		"1970":                          {true, false, 0, never},
		"before time":                   {true, false, -5, time.Time{}},
		"after all time":                {true, false, 1e300, time.Time{}},
		"before time, unannounced":      {false, false, -5, time.Time{}},
		"text":                          {true, false, "now", time.Time{}},
		"null":                          {true, true, json.RawMessage("null"), time.Time{}},
		"null from who tells otherwise": {true, false, json.RawMessage("null"), never},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, i := oneIssuer(t)
			b := oauthtest.Behaviour{IDToken: func(claims map[string]any) {
				if claims["auth_time"] = tc.authTime; tc.authTime == nil {
					delete(claims, "auth_time")
				}
			}}
			if tc.tells {
				b.Document = func(d map[string]any) { d["claims_supported"] = []string{"sub", "auth_time"} }
			}
			i.Behave(b)
			f := w.begin(t, "home", Flow{Reauthenticate: tc.again})
			got, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.address, ann))
			if tc.want.IsZero() {
				only(t, err, ErrRefused)
				return
			}
			if asked := queryOf(t, f.address).Get("max_age"); (asked != "") != (tc.tells || tc.again) {
				t.Errorf("the provider was asked with a max_age of %q", asked)
			}
			if only(t, err, nil); !got.AuthenticatedAt.Equal(tc.want) {
				t.Errorf("got %v, want %v", got.AuthenticatedAt, tc.want)
			}
		})
	}
}
