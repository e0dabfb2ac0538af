package config

import "testing"

func TestBrand(t *testing.T) {
	t.Parallel()

	c := load(t, good(map[string]string{
		"APP_NAME":     "Bäckerei „Zum Löwen“",
		"APP_URL":      "https://www.example.com/shop/",
		"APP_COLOR":    "Ffdd00",
		"APP_LOGO_URL": "https://cdn.example.com/logo.png?v=2",
	}))
	checkEqual(t, "APP_NAME", c.Brand.Name, "Bäckerei „Zum Löwen“")
	checkEqual(t, "APP_URL", c.Brand.URL, "https://www.example.com/shop/")
	checkEqual(t, "APP_COLOR", c.Brand.Color, "#Ffdd00")
	checkEqual(t, "DEFAULT_LOCALE", load(t, good(map[string]string{"DEFAULT_LOCALE": "PT_br"})).Brand.DefaultLocale, "pt-BR")
	checkEqual(t, "APP_LOGO_URL", c.Brand.LogoURL, "https://cdn.example.com/logo.png?v=2")

	c = load(t, good(map[string]string{"APP_ENV": "development", "APP_URL": "http://shop.test"}))
	checkEqual(t, "APP_NAME", c.Brand.Name, "Latchkey")
	checkEqual(t, "APP_URL in development", c.Brand.URL, "http://shop.test")
}

// MAIL_FROM has the name of the product unless it has a name.
func TestSenderName(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct{ app, from, want string }{
		{"Acme", "no-reply@example.com", `"Acme" <no-reply@example.com>`},
		{"Acme", "<no-reply@example.com>", `"Acme" <no-reply@example.com>`},
		{"Acme", "Acme Accounts <no-reply@example.com>", "Acme Accounts <no-reply@example.com>"},
		{"Müller", "no-reply@example.com", "=?utf-8?q?M=C3=BCller?= <no-reply@example.com>"},
		{"", "no-reply@example.com", `"Latchkey" <no-reply@example.com>`},
	} {
		c := load(t, good(map[string]string{"APP_NAME": tc.app, "FRONTEND_URL": "https://app.example.com", "SMTP_URL": "smtp://localhost", "MAIL_FROM": tc.from}))
		checkEqual(t, "MAIL_FROM="+tc.from, c.Mail.From, tc.want)
	}
}

// In production, emails in the name of Latchkey are probably not intended.
func TestMissingNameIsAWarning(t *testing.T) {
	t.Parallel()

	const warning = "APP_NAME is not set: emails call your product Latchkey"
	withMail := map[string]string{"FRONTEND_URL": "https://app.example.com", "SMTP_URL": "smtp://localhost", "MAIL_FROM": "no-reply@example.com"}
	checkEqual(t, "warnings", load(t, good(withMail)).Warnings, []string{warning})

	withMail["APP_NAME"] = "Latchkey"
	checkEqual(t, "warnings with the default name", len(load(t, good(withMail)).Warnings), 0)
}
