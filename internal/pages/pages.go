package pages

import (
	"bytes"
	"cmp"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"latchkey/internal/brand"
)

// Values of Options.Registration.
const (
	Open   = "open"   // anyone may register
	Invite = "invite" // only with an invitation
	Closed = "closed"
)

// Options describe what the pages offer. The pages do not mention what is not available.
type Options struct {
	Brand brand.Brand
	// API is the base URL of the API, without a slash at its end. Empty means that the pages are served
	// beside the API.
	API          string
	Registration string // Open, Invite or Closed
	// RequireVerifiedEmail reports whether users must confirm their email before they can do anything else.
	RequireVerifiedEmail bool
	// SendsEmail reports whether the server can send links.
	SendsEmail bool
	Providers  []Provider
	// MinPassword is the minimum length of new passwords in characters.
	MinPassword int
	// OffersFactors reports whether users can add an authenticator app.
	OffersFactors bool
	// RequireFactor reports whether users must add an authenticator app before they can do anything else.
	RequireFactor bool
	// DefaultLocale is the locale for visitors who accept none of the available languages.
	DefaultLocale string
	// ReturnTo checks the URL to which a visitor wants to return after the sign-in. It returns the URL to
	// use, and whether it is allowed. Nothing else decides about redirects.
	ReturnTo func(given string) (to string, ok bool)
	// Demo adds the introduction of the demo and a log of the API calls. Nil means neither.
	Demo *Demo
}

// Provider is an external provider.
type Provider struct {
	Name  string `json:"name"`  // as in /auth/NAME
	Title string `json:"title"` // for people
}

// Demo configures the parts of the pages that only the demo shows.
type Demo struct {
	OutboxURL string // the emails; empty if there is no outbox
	DocsURL   string // the documentation of the API
}

// page is one of the pages.
type page struct {
	title  string // the key of its title
	script string
}

// table lists the pages by the last element of their path, which is also the name of their template.
// Links in emails lead to some of them.
var table = map[string]page{
	"signin":            {title: "signin.title", script: "signin.js"},
	"register":          {title: "register.title", script: "register.js"},
	"forgot-password":   {title: "forgot.title", script: "forgot.js"},
	"reset-password":    {title: "reset.title", script: "reset.js"},
	"verify-email":      {title: "verify.title", script: "verify.js"},
	"accept-invitation": {title: "accept.title", script: "accept.js"},
	"account":           {title: "account.title", script: "account.js"},
}

// Paths lists the paths of the pages.
var Paths = []string{"/signin", "/register", "/forgot-password", "/reset-password", "/verify-email", "/accept-invitation", "/account"}

// AssetsPath is the beginning of the paths of scripts and styles.
const AssetsPath = "/pages/"

// Site serves the pages and their assets. Create one with New.
type Site struct {
	options   Options
	languages languages
	assets    assets
	templates map[string]*template.Template // by page
	policy    string
}

// New returns a Site. It returns an error only if the files in this package are inconsistent.
func New(o Options) (*Site, error) {
	o.Brand = o.Brand.WithDefaults()
	o.Registration = cmp.Or(o.Registration, Open)
	s := &Site{options: o, policy: policy(o), templates: map[string]*template.Template{}}

	var err error
	if s.languages, err = loadLanguages(o.DefaultLocale); err != nil {
		return nil, err
	}
	if s.assets, err = loadAssets(o.Brand, s.languages); err != nil {
		return nil, err
	}

	for name := range table {
		s.templates[name], err = template.ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/"+name+".html")
		if err != nil {
			return nil, err
		}
	}

	return s, nil
}

// policy returns the Content-Security-Policy of the pages: only their own scripts and styles and the
// client of the API, which can call only the API. Forms are sent by scripts, and no script may write HTML
// (OWASP ASVS 5.0 3.4.3, 3.4.6).
func policy(o Options) string {
	images := "'self'"
	if u, err := url.Parse(o.Brand.LogoURL); err == nil && u.Host != "" {
		images += " " + u.Scheme + "://" + u.Host
	}

	return "default-src 'none'; script-src " + strings.TrimSpace("'self' "+o.API) + "; style-src 'self'; img-src " + images + "; connect-src " + cmp.Or(o.API, "'self'") +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
}

// App returns the name of the product.
func (s *Site) App() string { return s.options.Brand.Name }

// Asset returns the URL of an asset, relative to a page. The demo uses the styles for its other pages.
func (s *Site) Asset(name string) string { return s.assets.url(name) }

// Has reports whether there is a page or an asset at a path.
func (s *Site) Has(path string) bool {
	if rest, ok := strings.CutPrefix(path, AssetsPath); ok {
		_, name, _ := strings.Cut(rest, "/")
		return s.assets.files[name] != nil
	}

	return slices.Contains(Paths, path)
}

// ServeHTTP serves a page or an asset.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.Has(r.URL.Path) {
		http.NotFound(w, r)
		return
	}

	s.setHeaders(w.Header())

	if rest, ok := strings.CutPrefix(r.URL.Path, AssetsPath); ok {
		if err := s.assets.serve(w, r, rest); err != nil {
			http.Error(w, "The file cannot be read.", http.StatusInternalServerError) // only a bug gets here
		}
		return
	}

	name := strings.TrimPrefix(r.URL.Path, "/")
	v := s.newView(name, r)
	var html bytes.Buffer
	if err := s.templates[name].ExecuteTemplate(&html, "layout", v); err != nil {
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError) // only a bug gets here
		return
	}

	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.Lang)
	h.Add("Vary", "Accept-Language")
	// Without no-store, the Back button would show the account after the sign-out.
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(html.Len()))
	_, _ = w.Write(html.Bytes())
}

func (s *Site) setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", s.policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}
