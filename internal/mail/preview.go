package mail

import (
	"cmp"
	"strings"
	"time"
)

// sampleTime is when the events in previews happened.
var sampleTime = time.Date(2026, 11, 22, 13, 32, 0, 0, time.UTC)

// sampleToken is the one-time token in previews.
const sampleToken = "bXkgc2VjcmV0IHRva2VuIGlzIHZlcnkgbG9uZyAxMjM0NTY3ODk"

// Preview returns an email of a kind with invented values, in a language of the Composer.
func (c *Composer) Preview(kind Kind, lang string) (Message, error) {
	return c.compose(c.textsFor(lang), c.sample(kind), sampleTime)
}

// sample returns an email of a kind with invented values.
func (c *Composer) sample(kind Kind) Email {
	e := Email{Job: Job{
		ID:     "preview",
		Kind:   kind,
		To:     "ada@example.com",
		Device: "Firefox 142 on Linux",
		IP:     "203.0.113.7",
		At:     sampleTime,
	}}

	if kind.needsLink() {
		base := strings.TrimSuffix(cmp.Or(c.brand.URL, "https://app.example.com"), "/")
		e.Link = base + "/" + strings.ReplaceAll(string(kind), "_", "-") + "#token=" + sampleToken
		e.ExpiresIn = 30 * time.Minute
	}

	switch kind {
	case ConfirmEmail, EmailChangeRequested, EmailChanged:
		e.OldEmail = "ada@example.com"
		e.NewEmail = "countess.of.lovelace@example.org"
	case IdentityLinked, IdentityUnlinked, AccountClaimed:
		e.Provider = "Google"
	case Invitation:
		e.Device = ""
		e.IP = ""
		e.At = time.Time{}
	}

	return e
}
