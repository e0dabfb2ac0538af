package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"latchkey/internal/auth"
	"latchkey/internal/origin"
	"latchkey/internal/pages"
)

// Pages are the settings of the built-in pages, in addition to the Options.
type Pages struct {
	// PublicURL is the URL of this server as browsers see it, without a slash at its end. Links in emails
	// and providers lead there.
	PublicURL     string
	DefaultLocale string
}

// builtInPages serves the built-in pages.
type builtInPages struct {
	site      *pages.Site
	publicURL *url.URL
	warn      sync.Once // about requests at another host
}

// usePages builds the pages. Nil means that they are off.
func (s *Server) usePages(o *Pages) error {
	if o == nil {
		return nil
	}

	public, err := url.Parse(o.PublicURL)
	if err != nil {
		return fmt.Errorf("the URL of the pages: %w", err)
	}
	s.origins.pages, _ = origin.Of(public)
	s.origins.prefix = public.Path

	options := pages.Options{
		Brand:                s.brand,
		Registration:         string(s.auth.Registration().Mode),
		SendsEmail:           s.auth.SendsEmail(),
		RequireVerifiedEmail: s.verifiedOnly,
		OffersFactors:        s.auth.FactorsAvailable(),
		RequireFactor:        s.auth.MFA() == auth.MFAAll,
		MinPassword:          s.minPassword,
		DefaultLocale:        o.DefaultLocale,
		ReturnTo:             s.origins.returnTo,
	}
	for _, p := range s.providers.Providers() {
		options.Providers = append(options.Providers, pages.Provider{Name: p.Name, Title: p.Title})
	}
	site, err := pages.New(options)
	if err != nil {
		return err
	}

	s.pages = &builtInPages{site: site, publicURL: public}

	return nil
}

// pageRoutes lists the URLs of the built-in pages. They are for people, so the OpenAPI document, which
// does not depend on settings, does not contain them.
func (s *Server) pageRoutes() []route {
	if s.pages == nil {
		return nil
	}

	var routes []route
	for _, path := range append([]string{pages.AssetsPath + "*"}, pages.Paths...) {
		routes = append(routes, route{pattern: "GET " + path, access: public, endpoint: noBody(s.page)})
	}

	return routes
}

// page serves a page or one of its assets.
func (s *Server) page(w http.ResponseWriter, r *http.Request) error {
	if !s.pages.site.Has(r.URL.Path) {
		return errNoRoute
	}

	if r.Host != s.pages.publicURL.Host {
		s.pages.warn.Do(func() {
			s.log.WarnContext(r.Context(), "built-in page opened at a host other than that of PUBLIC_URL: links in emails and sign-ins with providers do not lead back to it",
				"host", r.Host, "publicUrl", s.pages.publicURL.String())
		})
	}

	s.pages.site.ServeHTTP(w, r)

	return nil
}

// failurePage returns the URL of the page that explains why a sign-in with a provider failed. It is for
// sign-ins that began on an unknown page.
func (s *Server) failurePage() string {
	if s.pages == nil {
		return s.origins.home()
	}

	return s.pages.publicURL.JoinPath("signin").String()
}

// startPage returns the relative URL of the page for people who open the URL of the API.
func (s *Server) startPage() string {
	if s.pages == nil {
		return "docs"
	}

	return "account"
}
