package locale

import (
	"fmt"
	"slices"

	"golang.org/x/text/language"
)

// Default is the language in which every text exists.
const Default = "en"

// Shipped returns the languages of the texts that are part of the program.
func Shipped() []string {
	return []string{"en", "de", "fr", "es", "pt", "it", "nl", "pl", "ja", "zh-Hans"}
}

// maxTag is the maximum length of a tag that is parsed: language, script and region need 11 bytes,
// and extensions, which are dropped, some more.
const maxTag = 64

// Canonical returns a locale in its canonical form: its language, script and region in their
// usual case, without variants and extensions. Deprecated codes are replaced. It returns "" if the
// locale is malformed or has no language.
func Canonical(locale string) string {
	if len(locale) > maxTag {
		return ""
	}

	tag, err := language.Parse(locale)
	if err != nil {
		return ""
	}

	return canonical(tag)
}

func canonical(tag language.Tag) string {
	base, script, region := tag.Raw()
	if base == (language.Base{}) || base.String() == "und" {
		return ""
	}

	plain, err := language.Compose(base, script, region)
	if err != nil {
		return ""
	}

	return plain.String()
}

// Set is a set of languages. It is safe for concurrent use.
type Set struct {
	names   []string
	tags    []language.Tag
	matcher language.Matcher
}

// NewSet returns the Set of some languages. They must be distinct and canonical; an error names the
// first that is not.
func NewSet(names ...string) (*Set, error) {
	tags := make([]language.Tag, len(names))
	for i, name := range names {
		if name == "" || Canonical(name) != name || slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("not a distinct canonical language: %q", name)
		}
		tags[i] = language.MustParse(name)
	}

	return &Set{names: names, tags: tags, matcher: language.NewMatcher(tags)}, nil
}

// ShippedSet returns the Set of the shipped languages.
func ShippedSet() *Set {
	s, err := NewSet(Shipped()...)
	if err != nil {
		panic("locale: " + err.Error()) // impossible: a test creates it
	}

	return s
}

// Names returns the languages in the order in which NewSet got them.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Match returns the language of the Set that a locale is a regional form of, or "" if there is none:
// Austrians read German, but readers of Traditional Chinese do not all read Simplified Chinese.
func (s *Set) Match(locale string) string {
	if Canonical(locale) == "" {
		return ""
	}
	tag, err := language.Parse(locale)
	if err != nil {
		return ""
	}

	return s.match(tag)
}

func (s *Set) match(tag language.Tag) string {
	_, i, confidence := s.matcher.Match(tag)
	if confidence < language.High || baseOf(tag) != baseOf(s.tags[i]) {
		return ""
	}

	return s.names[i]
}

// baseOf returns the language of a tag without script and region. The matcher also knows which other
// language many readers of a language understand, such as Spanish for Basque, but they would not
// choose it.
func baseOf(tag language.Tag) language.Base {
	if canonical, err := language.Macro.Canonicalize(tag); err == nil { // cmn is zh
		tag = canonical
	}
	base, _, _ := tag.Raw()

	return base
}

// The limits of Accept-Language keep a request from causing much work. Browsers send less.
const (
	maxHeader  = 1000
	maxLocales = 20
)

// FromHeader returns the canonical form of the first locale of an Accept-Language header that Match
// finds a language for (lookup of RFC 4647). It returns "" if there is none.
//
// Browsers add the bare language to each locale, such as zh to zh-TW. If no language matches the
// locale, the bare language is ignored as well: zh alone would match Simplified Chinese.
func (s *Set) FromHeader(acceptLanguage string) string {
	if acceptLanguage == "" || len(acceptLanguage) > maxHeader {
		return ""
	}

	accepted, _, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil {
		return ""
	}

	unmatched := map[language.Base]bool{}
	for _, tag := range accepted[:min(len(accepted), maxLocales)] {
		base, script, region := tag.Raw()
		isBare := script == (language.Script{}) && region == (language.Region{})
		if isBare && unmatched[base] {
			continue
		}

		if name := canonical(tag); name != "" && s.match(tag) != "" {
			return name
		}
		unmatched[base] = true
	}

	return ""
}
