package mail

import (
	_ "embed" // for englishJSON
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// englishJSON contains the English texts. A translation is a file with the same structure.
// Placeholders are in braces: {app} is the name of the product, {to}, {old} and {new} are email addresses, {provider} is the
// title of a provider, {for} is a duration, {until} is a time and {n} is a number.
//
//go:embed texts.en.json
var englishJSON []byte

// texts contains all texts of the emails in one language.
type texts struct {
	Lang string `json:"lang"`

	Greeting string `json:"greeting"`
	Time     string `json:"time"` // a layout for time.Format
	Minute   string `json:"minute"`
	Minutes  string `json:"minutes"`
	Hour     string `json:"hour"`
	Hours    string `json:"hours"`
	Days     string `json:"days"`
	Expires  string `json:"expires"`
	Written  string `json:"written"` // introduces the link as plain text
	Details  struct {
		At     string `json:"at"`
		Device string `json:"device"`
		IP     string `json:"ip"`
	} `json:"details"`
	Footer string `json:"footer"`

	Emails map[Kind]emailTexts `json:"emails"`
}

// emailTexts contains the texts of one kind of email.
type emailTexts struct {
	Subject   string   `json:"subject"`
	Preview   string   `json:"preview"` // shown next to the subject in the inbox
	Title     string   `json:"title"`
	Body      []string `json:"body"`
	Button    string   `json:"button"`
	Otherwise string   `json:"otherwise"` // what to do if it wasn't the recipient
	Why       string   `json:"why"`       // why the recipient gets this email
}

var englishTexts = mustParse(englishJSON)

// mustParse parses a file of texts. The files are embedded, so an invalid one is a bug.
func mustParse(file []byte) texts {
	var t texts
	if err := json.Unmarshal(file, &t); err != nil {
		panic("mail: texts: " + err.Error())
	}

	return t
}

// time formats a time in UTC.
func (t texts) time(at time.Time) string { return at.UTC().Format(t.Time) }

// duration formats a duration in the largest unit that divides it.
func (t texts) duration(d time.Duration) string {
	const day = 24 * time.Hour

	text := t.Minutes
	n := int64(d / time.Minute)
	switch {
	case d >= 2*day && d%day == 0:
		text = t.Days
		n = int64(d / day)
	case d == time.Hour:
		return t.Hour
	case d >= time.Hour && d%time.Hour == 0:
		text = t.Hours
		n = int64(d / time.Hour)
	case n <= 1:
		return t.Minute
	}

	return strings.ReplaceAll(text, "{n}", strconv.FormatInt(n, 10))
}
