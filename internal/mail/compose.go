package mail

import (
	"errors"
	"fmt"
	"html/template"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"latchkey/internal/brand"
)

// templateData is the data for both templates.
type templateData struct {
	texts
	emailTexts
	Details []detail
	Link    string
	Footer  string
	Dir     string // ltr or rtl
	Start   string // the side at which lines begin: left or right
	End     string // the other side
	App     brand.Brand
	Light   brand.Palette
	Dark    brand.Palette

	// OutlookBefore and OutlookAfter are conditional comments with a table of fixed width, which
	// Outlook on Windows needs because it ignores max-width. They are values because html/template
	// strips comments from templates.
	OutlookBefore template.HTML
	OutlookAfter  template.HTML
}

// detail is a row of the table that describes the event.
type detail struct {
	Label string
	Value string
}

const (
	outlookBefore = `<!--[if mso]><table role="presentation" width="560" cellpadding="0" cellspacing="0" border="0"><tr><td><![endif]-->`
	outlookAfter  = `<!--[if mso]></td></tr></table><![endif]-->`
)

// Compose renders an email. Errors name what is missing or invalid, and do not quote the
// content.
//
// The language is the one for e.Locale, or the default if there are no texts for that.
func (c *Composer) Compose(e Email) (Message, error) {
	return c.compose(c.textsFor(e.Locale), e, time.Now())
}

func (c *Composer) compose(t *texts, e Email, now time.Time) (Message, error) {
	data, err := c.data(t, e, now)
	if err != nil {
		return Message{}, err
	}

	var text, html strings.Builder
	if err := errors.Join(c.text.Execute(&text, data), c.html.Execute(&html, data)); err != nil {
		return Message{}, errors.New("mail: cannot execute a template") // err may quote the email
	}

	return Message{
		ID:      e.ID,
		To:      e.To,
		Subject: data.Subject,
		Text:    text.String(),
		HTML:    html.String(),
	}, nil
}

// data returns the data for the templates.
func (c *Composer) data(t *texts, e Email, now time.Time) (templateData, error) {
	words, ok := t.Emails[e.Kind]
	if !ok {
		return templateData{}, errors.New("mail: unknown kind of email")
	}
	if err := e.check(words); err != nil {
		return templateData{}, fmt.Errorf("mail: %s: %w", e.Kind, err)
	}

	// Replace all placeholders in a single pass, so that a value which contains a placeholder
	// is not expanded again.
	app := printable(c.brand.Name)
	nameApp := strings.NewReplacer("{app}", app).Replace
	fill := strings.NewReplacer(
		"{app}", app,
		"{to}", printable(e.To),
		"{new}", printable(e.NewEmail),
		"{old}", printable(e.OldEmail),
		"{provider}", printable(e.Provider),
		"{left}", strconv.Itoa(max(0, e.Left)),
		"{reason}", shortened(printable(e.Reason), MaxReason),
		"{for}", t.duration(e.ExpiresIn),
		"{until}", t.time(now.Add(e.ExpiresIn)),
		"{why}", nameApp(words.Why),
	).Replace
	words.Subject = nameApp(words.Subject)
	words.Preview = nameApp(words.Preview)
	words.Button = nameApp(words.Button)
	words.Title = fill(words.Title)
	words.Otherwise = fill(words.Otherwise)

	data := templateData{
		texts:         *t,
		emailTexts:    words,
		Details:       t.details(e),
		Link:          e.Link,
		Footer:        fill(t.Footer),
		App:           c.brand,
		Light:         c.light,
		Dark:          c.dark,
		OutlookBefore: outlookBefore,
		OutlookAfter:  outlookAfter,
	}
	data.Dir, data.Start, data.End = t.direction()

	data.Expires = ""
	if e.Link != "" && e.ExpiresIn > 0 {
		data.Expires = fill(t.Expires)
	}

	data.Body = nil // words.Body belongs to the texts
	for _, paragraph := range words.paragraphs(e) {
		data.Body = append(data.Body, fill(paragraph))
	}

	return data, nil
}

// fewCodes is the highest number of recovery codes left that makes emails ask for new ones.
const fewCodes = 3

// paragraphs returns the paragraphs of an email's body.
func (words emailTexts) paragraphs(e Email) []string {
	if words.FewLeft == "" || e.Left > fewCodes {
		return words.Body
	}

	return append(slices.Clone(words.Body), words.FewLeft)
}

