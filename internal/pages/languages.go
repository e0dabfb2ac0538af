package pages

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"

	"golang.org/x/text/language"
)

//go:embed templates texts assets
var files embed.FS

// Languages lists the languages of the pages as BCP 47 tags.
var Languages = []string{"en", "de", "fr", "es", "pt", "it", "nl", "pl", "ja", "zh-Hans"}

// languageNames are the names of the languages, each in that language.
var languageNames = map[string]string{
	"en":      "English",
	"de":      "Deutsch",
	"fr":      "Français",
	"es":      "Español",
	"pt":      "Português",
	"it":      "Italiano",
	"nl":      "Nederlands",
	"pl":      "Polski",
	"ja":      "日本語",
	"zh-Hans": "简体中文",
}

// texts maps the keys of texts to their translations.
type texts map[string]string

type languages struct {
	tags    []string // the default first
	texts   map[string]texts
	matcher language.Matcher
}

// loadLanguages reads the texts. The default language is the first one that is matched.
func loadLanguages(preferred string) (languages, error) {
	l := languages{texts: map[string]texts{}}

	l.tags = slices.Clone(Languages)
	if i := slices.Index(l.tags, preferred); i > 0 {
		l.tags = slices.Insert(slices.Delete(l.tags, i, i+1), 0, preferred)
	}

	var tags []language.Tag
	for _, name := range l.tags {
		source, err := files.ReadFile("texts/" + name + ".json")
		if err != nil {
			return l, err
		}

		var read texts
		if err := json.Unmarshal(source, &read); err != nil {
			return l, fmt.Errorf("texts/%s.json: %w", name, err)
		}
		l.texts[name] = read
		tags = append(tags, language.Make(name))
	}
	l.matcher = language.NewMatcher(tags)

	return l, nil
}

// choose returns the language of a page: the requested one, or else the best match for an
// Accept-Language header. It also reports whether the language was requested.
func (l languages) choose(requested, header string) (lang string, given bool) {
	if slices.Contains(l.tags, requested) {
		return requested, true
	}

	accepted, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return l.tags[0], false
	}
	_, i, _ := l.matcher.Match(accepted...)

	return l.tags[i], false
}
