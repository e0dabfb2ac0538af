package mail

import (
	_ "embed" // for the texts
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// A translation is a file like this one. What stands in braces is filled in: {to},
// {old} and {new} are addresses, {provider} the name of one, {for} a duration, {until} a time, {n} a number.
//
//go:embed texts.en.json
var english []byte

// texts are all words of the letters in one language.
type texts struct {
	Lang    string `json:"lang"`
	Product string `json:"product"`

	Greeting            string `json:"greeting"`
	GreetingWithoutName string `json:"greetingWithoutName"`
	Time                string `json:"time"` // a layout of package time
	Minute              string `json:"minute"`
	Minutes             string `json:"minutes"`
	Hour                string `json:"hour"`
	Hours               string `json:"hours"`
	Days                string `json:"days"`
	Expires             string `json:"expires"`
	Written             string `json:"written"` // before the link as text
	Details             struct {
		At     string `json:"at"`
		Device string `json:"device"`
		IP     string `json:"ip"`
	} `json:"details"`
	Footer string `json:"footer"`

	Letters map[Kind]letterTexts `json:"letters"`
}

// letterTexts are the words of one kind of letter.
type letterTexts struct {
	Subject   string   `json:"subject"`
	Preview   string   `json:"preview"` // what a list of mails shows beside the subject
	Title     string   `json:"title"`
	Body      []string `json:"body"`
	Button    string   `json:"button"`
	Otherwise string   `json:"otherwise"` // what to do if it was not you
	Why       string   `json:"why"`       // this mail came
}

var inEnglish = mustTexts(english)

// mustTexts reads texts. They are part of the program, and so are their mistakes.
func mustTexts(file []byte) texts {
	var t texts
	if err := json.Unmarshal(file, &t); err != nil {
		panic("mail: texts: " + err.Error())
	}
	return t
}

// moment says when something is.
func (t texts) moment(at time.Time) string { return at.UTC().Format(t.Time) }

// length says how long something is, in the largest unit that is exact.
func (t texts) length(d time.Duration) string {
	many, n := t.Minutes, int64(d/time.Minute)
	switch {
	case d >= 48*time.Hour && d%(24*time.Hour) == 0:
		many, n = t.Days, int64(d/(24*time.Hour))
	case d == time.Hour:
		return t.Hour
	case d >= time.Hour && d%time.Hour == 0:
		many, n = t.Hours, int64(d/time.Hour)
	case n <= 1:
		return t.Minute
	}
	return strings.ReplaceAll(many, "{n}", strconv.FormatInt(n, 10))
}