// check returns an error if a required value is missing or invalid.
func (e Email) check(words emailTexts) error {
	body := words.Title + strings.Join(words.paragraphs(e), "") + words.Otherwise

	switch {
	case e.To == "":
		return errors.New("no recipient")
	case strings.Contains(body, "{new}") && e.NewEmail == "":
		return errors.New("no new email address")
	case strings.Contains(body, "{old}") && e.OldEmail == "":
		return errors.New("no old email address")
	case strings.Contains(body, "{provider}") && e.Provider == "":
		return errors.New("no provider")
	case strings.Contains(body, "{reason}") && printable(e.Reason) == "":
		return errors.New("no reason")
	case e.Link != "" && !isLink(e.Link):
		return errors.New("link is not an http or https URL in plain ASCII")
	}

	if e.Kind.needsLink() && (e.Link == "" || e.ExpiresIn <= 0) {
		return errors.New("link is missing or expired")
	}

	return nil
}

// details returns which authenticator app an event concerns, and when, on which device and from
// which IP it happened, as far as that is known.
func (t *texts) details(e Email) []detail {
	var details []detail

	if authenticator.MatchString(e.Factor) {
		details = append(details, detail{t.Details.Factor, e.Factor})
	}
	if !e.At.IsZero() {
		details = append(details, detail{t.Details.At, t.time(e.At)})
	}
	if browser.MatchString(e.Device) {
		details = append(details, detail{t.Details.Device, t.device(e.Device)})
	}
	if ip, err := netip.ParseAddr(e.IP); err == nil && ip.Zone() == "" {
		details = append(details, detail{t.Details.IP, ip.String()})
	}

	return details
}

// device translates the description of a device.
func (t *texts) device(name string) string {
	program, system, ok := strings.Cut(name, " on ")
	if !ok {
		return name
	}

	return strings.NewReplacer("{browser}", program, "{system}", system).Replace(t.Browser)
}

// browser matches the devices that emails show: well-known browsers, as package device names them.
// Other clients can choose their User-Agent freely. Anyone can trigger an email to a stranger, so
// emails contain no free text: neither the names of users nor the names of such clients.
var browser = regexp.MustCompile(`^(Chrome|Edge|Firefox|Headless Chrome|Internet Explorer|(Mobile )?Safari|Opera( Mini| Touch)?|Samsung Browser|Vivaldi)` +
	`( \d{1,4})?( on (Android|ChromeOS|FreeBSD|Harmony|iOS|Linux|macOS|Windows))?$`)

// authenticator matches the names of authenticator apps that emails show: well-known products. Users
// name their apps freely. A thief could name one "Security update, nothing to do", and anyone can
// register with the email address of a stranger.
var authenticator = regexp.MustCompile(`^(1Password|2FAS( Auth)?|Aegis( Authenticator)?|Apple Passwords|(Twilio )?Authy|Bitwarden( Authenticator)?|Dashlane|` +
	`Duo( Mobile)?|Ente Auth|FreeOTP\+?|Google Authenticator|iCloud Keychain|KeePassXC|Keeper|LastPass( Authenticator)?|` +
	`Microsoft Authenticator|NordPass|Okta Verify|Proton (Authenticator|Pass)|Raivo( OTP)?|Yubico Authenticator)$`)

// linkCharacters matches URLs of RFC 3986 characters that neither the templates nor mail
// clients change. The single quote is excluded because it can end an HTML attribute.
var linkCharacters = regexp.MustCompile(`^[\w\-.~:/?#\[\]@!$&()*+,;=%]+$`)

func isLink(s string) bool {
	u, err := url.Parse(s)
	if err != nil || !linkCharacters.MatchString(s) {
		return false
	}

	isHTTP := u.Scheme == "https" || u.Scheme == "http"

	return isHTTP && u.Host != "" && u.User == nil
}

// printable returns user input as a single line without invisible characters. Control
// characters could end a header. Format characters could reverse the direction of the text
// that follows, or hide the dot in a domain.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.In(r, unicode.Zl, unicode.Zp, unicode.Cc):
			return ' '
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs), r == unicode.ReplacementChar:
			return -1
		}

		return r
	}, s)

	return strings.Join(strings.Fields(s), " ")
}

// shortened returns a text with at most limit characters.
func shortened(s string, limit int) string {
	characters := []rune(s)
	if len(characters) <= limit {
		return s
	}

	return strings.TrimSpace(string(characters[:limit-1])) + "…"
}
