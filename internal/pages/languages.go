package pages

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"

	"latchkey/internal/locale"
)

//go:embed templates texts assets
var files embed.FS

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
	fallback string           // for visitors who accept none of the languages
	texts    map[string]texts // by language
	set      *locale.Set
}

// loadLanguages reads the texts.
func loadLanguages(defaultLocale string) (languages, error) {
	l := languages{texts: map[string]texts{}, set: locale.ShippedSet()}
	l.fallback = cmp.Or(l.set.Match(defaultLocale), locale.Default)

	for _, name := range l.set.Names() {
		source, err := files.ReadFile("texts/" + name + ".json")
		if err != nil {
			return l, err
		}

		var read texts
		if err := json.Unmarshal(source, &read); err != nil {
			return l, fmt.Errorf("texts/%s.json: %w", name, err)
		}
		l.texts[name] = read
	}

	return l, nil
}

// choose returns the language of a page: the requested one, or else the best match for an
// Accept-Language header. It also reports whether the language was requested.
func (l languages) choose(requested, header string) (lang string, given bool) {
	if l.texts[requested] != nil {
		return requested, true
	}

	return cmp.Or(l.set.Match(l.set.FromHeader(header)), l.fallback), false
}
