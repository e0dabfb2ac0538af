package mail

import (
	_ "embed" // for the templates
	"errors"
	"fmt"
	"html/template"
	"net/netip"
	"net/url"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode/utf8"
)

// Letter is what a message says, in facts. What does not apply is zero.
type Letter struct {
	Kind Kind
	// JobID makes the ID of the message. A letter whose link was made anew has another.
	JobID string
	To    string // address
	Name  string // of who gets it, as the user wrote it

	// Link is for VerifyEmail, ResetPassword and ConfirmEmail; other letters may have one
	// to a page where an account is made safe. It is an http or https URL.
	Link      string
	ExpiresIn time.Duration // of the link, from now on

	NewEmail string // of an email change
	OldEmail string
	Provider string // of an account elsewhere, in words
	Device   string // that it was done from, in words
	IP       string
	At       time.Time // when it was done
}

// Message is a letter as it is sent.
type Message struct {
	// ID makes the Message-ID. It is the same whenever the same letter is sent.
	ID      string
	To      string // address
	Subject string
	Text    string
	HTML    string
}

var (
	//go:embed letter.html.tmpl
	htmlSource string
	//go:embed letter.txt.tmpl
	textSource string

	htmlLetter = template.Must(template.New("html").Parse(htmlSource))
	textLetter = texttemplate.Must(texttemplate.New("text").Funcs(texttemplate.FuncMap{"wrap": wrap}).Parse(textSource))
)

// sheet is what the templates are filled with.
type sheet struct {
	texts
	letterTexts
	Greeting string
	Details  []detail
	Link     string
	Footer   string

	// Outlook on Windows knows no max-width and reads comments, which html/template
	// leaves out of a template.
	OutlookBefore, OutlookAfter template.HTML
	// Filler keeps what follows out of the preview in a list of mails.
	Filler template.HTML
}

type detail struct{ Label, Value string }

const (
	outlookBefore = `<!--[if mso]><table role="presentation" width="560" cellpadding="0" cellspacing="0" border="0"><tr><td><![endif]-->`
	outlookAfter  = `<!--[if mso]></td></tr></table><![endif]-->`
)

// filler is a zero-width non-joiner and a space, many times.
var filler = template.HTML(strings.Repeat("&zwnj;&nbsp;", 60)) // #nosec G203 -- a constant

// Compose writes a letter. Errors say what is missing or wrong in it, and quote
// nothing of it.
func Compose(l Letter) (Message, error) { return compose(inEnglish, l, time.Now()) }

func compose(t texts, l Letter, now time.Time) (Message, error) {
	words, ok := t.Letters[l.Kind]
	if !ok {
		return Message{}, errors.New("mail: unknown kind of letter")
	}
	if err := l.check(words); err != nil {
		return Message{}, fmt.Errorf("mail: %s: %w", l.Kind, err)
	}
	// A single pass: what is filled in is not looked at for more to fill in.
	fill := strings.NewReplacer(
		"{to}", printable(l.To), "{new}", printable(l.NewEmail), "{old}", printable(l.OldEmail),
		"{provider}", printable(l.Provider),
		"{for}", t.length(l.ExpiresIn), "{until}", t.moment(now.Add(l.ExpiresIn)), "{why}", words.Why,
	).Replace
	words.Title, words.Otherwise = fill(words.Title), fill(words.Otherwise)

	s := sheet{
		texts: t, letterTexts: words, Greeting: t.GreetingWithoutName,
		Details: t.details(l), Link: l.Link, Footer: fill(t.Footer),
		OutlookBefore: outlookBefore, OutlookAfter: outlookAfter, Filler: filler,
	}
	if name := personName(l.Name); name != "" {
		s.Greeting = strings.ReplaceAll(t.Greeting, "{name}", name)
	}
	if s.Expires = fill(t.Expires); l.Link == "" || l.ExpiresIn <= 0 {
		s.Expires = ""
	}
	s.Body = make([]string, len(words.Body))
	for i, paragraph := range words.Body {
		s.Body[i] = fill(paragraph)
	}

	var text, html strings.Builder
	if err := errors.Join(textLetter.Execute(&text, s), htmlLetter.Execute(&html, s)); err != nil {
		return Message{}, errors.New("mail: a template failed") // its error may quote the letter
	}
	return Message{ID: l.JobID, To: l.To, Subject: words.Subject, Text: text.String(), HTML: html.String()}, nil
}

// check tells what a letter lacks.
func (l Letter) check(words letterTexts) error {
	body := strings.Join(words.Body, "")
	switch {
	case l.To == "":
		return errors.New("no recipient")
	case strings.Contains(body, "{new}") && l.NewEmail == "":
		return errors.New("no new address")
	case strings.Contains(body, "{old}") && l.OldEmail == "":
		return errors.New("no old address")
	case strings.Contains(body, "{provider}") && l.Provider == "":
		return errors.New("no provider")
	case l.Link != "" && !isLink(l.Link):
		return errors.New("the link is not an http or https URL in plain ASCII")
	}
	switch l.Kind {
	case VerifyEmail, ResetPassword, ConfirmEmail:
		if l.Link == "" || l.ExpiresIn <= 0 {
			return errors.New("no link, or none that lasts")
		}
	}
	return nil
}

// details are what is known of how something was done.
func (t texts) details(l Letter) []detail {
	var all []detail
	if !l.At.IsZero() {
		all = append(all, detail{t.Details.At, t.moment(l.At)})
	}
	if device := deviceName(l.Device); device != "" {
		all = append(all, detail{t.Details.Device, device})
	}
	if ip, err := netip.ParseAddr(l.IP); err == nil && ip.Zone() == "" {
		all = append(all, detail{t.Details.IP, ip.String()})
	}
	return all
}

// isLink tells whether s is a URL that neither a template nor a mail program changes:
// with the characters of RFC 3986, but for the quote, which ends an attribute.
func isLink(s string) bool {
	for _, c := range []byte(s) {
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && strings.IndexByte("-._~:/?#[]@!$&()*+,;=%", c) < 0 {
			return false
		}
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// lineWidth is how long a line of the text may be, in characters.
const lineWidth = 72

// wrap breaks a paragraph into lines, at spaces only.
func wrap(paragraph string) string {
	var out strings.Builder
	width := 0
	for i, word := range strings.Fields(paragraph) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case width+1+n > lineWidth:
			out.WriteByte('\n')
			width = 0
		default:
			out.WriteByte(' ')
			width++
		}
		out.WriteString(word)
		width += n
	}
	return out.String()
}
