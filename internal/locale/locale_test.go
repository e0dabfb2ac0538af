package locale

import (
	"strings"
	"testing"

	"golang.org/x/text/language"
)

// A locale matches a language only if its readers read that language as well as their own.
func TestMatch(t *testing.T) {
	t.Parallel()

	s := ShippedSet()
	for locale, want := range map[string]string{
		"en": "en", "en-GB": "en", "de": "de", "de-AT": "de", "de-CH": "de", "DE_de": "de", "de-u-co-phonebk": "de",
		"pt": "pt", "pt-BR": "pt", "pt-PT": "pt", "es-MX": "es", "es-419": "es", "fr-CA": "fr", "nl-BE": "nl", "ja-JP": "ja", "pl-PL": "pl",
		"zh": "zh-Hans", "zh-CN": "zh-Hans", "zh-SG": "zh-Hans", "zh-Hans-TW": "zh-Hans", "cmn": "zh-Hans",

		"zh-TW": "", "zh-HK": "", "zh-MO": "", "zh-Hant": "", "yue": "", "yue-HK": "", "ca": "", "ca-ES": "", "ru": "", "sv": "",
		"eu": "", "gl": "", "gsw": "", "lb": "", "af": "", "fy": "", "br": "", "rm": "", "tlh": "",
		"zh-Latn": "", "und": "", "mul": "", "*": "", "": "", "x-private": "", "deutsch, bitte": "", strings.Repeat("de-", 40): "",
	} {
		if got := s.Match(locale); got != want {
			t.Errorf("Match(%q): got %q, want %q", locale, got, want)
		}
	}
}

func TestFromHeader(t *testing.T) {
	t.Parallel()

	s := ShippedSet()
	for header, want := range map[string]string{
		"":                                  "",
		"de-AT,de;q=0.9,en;q=0.8":           "de-AT",
		"en;q=0.1, pl;q=0.9":                "pl",
		"ca,es;q=0.9,de;q=0.8":              "es",
		"zh-TW,zh-Hant;q=0.9,en-US;q=0.8":   "en-US",
		"zh-HK":                             "",
		"zh-TW,zh;q=0.9,en-US;q=0.8":        "en-US",
		"zh-TW,zh;q=0.9,zh-CN;q=0.8":        "zh-CN",
		"zh-TW,zh;q=0.9":                    "",
		"zh":                                "zh",
		"*":                                 "",
		"*;q=0.5, ja;q=0.1":                 "ja",
		"fr;q=0, it":                        "it",
		"sv,nb;q=0.9":                       "",
		"de-DE-1996-u-co-phonebk-x-secret":  "de-DE",
		"de\r\nX: y":                        "",
		"de;q=x":                            "",
		strings.Repeat("sv,", 300) + "de":   "",
		strings.Repeat("de,", 1000):         "",
		"<script>":                          "",
		"DE":                                "de",
		"iw, cmn-hans-cn;q=0.5":             "cmn-Hans-CN",
		strings.Repeat("sv-SE,", 25) + "de": "", // after maxLocales
	} {
		if got := s.FromHeader(header); got != want {
			t.Errorf("FromHeader(%.60q): got %q, want %q", header, got, want)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()

	for locale, want := range map[string]string{
		"de": "de", "DE-at": "de-AT", "zh-hans": "zh-Hans", "pt_br": "pt-BR", "iw": "he", "de-x-y": "de", "sl-rozaj": "sl",
		"": "", "und": "", "und-DE": "", "x-y": "", "german": "", "de-": "", "d": "", "de-ABCDEFGHIJ": "",
	} {
		if got := Canonical(locale); got != want {
			t.Errorf("Canonical(%q): got %q, want %q", locale, got, want)
		}
	}

	for _, names := range [][]string{{"en", "EN"}, {"en", "en"}, {"zh_Hans"}, {""}} {
		if _, err := NewSet(names...); err == nil {
			t.Errorf("NewSet(%q): got no error, want one", names)
		}
	}
}

// No header makes the result anything but a short canonical tag with a language.
func FuzzFromHeader(f *testing.F) {
	f.Add("de-AT,de;q=0.9,*;q=0.1")
	f.Add("zh-Hant-TW-u-ca-roc, i-klingon;q=1.5")
	s := ShippedSet()
	f.Fuzz(func(t *testing.T, header string) {
		got := s.FromHeader(header)
		if got == "" {
			return
		}
		if len(got) > 11 || Canonical(got) != got || s.Match(got) == "" {
			t.Errorf("FromHeader(%q): got %q, want a canonical locale that matches", header, got)
		}
		if _, err := language.Parse(got); err != nil {
			t.Errorf("FromHeader(%q): got %q, want a valid tag", header, got)
		}
	})
}
