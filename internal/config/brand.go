package config

import (
	"cmp"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"latchkey/internal/brand"
	"latchkey/internal/locale"
)

// Brand holds the name, the look and the languages of emails and pages.
type Brand struct {
	// Name is shown in place of Latchkey.
	Name string `env:"APP_NAME" envDefault:"Latchkey"`
	// URL is the website of the product. If empty, nothing links to it.
	URL string `env:"APP_URL"`
	// Color is the color of buttons, as #rrggbb. If empty, it is brand.DefaultColor.
	Color string `env:"APP_COLOR"`
	// LogoURL is the URL of an image that is shown in place of the name at the top.
	LogoURL string `env:"APP_LOGO_URL"`
	// DefaultLocale is the language of emails to users whose language is unknown.
	DefaultLocale string `env:"DEFAULT_LOCALE" envDefault:"en"`
	// MailTexts is a directory with texts and templates of emails. If empty, only the built-in ones
	// are used.
	MailTexts string `env:"MAIL_TEXTS"`
}

func (l *loader) checkBrand() {
	b := &l.Brand

	isUnprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	tooLong := utf8.RuneCountInString(b.Name) > brand.MaxName
	if tooLong || !utf8.ValidString(b.Name) || strings.ContainsFunc(b.Name, isUnprintable) {
		l.report("APP_NAME", "must be at most %d printable characters", brand.MaxName)
	}

	parse := l.webURL
	if l.AppEnv == Production {
		parse = l.secureURL
	}
	if b.URL != "" {
		parse("APP_URL", b.URL, "https://www.example.com")
	}

	// In a .env file, # begins a comment unless the value is quoted. So it may be left out.
	if b.Color != "" && !strings.HasPrefix(b.Color, "#") {
		b.Color = "#" + b.Color
	}
	if b.Color != "" && !brand.IsColor(b.Color) {
		l.report("APP_COLOR", "must be a color like #1f5fd0")
	}

	if b.LogoURL != "" && !isImageURL(b.LogoURL) {
		l.report("APP_LOGO_URL", "must look like https://www.example.com/logo.png, in ASCII and without a user or fragment")
	}

	// Whether there are texts in this language depends on MAIL_TEXTS, which package mail reads.
	if canonical := locale.Canonical(b.DefaultLocale); canonical == "" {
		l.report("DEFAULT_LOCALE", "must be a language tag (BCP 47) like de or pt-BR")
	} else {
		b.DefaultLocale = canonical
	}
}

// isImageURL reports whether mail clients can load an image from a URL. Unlike other URLs, it may
// have a query, which often contains a version.
func isImageURL(given string) bool {
	u, ok := parseURL(given, "https")
	isSpecial := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'<>\`+"`", r) }

	return ok && u.User == nil && !strings.Contains(given, "#") && !strings.HasSuffix(u.Host, ":") && !strings.ContainsFunc(given, isSpecial)
}

// nameSender adds the name of the product to MAIL_FROM, unless it has a name.
func (l *loader) nameSender(from *mail.Address) {
	if from.Name == "" {
		from.Name = cmp.Or(l.Brand.Name, brand.DefaultName)
		l.Mail.From = from.String()
	}
}
