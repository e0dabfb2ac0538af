package mail

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/brand"
	"latchkey/internal/locale"
	"latchkey/internal/testkit"
)

// Every language has the texts of the English file and no others, except for plural forms. Each text
// has the placeholders of the English one.
func TestLanguagesAreComplete(t *testing.T) {
	t.Parallel()

	all := shippedEntries()
	english := all["en"]
	keysOf := func(e entries) []string {
		var keys []string
		for key := range e {
			keys = append(keys, englishKey(key))
		}
		slices.Sort(keys)

		return slices.Compact(keys)
	}

	for _, lang := range locale.Shipped() {
		if diff := cmp.Diff(keysOf(english), keysOf(all[lang])); diff != "" {
			t.Errorf("%s: keys (-English +%s)\n%s", lang, lang, diff)
		}
		for key, e := range all[lang] {
			want := placeholders(english[englishKey(key)].texts)
			if diff := cmp.Diff(want, placeholders(e.texts)); diff != "" {
				t.Errorf("%s: placeholders of %s (-English +%s)\n%s", lang, key, lang, diff)
			}
		}
	}
}

// Subjects and buttons fit on a phone, and nothing was left in English.
func TestLanguagesFit(t *testing.T) {
	t.Parallel()

	all := shippedEntries()
	for _, lang := range locale.Shipped() {
		for key, e := range all[lang] {
			limit := 0
			switch {
			case strings.HasSuffix(key, ".subject") && (lang == "ja" || lang == "zh-Hans"):
				limit = 30
			case strings.HasSuffix(key, ".subject"):
				limit = 60
			case strings.HasSuffix(key, ".button"):
				limit = 30
			}
			if n := utf8.RuneCountInString(e.texts[0]); limit > 0 && n > limit {
				t.Errorf("%s: %s has %d characters, want at most %d: %s", lang, key, n, limit, e.texts[0])
			}

			isShared := key == "details.ip" || key == "details.factor" || key == "colon" || key == "months" || !strings.Contains(key, ".")
			if lang != "en" && !isShared && cmp.Equal(e, all["en"][key], cmp.AllowUnexported(entry{})) && !strings.HasPrefix(key, "minutes") {
				t.Errorf("%s: %s is the same as in English: %s", lang, key, e.texts)
			}
		}
	}
}

// Every kind of email can be composed in every language, for a long name too, and neither leaves a
// placeholder nor expands one in a value.
func TestPreviews(t *testing.T) {
	t.Parallel()

	long := strings.Repeat("{to} Wort ", 5)
	c := mustCompose(ComposerOptions{Brand: brand.Brand{Name: long, URL: "https://www.example.com", LogoURL: "https://www.example.com/l.png"}})
	for _, lang := range c.Languages().Names() {
		subjects := map[string]bool{}
		for _, kind := range Kinds() {
			m, err := c.Preview(kind, lang)
			testkit.NoError(t, err)
			subjects[m.Subject] = true

			for what, text := range map[string]string{"subject": m.Subject, "text": m.Text, "HTML": m.HTML} {
				if !strings.Contains(text, strings.TrimSpace(long)[:10]) {
					t.Errorf("%s, %s: got %s %s\nwant the name in it", lang, kind, what, text)
				}
				rest := strings.ReplaceAll(strings.Join(strings.Fields(text), " "), strings.TrimSpace(long), "")
				if found := placeholderPattern.FindString(rest); found != "" && what != "HTML" {
					t.Errorf("%s, %s: got %s with placeholder %s", lang, kind, what, found)
				}
			}

			if !strings.Contains(m.HTML, `<html lang="`+lang+`" dir="ltr">`) {
				t.Errorf("%s, %s: got another language in the HTML", lang, kind)
			}
			for line := range strings.Lines(m.Text) {
				if n := columns(strings.TrimSpace(line)); n > maxLine && !strings.Contains(line, "://") {
					t.Errorf("%s, %s: got a line with %d columns, want at most %d: %s", lang, kind, n, maxLine, line)
				}
			}
		}
		if len(subjects) != len(Kinds()) {
			t.Errorf("%s: got %d different subjects, want %d", lang, len(subjects), len(Kinds()))
		}
	}
}

