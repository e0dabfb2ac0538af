package mail

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// texts contains all texts of the emails in one language, as in a file texts.<language>.json.
// Placeholders are in braces; placeholders.go describes them.
type texts struct {
	Greeting string            `json:"greeting"`
	Time     string            `json:"time"`
	Months   []string          `json:"months"` // as they are written in Time
	Minutes  map[string]string `json:"minutes"`
	Hours    map[string]string `json:"hours"`
	Days     map[string]string `json:"days"`
	Expires  string            `json:"expires"`
	Written  string            `json:"written"` // introduces the link as plain text
	Colon    string            `json:"colon"`   // between a label and its value
	Details  struct {
		At     string `json:"at"`
		Factor string `json:"factor"` // the name of an authenticator app
		Device string `json:"device"`
		IP     string `json:"ip"`
	} `json:"details"`
	Browser string `json:"browser"` // a browser and the system that it runs on
	Footer  string `json:"footer"`

	Emails map[Kind]emailTexts `json:"emails"`

	Lang string       `json:"-"` // BCP 47
	tag  language.Tag // of Lang
}

// emailTexts contains the texts of one kind of email.
type emailTexts struct {
	Subject   string   `json:"subject"`
	Preview   string   `json:"preview"` // shown next to the subject in the inbox
	Title     string   `json:"title"`
	Body      []string `json:"body"`
	FewLeft   string   `json:"fewLeft,omitempty"` // the last paragraph of Body, if few recovery codes are left
	Button    string   `json:"button"`
	Otherwise string   `json:"otherwise"` // what to do if it wasn't the recipient
	Why       string   `json:"why"`       // why the recipient gets this email
}

// newTexts returns the texts of a language from the entries of its file, which are complete.
func newTexts(lang string, entries entries) (*texts, error) {
	file, err := json.Marshal(entries.nested())
	if err != nil {
		return nil, err
	}

	t := &texts{Lang: lang}
	if err := json.Unmarshal(file, t); err != nil {
		return nil, err
	}
	t.tag, err = language.Parse(lang)

	return t, err
}

// time formats a time in UTC.
func (t *texts) time(at time.Time) string {
	at = at.UTC()

	return strings.NewReplacer(
		"{day}", strconv.Itoa(at.Day()),
		"{month}", t.Months[at.Month()-1],
		"{year}", strconv.Itoa(at.Year()),
		"{hour}", at.Format("15"),
		"{minute}", at.Format("04"),
	).Replace(t.Time)
}

// duration formats a duration in the largest unit that divides it.
func (t *texts) duration(d time.Duration) string {
	const day = 24 * time.Hour

	switch {
	case d >= 2*day && d%day == 0:
		return t.count(t.Days, int(d/day))
	case d >= time.Hour && d%time.Hour == 0:
		return t.count(t.Hours, int(d/time.Hour))
	}

	return t.count(t.Minutes, max(1, int(d/time.Minute)))
}

// count puts a number into the plural form that it needs.
func (t *texts) count(forms map[string]string, n int) string {
	text, ok := forms[pluralForm(t.tag, n)]
	if !ok {
		text = forms["other"]
	}

	return strings.ReplaceAll(text, "{n}", strconv.Itoa(n))
}

// pluralForms are the plural forms of CLDR, with their names in files.
var pluralForms = map[plural.Form]string{
	plural.Zero:  "zero",
	plural.One:   "one",
	plural.Two:   "two",
	plural.Few:   "few",
	plural.Many:  "many",
	plural.Other: "other",
}

// pluralForm returns the plural form for a number.
func pluralForm(tag language.Tag, n int) string {
	return pluralForms[plural.Cardinal.MatchPlural(tag, n, 0, 0, 0, 0)]
}

// direction returns the direction of the language, and the sides at which lines begin and end.
func (t *texts) direction() (dir, start, end string) {
	if t.isRightToLeft() {
		return "rtl", "right", "left"
	}

	return "ltr", "left", "right"
}

// isRightToLeft reports whether the language is written from right to left.
func (t *texts) isRightToLeft() bool {
	script, _ := t.tag.Script()

	switch script.String() {
	case "Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm", "Rohg":
		return true
	}

	return false
}
