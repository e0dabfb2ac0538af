package mail

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"strings"
	"sync"
	texttemplate "text/template"

	"golang.org/x/text/language"

	"latchkey/internal/brand"
	"latchkey/internal/locale"
)

// shippedFiles contains the texts and the templates that are part of the program.
//
//go:embed texts.*.json email.html.tmpl email.txt.tmpl
var shippedFiles embed.FS

// The names of the templates.
const (
	htmlFile = "email.html.tmpl"
	textFile = "email.txt.tmpl"
)

// ComposerOptions are the settings of a Composer.
type ComposerOptions struct {
	Brand brand.Brand
	// DefaultLocale is used for recipients without a locale, and for those in whose language there
	// are no texts. The default is locale.Default.
	DefaultLocale string
	// TextsDir is a directory whose files replace shipped texts and templates, or add languages. If
	// it is empty, there are no such files.
	TextsDir string
}

// Composer renders emails in the name of a brand, in the languages of their recipients. It is safe
// for concurrent use.
type Composer struct {
	brand     brand.Brand
	light     brand.Palette
	dark      brand.Palette
	languages *locale.Set
	texts     map[string]*texts // by language
	fallback  *texts
	html      *template.Template
	text      *texttemplate.Template
}

// NewComposer returns a Composer. An error lists all faults of the files in TextsDir, each with its
// file and key.
func NewComposer(o ComposerOptions) (*Composer, error) {
	all := shippedEntries()
	override, err := readOverrides(o.TextsDir, all)
	if err != nil {
		return nil, err
	}

	c := &Composer{
		brand: o.Brand.WithDefaults(),
		light: o.Brand.Light(),
		dark:  o.Brand.Dark(),
		texts: map[string]*texts{},
	}
	if err := c.addLanguages(all, override); err != nil {
		return nil, err
	}

	fallback := o.DefaultLocale
	if fallback == "" {
		fallback = locale.Default
	}
	c.fallback = c.texts[c.languages.Match(fallback)]
	if c.fallback == nil {
		return nil, fmt.Errorf("there are no texts in the default language %q; available: %s", fallback, strings.Join(c.languages.Names(), ", "))
	}

	if err := c.parseTemplates(override); err != nil {
		return nil, err
	}

	return c, nil
}

// Languages returns the languages that emails are written in.
func (c *Composer) Languages() *locale.Set { return c.languages }

// textsFor returns the texts for a locale.
func (c *Composer) textsFor(name string) *texts {
	if t, ok := c.texts[c.languages.Match(name)]; ok {
		return t
	}

	return c.fallback
}

// addLanguages adds the shipped languages and those of an override.
func (c *Composer) addLanguages(shipped map[string]entries, override overrides) error {
	names := append(locale.Shipped(), override.added...)
	var err error
	c.languages, err = locale.NewSet(names...)
	if err != nil {
		return err
	}

	for _, name := range names {
		e := shipped[name].with(override.entries[name])
		c.texts[name], err = newTexts(name, e)
		if err != nil {
			return err
		}
	}

	return nil
}

// parseTemplates parses the templates. Those of an override are tried with every kind of email and
// in every language.
func (c *Composer) parseTemplates(override overrides) error {
	var faults []string
	var err error

	c.html, err = template.New(htmlFile).Parse(override.source(htmlFile))
	if err != nil {
		faults = append(faults, htmlFile+": "+err.Error())
	}
	functions := texttemplate.FuncMap{"wrap": wrap}
	c.text, err = texttemplate.New(textFile).Funcs(functions).Parse(override.source(textFile))
	if err != nil {
		faults = append(faults, textFile+": "+err.Error())
	}

	if len(faults) == 0 && len(override.templates) > 0 {
		faults = c.tryTemplates()
	}

	return faultsError(faults)
}

// tryTemplates executes the templates for every email in every language. It returns at most one fault
// for each template.
func (c *Composer) tryTemplates() []string {
	var faults []string
	failed := map[string]bool{}
	report := func(file string, kind Kind, lang, reason string) {
		if !failed[file] {
			failed[file] = true
			faults = append(faults, fmt.Sprintf("%s: %s in %s: %s", file, kind, lang, reason))
		}
	}

	for _, lang := range c.languages.Names() {
		for _, kind := range Kinds() {
			data, err := c.data(c.texts[lang], c.sample(kind), sampleTime)
			if err != nil {
				report(textFile, kind, lang, err.Error())
				continue
			}

			var text, html strings.Builder
			if err := c.text.Execute(&text, data); err != nil {
				report(textFile, kind, lang, err.Error())
			}
			if err := c.html.Execute(&html, data); err != nil {
				report(htmlFile, kind, lang, err.Error())
			}

			// The link in HTML is escaped, but its end is a token without special characters.
			if data.Link != "" && !strings.Contains(text.String(), data.Link) {
				report(textFile, kind, lang, "does not contain the link")
			}
			if data.Link != "" && !strings.Contains(html.String(), sampleToken) {
				report(htmlFile, kind, lang, "does not contain the link")
			}
			if strings.Contains(html.String(), "ZgotmplZ") {
				report(htmlFile, kind, lang, "inserts a value where it is not safe")
			}
		}
	}

	return faults
}

// shippedEntries returns the shipped texts by language. They are part of the program, so a fault is a
// bug.
var shippedEntries = sync.OnceValue(func() map[string]entries {
	all := map[string]entries{}
	for _, name := range locale.Shipped() {
		file, err := shippedFiles.ReadFile(textsName(name))
		if err != nil {
			panic("mail: " + err.Error())
		}

		e, faults := parseEntries(file)
		if len(faults) > 0 {
			panic(fmt.Sprintf("mail: texts in %s: %v", name, faults))
		}
		all[name] = e
	}

	english := all[locale.Default]
	for name, e := range all {
		faults := append(e.check(english), e.missing(language.MustParse(name), english)...)
		if len(faults) > 0 {
			panic(fmt.Sprintf("mail: texts in %s: %v", name, faults))
		}
	}

	return all
})

// textsName returns the name of the file with the texts of a language.
func textsName(lang string) string { return "texts." + lang + ".json" }

// faultsError returns an error with all faults, or nil.
func faultsError(faults []string) error {
	switch len(faults) {
	case 0:
		return nil
	case 1:
		return errors.New("1 invalid text:\n  " + faults[0])
	}

	return fmt.Errorf("%d invalid texts:\n  %s", len(faults), strings.Join(faults, "\n  "))
}
