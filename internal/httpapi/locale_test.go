package httpapi_test

import (
	"context"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// A new account gets the first language of its browser that emails are written in.
func TestLocaleOfNewAccount(t *testing.T) {
	t.Parallel()

	const register = "password"
	for _, tc := range []struct {
		way, header, locale, subject string
	}{
		{register, "de-AT,de;q=0.9,en;q=0.8", "de-AT", "Bestätigen Sie Ihre E-Mail-Adresse für Latchkey"},
		{register, "sv,pl;q=0.5", "pl", "Potwierdź adres e-mail w serwisie Latchkey"}, //nolint:misspell // Polish
		{register, "zh-CN,zh;q=0.9", "zh-CN", "验证您的 Latchkey 邮箱地址"},
		{register, "zh-TW,zh;q=0.9,en-US;q=0.8,en;q=0.7", "en-US", "Confirm your email address for Latchkey"},
		{register, "zh-HK", "", "Confirm your email address for Latchkey"},
		{register, "", "", "Confirm your email address for Latchkey"},
		{register, "<script>", "", "Confirm your email address for Latchkey"},
		{"acme", "ja", "ja", "Latchkey：メールアドレスの確認"},
		{"acme", "ca", "", "Confirm your email address for Latchkey"},
	} {
		// One after the other: on a Redis Cluster they share a mail queue.
		t.Run(tc.way+" "+tc.header, func(t *testing.T) {
			e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
			c := e.NewClient()
			c.Language = tc.header
			if tc.way == register {
				c.Do("POST", "/auth/register", map[string]any{"name": "Ann", "email": "ann@gmail.com", "password": apitest.Password}).Want(201)
			} else {
				e.signInWith(c, tc.way, providerUser{sub: "1", email: "ann@gmail.com", unverified: true}, "")
			}

			if got := e.Account("ann@gmail.com").Locale; got != tc.locale {
				t.Errorf("%s with Accept-Language %q: got locale %q, want %q", tc.way, tc.header, got, tc.locale)
			}
			if got := c.Do("GET", "/auth/me", nil).Want(200).Text("user", "locale"); got != tc.locale {
				t.Errorf("%s with Accept-Language %q: got user with locale %q, want %q", tc.way, tc.header, got, tc.locale)
			}
			e.Outbox.Subject(t, "ann@gmail.com", tc.subject)
		})
	}
}

// The owner of an email who claims an account gets emails in their own language, not in that of the
// stranger who created the account.
func TestLocaleOfClaimedAccount(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	eve := e.NewClient()
	eve.Language = "pl"
	eve.Do("POST", "/auth/register", map[string]any{"name": "Eve", "email": "ann@gmail.com", "password": apitest.Password}).Want(201)

	ann := e.NewClient()
	ann.Language = "nl-BE"
	e.signInWith(ann, "acme", providerUser{sub: "1", email: "ann@gmail.com"}, "")

	if got := e.Account("ann@gmail.com").Locale; got != "nl-BE" {
		t.Errorf("got locale %q, want nl-BE", got)
	}
	e.Outbox.Subject(t, "ann@gmail.com", "Je account bij Latchkey is nu bevestigd")
}

// Users can change the language of their emails, together with their name or alone.
func TestChangeLocale(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	c := s.Register("ann@example.com")
	profile := func(body any) apitest.Response { return c.Do("PUT", "/profile", body) }

	if a := profile(map[string]any{"locale": "DE_at"}).Want(200); a.Text("user", "locale") != "de-AT" || a.Text("user", "name") != "Ann" {
		t.Errorf("locale alone: got %s, want de-AT and the old name", a.Raw)
	}
	if a := profile(map[string]any{"name": "Ann B."}).Want(200); a.Text("user", "locale") != "de-AT" || a.Text("user", "name") != "Ann B." {
		t.Errorf("name alone: got %s, want the new name and the old locale", a.Raw)
	}
	if a := profile(map[string]any{"name": "Ann C.", "locale": "fr"}).Want(200); a.Text("user", "locale") != "fr" || a.Text("user", "name") != "Ann C." {
		t.Errorf("both: got %s, want both changed", a.Raw)
	}

	for _, locale := range []string{"", "zh-TW", "ca", "klingon", "und", "*", "de;q=1", strings.Repeat("de-", 50)} {
		a := profile(map[string]any{"name": "Eve", "locale": locale}).WantCode(400, "validation_failed")
		if first := a.JSON["errors"].([]any)[0].(map[string]any); first["field"] != "locale" || first["code"] != "unsupported_locale" {
			t.Errorf("locale %q: got %s, want unsupported_locale", locale, a.Raw)
		}
	}
	for _, body := range []any{map[string]any{}, map[string]any{"name": ""}, map[string]any{"name": nil}, map[string]any{"locale": 7}} {
		profile(body).WantCode(400, "validation_failed")
	}
	if u := s.Account("ann@example.com"); u.Name != "Ann C." || u.Locale != "fr" {
		t.Errorf("after rejected changes: got %+v, want the account unchanged", u)
	}

	c.Do("POST", "/auth/password/change", map[string]any{"currentPassword": apitest.Password, "newPassword": apitest.NewPassword}).Want(200)
	s.Outbox.Subject(t, "ann@example.com", "Votre mot de passe Latchkey a été modifié")

	c.Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"}).Want(202)
	s.Outbox.Subject(t, "ann@example.com", "Réinitialisez votre mot de passe Latchkey")

	// The last email is written after the account has gone.
	c.Do("DELETE", "/profile", nil).Want(204)
	s.Outbox.Subject(t, "ann@example.com", "Votre compte Latchkey a été supprimé")
}

// A locale that another application has stored is not shown unless it is one, and harms no email.
func TestStoredLocale(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	c := s.Register("ann@example.com")
	s.Outbox.Subject(t, "ann@example.com", "Confirm your email address for Latchkey")

	for _, stored := range []any{"<b>German</b>", strings.Repeat("x", 5000), 7, bson.D{{Key: "lang", Value: "de"}}} {
		_, err := s.DB.Collection("users").UpdateOne(context.Background(), bson.D{{Key: "email", Value: user.Email("ann@example.com")}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "locale", Value: stored}}}})
		testkit.NoError(t, err)
		if shown, ok := c.Clone().Do("GET", "/auth/me", nil).Want(200).JSON["user"].(map[string]any)["locale"]; ok {
			t.Errorf("stored locale %.20v: got %v, want none", stored, shown)
		}
	}

	c.Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"}).Want(202)
	s.Outbox.Subject(t, "ann@example.com", "Reset your Latchkey password")
}
