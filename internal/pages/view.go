package pages

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// view is the data of a template.
type view struct {
	Options
	Page string
	Lang string
	// Return is the URL to which the visitor returns, or empty for the default.
	Return string

	site      *Site
	texts     texts
	langGiven bool // by the lang parameter, which links keep
}

func (s *Site) newView(name string, r *http.Request) view {
	query := r.URL.Query()
	lang, given := s.languages.choose(query.Get("lang"), r.Header.Get("Accept-Language"))
	v := view{
		Options:   s.options,
		Page:      name,
		Lang:      lang,
		site:      s,
		texts:     s.languages.texts[lang],
		langGiven: given,
	}

	// A URL that is not allowed is ignored, so that the visitor can sign in all the same.
	if values := query["return_to"]; len(values) == 1 && values[0] != "" && s.options.ReturnTo != nil {
		if to, ok := s.options.ReturnTo(values[0]); ok {
			v.Return = to
		}
	}

	return v
}

// App returns the name of the product.
func (v view) App() string { return v.Brand.Name }

// Title returns the title of the page.
func (v view) Title() string { return v.T(table[v.Page].title) }

// Script returns the URL of the page's script.
func (v view) Script() string { return v.Asset(table[v.Page].script) }

// Asset returns the relative URL of an asset. All pages are at one level, so that they work behind a
// proxy that adds a path prefix.
func (v view) Asset(name string) string { return v.site.assets.url(name) }

// Texts returns the URL of the texts for the scripts.
func (v view) Texts() string { return v.Asset("texts." + v.Lang + ".js") }

// ClientURL returns the URL of the client of the API.
func (v view) ClientURL() string {
	if v.API == "" {
		return "client.js"
	}

	return v.API + "/client.js"
}

// T returns a text in the language of the page. The other arguments are placeholders and their values.
func (v view) T(key string, pairs ...string) string {
	replaced := []string{"{app}", v.Brand.Name, "{min}", strconv.Itoa(v.MinPassword)}
	for i := 0; i+1 < len(pairs); i += 2 {
		replaced = append(replaced, "{"+pairs[i]+"}", pairs[i+1])
	}

	return strings.NewReplacer(replaced...).Replace(v.texts[key])
}

// Link returns the relative URL of another page. It keeps the language and where to return.
func (v view) Link(name string) string { return v.link(name, v.Lang, v.langGiven) }

func (v view) link(name, lang string, withLang bool) string {
	query := url.Values{}
	if withLang {
		query.Set("lang", lang)
	}
	if v.Return != "" {
		query.Set("return_to", v.Return)
	}
	if len(query) == 0 {
		return name
	}

	return name + "?" + query.Encode()
}

// Home returns the URL to which the visitor goes after the sign-in.
func (v view) Home() string {
	switch {
	case v.Return != "":
		return v.Return
	case v.Brand.URL != "":
		return v.Brand.URL
	}

	return v.Link("account")
}

// Next returns the URL of the next page for a user who may have to add an authenticator app first. That
// page goes on by itself.
func (v view) Next() string {
	if v.RequireFactor {
		return v.Link("signin")
	}

	return v.Home()
}

// ProvidersJSON returns the providers for scripts.
func (v view) ProvidersJSON() (string, error) {
	list, err := json.Marshal(append([]Provider{}, v.Providers...))

	return string(list), err
}

// CanRegister reports whether anyone may register.
func (v view) CanRegister() bool { return v.Registration == Open }

// languageLink is an entry of the language menu.
type languageLink struct {
	Tag, Name, URL string
	Current        bool
}

// LanguageLinks returns the languages, each with the URL of this page in it.
func (v view) LanguageLinks() []languageLink {
	var links []languageLink
	for _, tag := range v.site.languages.set.Names() {
		links = append(links, languageLink{
			Tag:     tag,
			Name:    languageNames[tag],
			URL:     v.link(v.Page, tag, true),
			Current: tag == v.Lang,
		})
	}

	return links
}

// LangName returns the name of the page's language in that language.
func (v view) LangName() string { return languageNames[v.Lang] }

// field is an input with its label.
type field struct {
	ID, Name, Type, Autocomplete, InputMode, Label, Hint, Show string
	IsReadOnly                                                 bool
}

// ReadOnly returns a copy of the field that the visitor cannot change.
func (f field) ReadOnly() field {
	f.IsReadOnly = true

	return f
}

// codeFields are the fields of a form for a code of an authenticator app or a recovery code.
type codeFields struct {
	View view
	Form string
}

// CodeFields returns the fields for a second factor.
func (v view) CodeFields(form string) codeFields { return codeFields{v, form} }

// Field returns an input of a form. The label is the key of a text.
func (v view) Field(form, name, kind, autocomplete, label string) field {
	f := field{
		ID:           form + "-" + name,
		Name:         name,
		Type:         kind,
		Autocomplete: autocomplete,
		Label:        v.T(label),
	}
	if kind == "password" {
		f.Show = v.T("button.show")
	}
	if autocomplete == "one-time-code" {
		f.InputMode = "numeric"
	}
	if autocomplete == "new-password" {
		f.Hint = v.T("hint.password")
	}

	return f
}