// The file with the English texts contains exactly the texts that the program uses.
func TestTexts(t *testing.T) {
	t.Parallel()

	file, err := shippedFiles.ReadFile(textsName("en"))
	testkit.NoError(t, err)
	var got, want any
	testkit.NoError(t, json.Unmarshal(file, &got))

	encoded, err := json.Marshal(english)
	testkit.NoError(t, err)
	testkit.NoError(t, json.Unmarshal(encoded, &want))

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("program (-) and file (+) differ:\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(Kinds())), slices.Sorted(maps.Keys(english.Emails))); diff != "" {
		t.Errorf("kinds (-) and texts (+) differ:\n%s", diff)
	}
}

// Numbers have the plural forms of their language. Times have no English names.
func TestDurationsAndTimes(t *testing.T) {
	t.Parallel()

	const day = 24 * time.Hour
	for lang, durations := range map[string]map[time.Duration]string{
		"en": {
			time.Second: "1 minute", 15 * time.Minute: "15 minutes", time.Hour: "1 hour", 90 * time.Minute: "90 minutes",
			day: "24 hours", 2 * day: "2 days", 49 * time.Hour: "49 hours",
		},
		"de": {time.Hour: "1 Stunde", 2 * day: "2 Tagen"},
		"fr": {time.Minute: "1 minute", 2 * time.Minute: "2 minutes"},
		"pl": {
			time.Minute: "1 minutę", 2 * time.Minute: "2 minuty", 5 * time.Minute: "5 minut", 12 * time.Minute: "12 minut", 22 * time.Minute: "22 minuty",
			25 * time.Minute: "25 minut", time.Hour: "1 godzinę", 3 * time.Hour: "3 godziny", 21 * time.Hour: "21 godzin", day: "24 godziny", 7 * day: "7 dni",
		},
		"ja":      {30 * time.Minute: "30分", day: "24時間", 3 * day: "3日"},
		"zh-Hans": {time.Hour: "1 小时"},
	} {
		for d, want := range durations {
			if got := testComposer.texts[lang].duration(d); got != want {
				t.Errorf("%s: duration(%v): got %q, want %q", lang, d, got, want)
			}
		}
	}

	at := time.Date(2026, 3, 1, 7, 5, 0, 0, time.FixedZone("CET", 3600))
	for lang, want := range map[string]string{
		"en": "1 Mar 2026, 06:05 UTC", "de": "1. März 2026, 06:05 Uhr (UTC)", "es": "1 de marzo de 2026, 06:05 UTC",
		"pl": "1 marca 2026, 06:05 UTC", "ja": "2026年3月1日 06:05 UTC", "zh-Hans": "2026年3月1日 06:05 UTC",
	} {
		if got := testComposer.texts[lang].time(at); got != want {
			t.Errorf("%s: got time %q, want %q", lang, got, want)
		}
	}
}

// An email is written in the language of its recipient, or in the default language.
func TestEmailLanguage(t *testing.T) {
	t.Parallel()

	polish := mustCompose(ComposerOptions{DefaultLocale: "pl-PL"})
	for recipient, want := range map[string]string{
		"": "pl", "de-AT": "de", "zh-CN": "zh-Hans", "zh-TW": "pl", "ca": "pl", "<b>": "pl", "pt-PT": "pt", "en": "en",
	} {
		e := sample(PasswordChanged)
		e.Locale = recipient
		m, err := polish.Compose(e)
		testkit.NoError(t, err)
		if !strings.Contains(m.HTML, `lang="`+want+`"`) {
			t.Errorf("locale %q: got subject %q, want it in %s", recipient, m.Subject, want)
		}
	}

	if _, err := NewComposer(ComposerOptions{DefaultLocale: "zh-TW"}); err == nil || !strings.Contains(err.Error(), "zh-Hans") {
		t.Errorf("default language without texts: got error %v, want one that lists the languages", err)
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()

	long := strings.Repeat("b", 80)
	wide := strings.Repeat("漢", 35)
	for text, want := range map[string]string{
		"":                              "",
		"a  b":                          "a b",
		"a " + long + " c":              "a\n" + long + "\nc",
		strings.Repeat("a", 72) + " b":  strings.Repeat("a", 72) + "\nb",
		strings.Repeat("a", 70) + " bc": strings.Repeat("a", 70) + "\nbc",
		wide + "字字字":                    wide + "字\n字字",
		wide + "字。字":                    wide + "\n字。字", // no line begins with a full stop
		wide + "「字」":                    wide + "\n「字」", // or ends with an opening bracket
		wide + "ada@example.com宛て":      wide + "\nada@example.com宛て",
		"ada-lovelace@example.com":      "ada-lovelace@example.com",
	} {
		if got := wrap(text); got != want {
			t.Errorf("wrap(%q): got\n%s\nwant\n%s", text, got, want)
		}
	}
}
