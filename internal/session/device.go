package session

import (
	"strings"

	"github.com/mileusna/useragent"
)

// Device says in words what a client is by its User-Agent: a browser and a system, for
// example "Firefox on Linux". It is what the client claims.
func Device(userAgent string) string {
	parsed := useragent.Parse(userAgent)
	switch {
	case parsed.Name == "":
		return "Unknown device"
	case parsed.OS == "":
		return parsed.Name
	}
	return parsed.Name + " on " + parsed.OS
}

// phrases are what the User-Agents of browsers consist of, each with what is kept of it
// in a session: all send nearly the same hundred bytes, and half of a session would be
// these. The words are part of the format: none is ever changed, and a new
// one raises the version, because an older release would show it as it is.
var phrases = []string{
	"~", "~~", "\n", "~n",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64", "~w",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10", "~m",
	"Mozilla/5.0 (X11; Linux x86_64", "~x",
	"Mozilla/5.0 (X11; Ubuntu; Linux x86_64", "~u",
	"Mozilla/5.0 (X11; CrOS x86_64 ", "~h",
	"Mozilla/5.0 (Linux; Android ", "~d",
	"Mozilla/5.0 (Android ", "~j",
	"Mozilla/5.0 (iPhone; CPU iPhone OS ", "~i",
	"Mozilla/5.0 (iPad; CPU OS ", "~p",
	// Chrome, and what is made of it.
	") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/", "~c",
	".0.0.0 Safari/537.36", "~s",
	".0.0.0 Mobile Safari/537.36", "~b",
	".0.0.0", "~z",
	" Edg/", "~e",
	// Safari, and all browsers on iOS.
	") AppleWebKit/605.1.15 (KHTML, like Gecko)", "~g",
	" like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)", "~l",
	" Version/", "~v",
	" CriOS/", "~q",
	" Safari/605.1.15", "~a",
	" Mobile/15E148 Safari/604.1", "~o",
	// Firefox.
	"; rv:", "~r",
	") Gecko/20100101 Firefox/", "~f",
	"; Mobile; rv:", "~t",
	") Gecko/", "~y",
	" Firefox/", "~k",
}

var shortener, expander = func() (there, back *strings.Replacer) {
	reversed := make([]string, len(phrases))
	for i := 0; i < len(phrases); i += 2 {
		reversed[i], reversed[i+1] = phrases[i+1], phrases[i]
	}
	return strings.NewReplacer(phrases...), strings.NewReplacer(reversed...)
}()

// shorten writes a User-Agent for a session, on one line. It can be of any text, and
// expand returns that.
func shorten(userAgent string) string { return shortener.Replace(userAgent) }

func expand(agent string) string { return expander.Replace(agent) }
